"""An avatar of a synthetic person against the truth, measured pair by pair and kept line by line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from zero1a_jax.image import ops
from zero1a_jax.measuring import heldout
from zero1a_jax.measuring.differences import PICTURE_METRICS, Judge, differences
from zero1a_jax.showing import playback
from zero1a_jax.sources import avatars, portrait_file, portraits
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.sources.synthetic_portrait import person
from zero1a_jax.types import ArkitMap, Array, Camera, FlameModel, FlameParams

METRICS = (*PICTURE_METRICS, "landmark_error")
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
    judges: Mapping[str, Judge] | None = None,
) -> list[dict[str, Any]]:
    """Measures the pairs that `out` lacks and returns all rows, in the order of the pairs.

    Args:
      folder: of a finished run, or its export folder. seed: of the synthetic person that it shows. Of a run
        with --method=diffusion_only its frames are measured.
      out: the .jsonl to append to; rows of other avatars, sizes or persons in it are left alone.
      pairs: how many of the fixed pairs. size: pixels a side.
      supersample: samples of the truth along each side of a pixel.
      flame: folder of the FLAME model that the avatar was made on.
      judges: what else is asked of each pair, by the name of a figure that each gives.
    """
    judges = judges or {}
    shown = shown_in(folder, pairs, size, flame)
    stamp = {
        "identity": seed,
        "avatar": shown.stamp,
        "size": size,
        "supersample": supersample,
    }

    def measure(missing: Sequence[int]) -> Iterator[dict[str, Any]]:
        how = {"size": size, "supersample": supersample, "judges": list(judges.values())}
        return compare(shown, seed, missing, **how)

    return resumed(out, stamp, {*METRICS, "strength", *judges}, pairs, measure)


def resumed(
    out: Path,
    stamp: dict[str, Any],
    wanted: set[str],
    count: int,
    measure: Callable[[Sequence[int]], Iterable[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """The rows of pairs 0 to `count` - 1 with this stamp; those that `out` lacks are measured and appended.

    wanted: the figures without which a row counts as missing. measure: of pairs to their rows, in order.
    """
    done = {row["pair"]: row for row in read_rows(out, stamp) if wanted <= set(row)}
    missing = [k for k in range(count) if k not in done]
    if missing:
        # A kill may have cut the last line: it is rewritten without, then lines are only added.
        files.write_text(out, "".join(json.dumps(row) + "\n" for row in read_rows(out, None)))
        with open(out, "a", encoding="utf-8") as file:
            for row in measure(missing):
                done[row["pair"]] = {**stamp, **row}
                file.write(json.dumps(done[row["pair"]]) + "\n")
                file.flush()
    return [done[k] for k in range(count)]


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


Picture = tuple[np.ndarray, np.ndarray | None]  # [H, W, 3] over white, and its opacity where it has one


class Shown(NamedTuple):
    """What is measured: an avatar, or frames without one."""

    stamp: str  # of the file, or the files
    model: FlameModel
    shape: Array  # of the identity
    arkit: ArkitMap | None  # see sources.arkit_table
    images: Callable[[Sequence[int], FlameParams, Camera], Iterable[Picture]]  # of pairs
    loaded: Loaded | None = None  # the avatar, where there is one


def shown_in(folder: Path, pairs: int = heldout.COUNT, size: int = 128, flame: str = "") -> Shown:
    """What the folder of a run, or its export folder, has to be measured; see `evaluate`."""
    frames = folder / heldout.FOLDER
    if frames.is_dir():
        return of_frames(frames, pairs, size)
    export = folder / "export" if (folder / "export").is_dir() else folder
    ply = export / "avatar.ply" if export.is_dir() else export
    return of_avatar(avatars.load(folder, flame), files.sha256(ply)[:16])


def of_avatar(loaded: Loaded, stamp: str = "") -> Shown:
    """An avatar, rendered for each pair."""

    def images(chosen: Sequence[int], flame: FlameParams, cameras: Camera) -> Iterator[Picture]:
        return playback.shown(loaded, flame, cameras, background=np.ones(3))

    return Shown(stamp, loaded.model, jnp.asarray(loaded.avatar.shape), loaded.arkit, images, loaded)


def of_frames(folder: Path, pairs: int, size: int) -> Shown:
    """The frames of the first `pairs` pairs that a run with --method=diffusion_only left in `folder`."""
    paths = [folder / heldout.name(k) for k in range(pairs)]
    if missing := [path for path in paths if not path.is_file()]:
        raise Refused(f"{missing[0]} is missing: ask for --pairs={heldout.COUNT} or fewer")
    pictures = [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255.0 for path in paths]
    if pictures[0].shape != (size, size, 3):
        raise Refused(f"the frames in {folder} have {len(pictures[0])} pixels a side: give that as --size")

    def images(chosen: Sequence[int], flame: FlameParams, cameras: Camera) -> list[Picture]:
        return [(pictures[k], None) for k in chosen]

    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]
    shape = jnp.asarray(portrait_file.read(folder.parent / "portrait.npz").flame.shape)
    return Shown(stamp, procedural_head(), shape, None, images)


def compare(
    shown: Shown,
    seed: int,
    chosen: Sequence[int],
    *,
    size: int,
    supersample: int,
    judges: Sequence[Judge] = (),
) -> Iterator[dict[str, Any]]:
    """Measures the held-out pairs with indices `chosen`, one dictionary each, as they are done.

    yaw and pitch are in degrees. strength is how far the expression moves the true head's 68 mesh landmarks
    from rest, and landmark_error how far the avatar's are from the true ones: means of the distances in the
    picture, in units of that between the outer corners of the eyes seen from the front. The
    other figures are those of `differences`. The person is one of the embedded head; an avatar on a head
    without ARKit names does what `shown.arkit` says that the person's expression asks of it.
    """
    model, own_model = procedural_head(), shown.model
    shape, _ = person(seed)
    given = asked(shown, seed, chosen, size)
    true_points = _landmarks(model, given.flame, shape, given.cameras)
    own_points = _landmarks(own_model, given.own_flame, shown.shape, given.own_cameras)
    resting = _landmarks(model, zero_params(model, (len(chosen),)), shape, given.cameras)
    unit = _between_eyes(model, shape, size)
    shows = shown.images(chosen, given.own_flame, given.own_cameras)
    truths = true_pictures(seed, given.flame, given.cameras, supersample)
    for row, (k, (image, cover), (truth, alpha)) in enumerate(zip(chosen, shows, truths, strict=True)):
        yield {
            "pair": int(k),
            "yaw": round(float(given.yaw[row]), 3),
            "pitch": round(float(given.pitch[row]), 3),
            "strength": _distance(resting[row], true_points[row]) / unit,
            **differences(image, cover, truth, alpha, int(k), judges),
            "landmark_error": _distance(own_points[row], true_points[row]) / unit,
        }


def true_pictures(
    seed: int, flame: FlameParams, cameras: Camera, supersample: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A person's pictures in poses [K], over white [H, W, 3], and their opacity [H, W]."""
    model, (shape, look) = procedural_head(), person(seed)
    draw = jax.jit(synthetic.render, static_argnames="supersample")
    for k in range(len(flame.jaw)):
        pose, camera = jax.tree.map(lambda x, k=k: jnp.asarray(x)[k], (flame, cameras))
        rgb, alpha = draw(model, look, _with_shape(pose, shape), camera, supersample=supersample)
        yield np.asarray(ops.composite(rgb, alpha, jnp.ones(3))), np.asarray(alpha)


class Asked(NamedTuple):
    """Held-out pairs [K] as the true head and the avatar's take them."""

    yaw: np.ndarray  # degrees
    pitch: np.ndarray  # degrees
    flame: FlameParams  # of the true head, without shape
    cameras: Camera
    own_flame: FlameParams  # of the avatar's head
    own_cameras: Camera


def asked(shown: Shown | None, seed: int, chosen: Sequence[int], size: int) -> Asked:
    """The held-out pairs with indices `chosen` for a person and what is shown (None: the person)."""
    model = procedural_head()
    shape, _ = person(seed)
    own_model, own_shape, arkit = (shown.model, shown.shape, shown.arkit) if shown else (model, shape, None)
    index = np.asarray(chosen)
    pairs = heldout.pairs(model, max(chosen) + 1)
    flame = jax.tree.map(lambda x: x[index], pairs.flame)
    yaw, pitch = pairs.yaw[index], pairs.pitch[index]
    cameras, own_cameras = (
        portrait_camera(frame_target(m, s), np.radians(yaw), np.radians(pitch), size)
        for m, s in ((model, shape), (own_model, own_shape))
    )
    own_flame = flame if arkit is None else _translated(flame, model, own_model, arkit)
    return Asked(yaw, pitch, flame, cameras, own_flame, own_cameras)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=-1).mean())


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
