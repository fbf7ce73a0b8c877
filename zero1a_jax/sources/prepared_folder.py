"""The folder of a prepared portrait: written by experiments.prepare, corrected by hand, read by a run.

  picture.png   the crop with its own background, 8-bit RGB, square
  matte.png     the person in it, 8-bit grey, white = person; edit it freely
  portrait.npz  flame.* (FlameParams), camera.* (world_to_camera, focal, center in pixels of picture.png),
                landmarks [105, 2], flame_version
  tracker.npz   put there by the user: shape, expression, jaw and eyes of another tracker, see
                zero1a_jax/converters/trackers.py; the camera is then found anew from the landmarks

Everything else in it is for the eye.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from zero1a_jax import geometry, preprocess, record
from zero1a_jax.converters import trackers
from zero1a_jax.converters.pickles.unpickle import load_npz
from zero1a_jax.errors import Refused
from zero1a_jax.flame import zero_params
from zero1a_jax.outputs import png
from zero1a_jax.preprocess.load import MIN_SIDE
from zero1a_jax.provenance import Provenance
from zero1a_jax.sources import portrait_file
from zero1a_jax.sources.portraits import MATTE, PARAMETERS, PICTURE, TRACKER
from zero1a_jax.types import Camera, FlameModel, FlameParams, Portrait

FAR = 0.15  # mean distance of landmarks, as a fraction of their extent, from which a head is another's


def write(
    folder: str | os.PathLike,
    model: FlameModel,
    prepared: preprocess.Prepared,
    *,
    provenance: Provenance | None = None,
    overwrite: bool = False,
) -> None:
    """Writes what `read` reads, and pictures of it: portrait, landmarks, overlay, and a sheet of all.

    `provenance` is what the pictures of a rendered person say about themselves, see `portraits.provenance`.

    Raises Refused where the folder holds what we did not write, or what was edited since; see `record`.
    """
    shown = preprocess.pictures(model, prepared)
    with record.writing(folder, overwrite=overwrite) as unfinished:
        for name in ("portrait", "landmarks", "overlay"):
            (unfinished / f"{name}.png").write_bytes(png.encode(shown[name], provenance))
        sheet = np.concatenate(list(shown.values()), 1)
        (unfinished / "sheet.png").write_bytes(png.encode(sheet, provenance))
        (unfinished / PICTURE).write_bytes(png.encode(prepared.picture, provenance))
        Image.fromarray(prepared.matte).save(unfinished / MATTE)
        np.savez(unfinished / PARAMETERS, **arrays(model, prepared))


def arrays(model: FlameModel, prepared: preprocess.Prepared) -> dict[str, Any]:
    """What portrait.npz holds; also the fitted landmarks [105, 2], the crop [2, 3], and the fit's errors."""
    found = portrait_file.arrays(prepared.portrait)
    return {
        **{name: value for name, value in found.items() if name not in ("rgb", "alpha")},
        "flame_version": np.str_(model.version),
        "fitted": np.asarray(prepared.fit.points),
        "transform": prepared.transform,
        "error": np.asarray(prepared.fit.error),
        "expected_error": np.asarray(prepared.fit.expected),
    }


def read(
    folder: str | os.PathLike, model: FlameModel, *, size: int, background: str
) -> tuple[Portrait, tuple[str, ...]]:
    """The portrait in a prepared folder at `size` pixels a side, and sentences that the user should read.

    At the size it was prepared at, these are the bits of `preprocess.prepare`. Raises Refused or
    FileNotFoundError with one sentence where a file is missing, damaged, or does not fit the others.
    """
    folder = Path(folder)
    picture, _, _ = preprocess.load_image(_there(folder / PICTURE))
    side = picture.shape[0]
    if picture.shape[1] != side or side < MIN_SIDE:
        raise Refused(f"{folder / PICTURE} is no square: it must stay the crop that prepare wrote.")
    matte = preprocess.load_mask(_there(folder / MATTE), picture.shape[:2])
    matte = np.round(matte * 255.0).astype(np.uint8)
    if not (matte > 127).any():
        raise Refused(f"{folder / MATTE} shows nobody: the person must be white in it.")
    landmarks, camera, flame = _parameters(_there(folder / PARAMETERS), model, side)
    notes: tuple[str, ...] = ()
    if (folder / TRACKER).is_file():
        flame, camera, notes = _from_tracker(folder / TRACKER, model, landmarks, camera)
    if side != size:
        picture, matte = (
            np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
            for image in (picture, matte)
        )
        camera, landmarks = geometry.resize(camera, size, size), landmarks * (size / side)
    portrait = preprocess.compose(
        picture, matte, jnp.asarray(landmarks, jnp.float32), camera, flame, background=background
    )
    return portrait, notes


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make the folder anew with experiments.prepare.")
    return path


def _parameters(path: Path, model: FlameModel, side: int) -> tuple[np.ndarray, Camera, FlameParams]:
    """Landmarks, camera and parameters from portrait.npz, once they are known to fit the model."""
    data = load_npz(path)
    version = str(data.get("flame_version", "unknown"))
    if version != model.version:
        raise Refused(f"{path} is for the head {version}, the run's is {model.version}: check --flame.")
    flame = {name: np.shape(value) for name, value in vars(zero_params(model)).items()}
    wanted = {f"flame.{name}": shape for name, shape in flame.items()}
    wanted |= {"camera.world_to_camera": (4, 4), "camera.focal": (2,), "camera.center": (2,)}
    wanted["landmarks"] = (len(np.asarray(model.mediapipe_indices)), 2)
    values = {}
    for name, shape in wanted.items():
        if name not in data:
            raise Refused(f"{path} lacks {name}: make the folder anew with experiments.prepare.")
        value = np.asarray(data[name])
        if value.dtype.kind not in "fiu" or value.shape != shape or not np.isfinite(value).all():
            raise Refused(f"{path}: {name} must hold finite numbers of shape {shape}, not {value.shape}.")
        values[name] = jnp.asarray(value, jnp.float32)
    matrix = np.asarray(values["camera.world_to_camera"], np.float64)
    rigid = np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() < 1e-3
    if not rigid or np.linalg.det(matrix[:3, :3]) < 0 or (np.asarray(values["camera.focal"]) <= 0).any():
        raise Refused(f"{path}: camera.* is no camera, a rotation and a translation with a focal length.")
    parts = {name: v for name, v in values.items() if name.startswith("camera.")}
    camera = Camera(**{name[7:]: value for name, value in parts.items()}, height=side, width=side)
    params = FlameParams(**{name: values[f"flame.{name}"] for name in flame})
    return np.asarray(values["landmarks"]), camera, params


def _from_tracker(
    path: Path, model: FlameModel, landmarks: np.ndarray, camera: Camera
) -> tuple[FlameParams, Camera, tuple[str, ...]]:
    given = trackers.load(path, model)
    flame = FlameParams(**{name: jnp.asarray(value) for name, value in vars(given).items()})
    camera, error = preprocess.place(model, flame, landmarks, camera)
    if error > FAR:
        raise Refused(f"{path} does not fit: its landmarks lie {error:.0%} of the face's size off.")
    return flame, camera, (f"{path.name} is used: its landmarks lie {error:.1%} of the face's size off.",)
