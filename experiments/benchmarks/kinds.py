"""Portraits of seven kinds, and how the avatars made from them open their mouths and close their eyes.

    python -m experiments.benchmarks.kinds --people=401,402,403 --assets=FOLDER --out=OUT \\
        --flagfile=quickstart.flags

For each synthetic person a picture of each kind becomes an avatar as any picture file would, on estimated
heads. Each avatar is driven to a neutral face, an open mouth and closed lids, seen from the front and from
25 degrees, and compared with the truth at 256 pixels: PSNR in a box about the mouth and in one about both
eyes, as it stands and after the best shift of up to 4 pixels. OUT/table.json has the means, OUT/sheet.png a
row for each avatar: the portrait, then truth and avatar in turn, from the front. All flags of a run are flags
here too. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.benchmarks import fit_cases
from zero1a_jax import config as values
from zero1a_jax import files, provenance, record, synthetic
from zero1a_jax.commandline import command, subrun
from zero1a_jax.config import Config, option
from zero1a_jax.errors import Refused
from zero1a_jax.flame import (
    forward,
    frame_target,
    landmarks68,
    landmarks_mediapipe,
    procedural_head,
)
from zero1a_jax.geometry import portrait_camera, project
from zero1a_jax.image import ops
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.outputs import report
from zero1a_jax.showing import playback, poses
from zero1a_jax.sources import avatars
from zero1a_jax.sources.synthetic_portrait import BACKDROP, person
from zero1a_jax.types import Array, Camera, FlameModel, FlameParams

OUTPUTS = ["table.json", "sheet.png"]
PORTRAIT, SIZE, CELL = 512, 256, 128
SHOWN_TEETH = {f"mouth{name}{side}": 0.5 for name in ("UpperUp", "LowerDown") for side in ("Left", "Right")}
SMILE = {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "jawOpen": 0.15} | SHOWN_TEETH
CLOSED = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}
# Kind: ARKit weights, yaw in degrees, the case of `fit_cases` that something is drawn for.
KINDS: dict[str, tuple[dict[str, float], float, str]] = {
    "neutral": ({}, 0.0, "plain"),
    "toothy smile": (SMILE, 0.0, "plain"),
    "yaw -30": ({}, -30.0, "plain"),
    "yaw 30": ({}, 30.0, "plain"),
    "closed eyes": (CLOSED, 0.0, "plain"),
    "hand": ({}, 0.0, "hand"),
    "glasses": ({}, 0.0, "glasses"),
}
DRIVEN = ("neutral", "blink", "mouth open")  # of poses.SHOWN, in its order
YAWS = (0.0, 25.0)
BOXES = {"mouth": slice(48, 68), "eyes": slice(36, 48)}  # of the 68 points
REACH = 4  # pixels


@dataclass(frozen=True)
class Options:
    """Whose avatars to make."""

    people: tuple[str, ...] = option(("401", "402", "403"), "Seeds of synthetic people.")
    kinds: tuple[str, ...] = option(tuple(KINDS), "Which kinds of portrait.")
    out: str = option("", "Folder of the runs, the table and the sheet.")
    overwrite: bool = option(False, "Replace a table and a sheet in --out that are not what was written.")
    run: Config = Config()


def portrait(seed: int, kind: str) -> np.ndarray:
    """The person's portrait of a kind, uint8 [PORTRAIT, PORTRAIT, 3]."""
    model, (shape, look) = procedural_head(), person(seed)
    weights, yaw, case = KINDS[kind]
    params = poses.from_arkit(model, weights).replace(shape=shape)
    camera = portrait_camera(frame_target(model, shape), jnp.radians(yaw), jnp.radians(2.0), PORTRAIT)
    rgb, alpha = jax.jit(synthetic.render)(model, look, params, camera)
    picture = as_uint8(np.asarray(ops.composite(rgb, alpha, jnp.array(BACKDROP))))
    points = np.asarray(project(camera, landmarks_mediapipe(model, forward(model, params)[0]))[0])
    ids = np.asarray(model.mediapipe_indices)
    apart = float(np.linalg.norm(np.diff([points[ids == i][0] for i in (33, 263)], axis=0)))
    picture, _ = fit_cases.draw(case, picture, fit_cases.needed(points, ids), apart, _at_mouth(seed))
    return picture


def _at_mouth(seed: int) -> int:
    """The first number from `seed` on for which `fit_cases` draws the hand before the mouth."""
    return next(k for k in itertools.count(seed) if np.random.default_rng(k).integers(3) == 0)


class Pictures(NamedTuple):
    """What is compared: K = len(DRIVEN) * len(YAWS) pictures over white, and the boxes in them."""

    truth: np.ndarray  # [K, SIZE, SIZE, 3]
    points: np.ndarray  # [K, 68, 2] of the true head


def _asked(model: FlameModel, shape: Array) -> poses.Shots:
    names = [name for name, _, _ in poses.SHOWN]
    chosen = [poses.expression(model, names.index(name)) for name in DRIVEN for _ in YAWS]
    flame = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chosen)
    yaw = np.tile(np.array(YAWS, np.float32), len(DRIVEN))
    return poses.shots(model, frame_target(model, shape), SIZE, yaw, np.zeros(len(yaw)), flame)


def truth(seed: int) -> Pictures:
    """Of a person."""
    model, (shape, look) = procedural_head(), person(seed)
    asked = _asked(model, shape)
    flame = asked.flame.replace(shape=jnp.broadcast_to(shape, (len(asked.flame.jaw), len(shape))))
    draw = jax.jit(functools.partial(synthetic.render, supersample=2))
    pictures = []
    for k in range(len(flame.jaw)):
        rgb, alpha = draw(model, look, *jax.tree.map(lambda x, k=k: x[k], (flame, asked.cameras)))
        pictures.append(np.asarray(ops.composite(rgb, alpha, jnp.ones(3))))
    return Pictures(np.stack(pictures), np.asarray(_points(model, flame, asked.cameras)))


@jax.jit
def _points(model: FlameModel, flame: FlameParams, cameras: Camera) -> Array:
    return project(cameras, landmarks68(model, forward(model, flame)[0], flame))[0]


def box(points: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a picture about points [P, 2], with three tenths of their width around."""
    margin = 0.3 * (points[:, 0].max() - points[:, 0].min())
    low = np.clip(np.floor(points.min(0) - margin), REACH, SIZE - REACH - 1).astype(int)
    high = np.clip(np.ceil(points.max(0) + margin), low + 1, SIZE - REACH).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def likeness(image: np.ndarray, wanted: np.ndarray, at: tuple[slice, slice]) -> tuple[float, float]:
    """PSNR in dB inside a box `at` of pictures [SIZE, SIZE, 3], and that after the best shift of `image`."""
    rows, columns = at

    def error(down: int, right: int) -> float:
        moved = image[rows.start + down : rows.stop + down, columns.start + right : columns.stop + right]
        return float(np.mean((moved - wanted[rows, columns]) ** 2))

    shifts = range(-REACH, REACH + 1)
    best = min(error(down, right) for down in shifts for right in shifts)
    return tuple(-10.0 * np.log10(max(e, 1e-10)) for e in (error(0, 0), best))  # pyright: ignore


def measure(folder: Path, wanted: Pictures) -> tuple[list[dict[str, object]], np.ndarray]:
    """Figures of the avatar in a run's folder, and its pictures [K, SIZE, SIZE, 3]."""
    loaded = avatars.load(folder)
    asked = _asked(loaded.model, jnp.asarray(loaded.avatar.shape))
    rendered = playback.shown(loaded, asked.flame, asked.cameras, background=np.ones(3))
    images = np.stack([rgb for rgb, _ in rendered])
    rows = []
    for k, (driven, yaw) in enumerate(itertools.product(DRIVEN, YAWS)):
        for name, members in BOXES.items():
            psnr, shifted = likeness(images[k], wanted.truth[k], box(wanted.points[k, members]))
            rows.append({"driven": driven, "yaw": yaw, "box": name, "psnr": psnr, "psnr_shifted": shifted})
    return rows, images


def summary(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Means by kind, what the avatar is driven to and box, over people and yaws; and by kind and box."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        for driven in (row["driven"], "all"):
            groups.setdefault(f"{row['kind']}/{driven}/{row['box']}", []).append(row)
    return {
        name: {"count": len(group)}
        | {figure: float(np.mean([r[figure] for r in group])) for figure in ("psnr", "psnr_shifted")}
        for name, group in sorted(groups.items())
    }


def _row(picture: np.ndarray, wanted: np.ndarray, images: np.ndarray) -> np.ndarray:
    front = range(0, len(DRIVEN) * len(YAWS), len(YAWS))
    cells = [picture, *(as_uint8(image[k]) for k in front for image in (wanted, images))]
    small = [Image.fromarray(cell).resize((2 * CELL, 2 * CELL), Image.Resampling.LANCZOS) for cell in cells]
    return np.concatenate([np.asarray(cell) for cell in small], 1)


def main(options: Options) -> None:
    """Makes the avatars that are missing, measures all, writes the table and the sheet."""
    if not options.out:
        raise Refused("give --out=FOLDER")
    if wrong := [p for p in options.people if not p.isdigit()]:
        raise Refused(f"--people={wrong[0]}: seeds are whole numbers")
    if wrong := [kind for kind in options.kinds if kind not in KINDS]:
        raise Refused(f"--kinds={wrong[0]}: choose from {', '.join(KINDS)}")
    record.refuse(options.out, OUTPUTS, overwrite=options.overwrite)
    about = provenance.of_seed(options.run.runner.seed, label=options.run.runner.label)
    rows, sheet = [], []
    for seed in options.people:
        wanted = truth(int(seed))
        for kind in options.kinds:
            folder = Path(options.out) / seed / kind.replace(" ", "_")
            picture = portrait(int(seed), kind)
            folder.parent.mkdir(parents=True, exist_ok=True)
            image = folder.with_name(f"{folder.name}.png")
            report.save_png(image, picture, provenance=about)
            own = {"image": str(image), "workdir": str(folder), "accept_unsure": True}
            subrun.make(values.from_values(values.to_values(options.run) | own))
            measured, images = measure(folder, wanted)
            rows += [{"person": seed, "kind": kind, **row} for row in measured]
            sheet.append(_row(picture, wanted.truth, images))
            with record.writing(options.out, OUTPUTS, overwrite=options.overwrite) as unfinished:
                files.write_json(unfinished / "table.json", {"means": summary(rows), "rows": rows})
                report.save_png(unfinished / "sheet.png", np.concatenate(sheet), provenance=about)
    for name, group in summary(rows).items():
        print(f"{name:40} {group['psnr']:6.2f} dB, shifted {group['psnr_shifted']:6.2f}")


if __name__ == "__main__":
    command.run(Options, main, __doc__)
