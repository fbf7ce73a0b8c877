"""An avatar of a synthetic person against the truth, measured pair by pair and kept line by line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from zero1a_jax import files, synthetic
from zero1a_jax.errors import Refused
from zero1a_jax.flame import forward, frame_target, landmarks68, procedural_head, with_arkit, zero_params
from zero1a_jax.geometry import portrait_camera, project
from zero1a_jax.image import losses, metrics, ops
from zero1a_jax.showing import heldout, playback
from zero1a_jax.sources import avatars, portrait_file, portraits
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.sources.synthetic_portrait import person
from zero1a_jax.types import ArkitMap, Array, Camera, FlameModel, FlameParams

METRICS = ("psnr", "ssim", "psnr_aligned", "ssim_aligned", "sharpness", "landmark_error")
IBUG_EYE_CORNERS = (36, 45)  # the outer ones, of the 68


def run_seed(folder: Path) -> int:
    """The synthetic identity of a run's folder, from its config.json. Refused where it had a real picture."""
    path = folder / "config.json"
    if not path.is_file():
        raise Refused(f"{path} is missing; give --identity=SEED")
    image = str(json.loads(path.read_text("utf-8")).get("image", ""))
    if not portraits.is_synthetic(image):
        raise Refused(f"the run's picture is {image!r}, whose truth nobody knows; evaluate synthetic:SEED")
    return portraits.seed(image)


def evaluate(
    folder: Path,
    seed: int,
    out: Path,
    *,
    pairs: int = heldout.COUNT,
    size: int = 128,
    supersample: int = 3,
    flame: str = "",
) -> list[dict[str, Any]]:
    """Measures the pairs that `out` lacks and returns all rows, in the order of the pairs.

    Args:
      folder: of a finished run, or its export folder. seed: of the synthetic person that it shows. Of a run
        with --method=diffusion_only its frames are measured.
      out: the .jsonl to append to; rows of other avatars, sizes or persons in it are left alone.
      pairs: how many of the fixed pairs. size: pixels a side.
      supersample: samples of the truth along each side of a pixel.
      flame: folder of the FLAME model that the avatar was made on.
    """
    frames = folder / heldout.FOLDER
    if frames.is_dir():
        shown = of_frames(frames, pairs, size)
    else:
        export = folder / "export" if (folder / "export").is_dir() else folder
        ply = export / "avatar.ply" if export.is_dir() else export
        shown = of_avatar(avatars.load(folder, flame), files.sha256(ply)[:16])
    stamp = {
        "identity": seed,
        "avatar": shown.stamp,
        "size": size,
        "supersample": supersample,
    }
    done = {row["pair"]: row for row in read_rows(out, stamp) if set(METRICS) <= set(row)}
    missing = [k for k in range(pairs) if k not in done]
    if missing:
        # A kill may have cut the last line: it is rewritten without, then lines are only added.
        files.write_text(out, "".join(json.dumps(row) + "\n" for row in read_rows(out, None)))
        with open(out, "a", encoding="utf-8") as file:
            for row in compare(shown, seed, missing, size=size, supersample=supersample):
                done[row["pair"]] = {**stamp, **row}
                file.write(json.dumps(done[row["pair"]]) + "\n")
                file.flush()
    return [done[k] for k in range(pairs)]


def read_rows(path: Path, stamp: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The lines of a .jsonl, with `stamp`'s values where one is given; a last line that is cut is skipped."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("no row of ours")
            rows.append(row)
        except ValueError as error:
            if number < len(lines) or line.endswith("\n") or not line.startswith("{"):
                raise Refused(f"{path}, line {number}: {error}: give another --out") from error
    return [row for row in rows if stamp is None or all(row.get(k) == v for k, v in stamp.items())]


class Shown(NamedTuple):
    """What is measured: an avatar, or frames without one."""

    stamp: str  # of the file, or the files
    model: FlameModel
    shape: Array  # of the identity
    arkit: ArkitMap | None  # see sources.arkit_table
    images: Callable[[Sequence[int], FlameParams, Camera], Iterable[np.ndarray]]  # of pairs, over white


def of_avatar(loaded: Loaded, stamp: str = "") -> Shown:
    """An avatar, rendered for each pair."""

    def images(chosen: Sequence[int], flame: FlameParams, cameras: Camera) -> Iterator[np.ndarray]:
        for image, _ in playback.render(loaded.avatar, loaded.model, flame, cameras, background=np.ones(3)):
            yield np.asarray(image)

    return Shown(stamp, loaded.model, jnp.asarray(loaded.avatar.shape), loaded.arkit, images)


def of_frames(folder: Path, pairs: int, size: int) -> Shown:
    """The frames of the first `pairs` pairs that a run with --method=diffusion_only left in `folder`."""
    paths = [folder / heldout.name(k) for k in range(pairs)]
    if missing := [path for path in paths if not path.is_file()]:
        raise Refused(f"{missing[0]} is missing: ask for --pairs={heldout.COUNT} or fewer")
    pictures = [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255.0 for path in paths]
    if pictures[0].shape != (size, size, 3):
        raise Refused(f"the frames in {folder} have {len(pictures[0])} pixels a side: give that as --size")

    def images(chosen: Sequence[int], flame: FlameParams, cameras: Camera) -> list[np.ndarray]:
        return [pictures[k] for k in chosen]

    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]
    shape = jnp.asarray(portrait_file.read(folder.parent / "portrait.npz").flame.shape)
    return Shown(stamp, procedural_head(), shape, None, images)


def compare(
    shown: Shown, seed: int, chosen: Sequence[int], *, size: int, supersample: int
) -> Iterator[dict[str, Any]]:
    """Measures the held-out pairs with indices `chosen`, one dictionary each, as they are done.

    psnr (dB) and ssim are means over the pixels that the true head covers, over white; psnr_aligned and
    ssim_aligned the same after the best shift and turn in the plane. sharpness is the energy of fine
    detail over the truth's. landmark_error is the
    mean distance of the 68 projected mesh landmarks, in units of the true distance between the outer
    corners of the eyes seen from the front. The person is one of the embedded head; an avatar on a head
    without ARKit names does what `shown.arkit` says that the person's expression asks of it.
    """
    model, own_model, arkit = procedural_head(), shown.model, shown.arkit
    shape, look = person(seed)
    pairs = heldout.pairs(model, max(chosen) + 1)
    index = np.asarray(chosen)
    flame = jax.tree.map(lambda x: x[index], pairs.flame)
    own_flame = flame if arkit is None else _translated(flame, model, own_model, arkit)
    yaw, pitch = pairs.yaw[index], pairs.pitch[index]
    true_cameras, own_cameras = (
        portrait_camera(frame_target(m, s), np.radians(yaw), np.radians(pitch), size)
        for m, s in ((model, shape), (own_model, shown.shape))
    )
    true_points = _landmarks(model, flame, shape, true_cameras)
    own_points = _landmarks(own_model, own_flame, shown.shape, own_cameras)
    errors = np.linalg.norm(own_points - true_points, axis=-1).mean(-1) / _between_eyes(model, shape, size)
    images = shown.images(chosen, own_flame, own_cameras)
    draw = jax.jit(synthetic.render, static_argnames="supersample")
    for row, (k, image) in enumerate(zip(chosen, images, strict=True)):
        pose = jax.tree.map(lambda x, r=row: jnp.asarray(x)[r], (flame, true_cameras))
        posed = _with_shape(pose[0], shape)
        rgb, alpha = draw(model, look, posed, pose[1], supersample=supersample)
        target, mask = ops.composite(rgb, alpha, jnp.ones(3)), alpha > 0.5
        yield {
            "pair": int(k),
            "yaw": round(float(yaw[row]), 3),
            "pitch": round(float(pitch[row]), 3),
            "psnr": float(ops.psnr(image, target, mask)),
            "ssim": float(losses.ssim(image, target, mask)),
            "sharpness": metrics.sharpness(image, target, np.asarray(mask)),
            **_aligned(image, target, np.asarray(mask)),
            "landmark_error": float(errors[row]),
        }


def _aligned(image: np.ndarray, target: Array, mask: np.ndarray) -> dict[str, float]:
    moved = metrics.aligned(image, target, mask).astype(np.float32)
    return {
        "psnr_aligned": float(ops.psnr(moved, target, mask)),
        "ssim_aligned": float(losses.ssim(moved, target, mask)),
    }


def _translated(flame: FlameParams, model: FlameModel, own: FlameModel, arkit: ArkitMap) -> FlameParams:
    """Parameters [K] of `model`, whose expressions have ARKit names, as those of the nameless head `own`."""
    names = model.expression_names
    weights = np.zeros((len(flame.jaw), len(arkit.names)), np.float32)
    for column, name in enumerate(arkit.names):
        if name in names:
            weights[:, column] = np.asarray(flame.expression)[:, names.index(name)]
    still = zero_params(own, (len(weights),))
    moved = flame.replace(shape=still.shape, expression=still.expression)
    return with_arkit(moved, arkit, jnp.asarray(weights))


def _with_shape(flame: FlameParams, shape: Array) -> FlameParams:
    lead = np.shape(flame.jaw)[:-1]
    return dataclasses.replace(flame, shape=jnp.broadcast_to(jnp.asarray(shape), (*lead, len(shape))))


def _landmarks(model: FlameModel, flame: FlameParams, shape: Array, cameras: Camera) -> np.ndarray:
    """The 68 landmarks in pixels, [K, 68, 2]."""
    return np.asarray(_projected(model, _with_shape(flame, shape), cameras))


@jax.jit
def _projected(model: FlameModel, params: FlameParams, cameras: Camera) -> Array:
    vertices, _ = forward(model, params)
    return project(cameras, landmarks68(model, vertices, params))[0]


def _between_eyes(model: FlameModel, shape: Array, size: int) -> float:
    """Pixels between the outer eye corners of the neutral head from the front."""
    front = portrait_camera(frame_target(model, shape), np.zeros(1), np.zeros(1), size)
    points = _landmarks(model, zero_params(model, (1,)), shape, front)[0]
    return float(np.linalg.norm(points[IBUG_EYE_CORNERS[0]] - points[IBUG_EYE_CORNERS[1]]))
