"""Motions from FLAME .npz: one file of all frames, or a folder of one a frame. Names: see `flame_arrays`.

GaussianAvatars' flame_param.npz and VHAP's tracked_flame_params.npz hold all frames, as do sequences of
DECA, EMOCA and SMIRK. VHAP's and GaussianAvatars' exports are folders: flame_param/ with a file a frame, and
canonical_flame_param.npz beside it, which is a pose of reference and no frame. EMOCA's are folders with a
folder an image, in which shape.npy, exp.npy and pose.npy hold a code each. static_offset and
dynamic_offset (metres per vertex) belong to the tracked mesh, not to the motion, and are left out.
Sources: GaussianAvatars 30cc4bde, VHAP 4b64ab7d, EMOCA 581f518d (save_codes).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from zero1a_jax.converters import flame_arrays
from zero1a_jax.errors import Refused
from zero1a_jax.types import FlameParams, Motion

FPS = 25.0  # where no file says
FRAMES, CANONICAL, TRACKED = "flame_param", "canonical_flame_param.npz", "tracked_flame_params"
_WIDTHS = {"rotation": 3, "neck": 3, "jaw": 3, "translation": 3, "eyes": 6}


def load(path: str | os.PathLike, *, fps: float = FPS, flame_version: str = "unknown") -> Motion:
    """Reads a FLAME motion from one .npz, or from a folder of one .npz a frame.

    Args:
      path: the file or folder. Nothing in it is unpickled. Of a folder the files count in the natural order
        of their numbers (frame_2 before frame_10), without hidden ones; if it has a folder flame_param, those
        in there. Without any, its folders of EMOCA's .npy count, or such files in it themselves. Of VHAP's
        tracked_flame_params_*.npz, which are states of one fit, the last counts.
      fps: frames a second, since most of these files do not say; a file that does wins.
      flame_version: the model whose coefficients these are, e.g. "flame2020", likewise.

    Returns:
      Motion of T float32 frames, without cameras; the shape is repeated for each frame, and taken from the
      canonical file where the frames have none. What no file has is 0; `notes` names it.

    Raises:
      FileNotFoundError: nothing is there. Refused: not such a file; the message names the array.
    """
    path = Path(path)
    notes: list[str] = []
    if not path.is_dir():
        data = flame_arrays.read(path)
        told = flame_arrays.told(data, path)
        frames = [_params(flame_arrays.parts(data, path), path, None, notes)]
    else:
        files, canonical = _sequence(path, notes)
        if not files:
            raise FileNotFoundError(f"{path} holds no .npz files and no folders of .npy codes{_hint(path)}")
        frames, told, shape = [], (None, None), _shape(canonical)
        for file in files:
            data = flame_arrays.read(file)
            told = flame_arrays.told(data, file)
            frames.append(_params(flame_arrays.parts(data, file), file, shape, notes))
        if len({tuple(np.shape(v)[1:] for v in vars(p).values()) for p in frames}) > 1:
            raise Refused(f"the files in {path} have different sizes; they are not one sequence")
    joined = {name: np.concatenate([getattr(p, name) for p in frames]) for name in vars(frames[0])}
    rate, version = told
    return Motion(
        flame=FlameParams(**joined),
        camera=None,
        fps=float(fps) if rate is None else rate,
        flame_version=flame_version if version is None else version,
        notes=tuple(dict.fromkeys(notes)),
    )


def is_sequence(folder: str | os.PathLike) -> bool:
    """Whether a folder is one motion: an export with flame_param/ or the canonical frame, states of VHAP's
    fit, several .npz of one frame each, or EMOCA's codes."""
    folder = Path(folder)
    if _visible(folder / FRAMES) or (folder / CANONICAL).is_file():
        return True
    if files := sorted(_visible(folder), key=natural):
        if all(file.stem.startswith(TRACKED) for file in files):
            return True
        return len(files) > 1 and _frames(files[0]) == _frames(files[-1]) == 1
    return bool(_code_folders(folder, []))


def save(path: str | os.PathLike, motion: Motion) -> None:
    """Writes the coefficients under GaussianAvatars' names, with fps and flame_version beside them.

    Raises:
      Refused: the shape changes during the motion, which that layout cannot hold.
    """
    flame = motion.flame
    shape = np.asarray(flame.shape, np.float32)
    if (shape != shape[:1]).any():
        raise Refused("the shape coefficients change during the motion; a flame_param.npz holds one shape")
    np.savez(
        Path(path),
        shape=shape[0],
        expr=np.asarray(flame.expression, np.float32),
        eyes_pose=np.asarray(flame.eyes, np.float32).reshape(len(shape), 6),
        fps=np.float64(motion.fps),
        flame_version=np.str_(motion.flame_version),
        rotation=np.asarray(flame.rotation, np.float32),
        neck_pose=np.asarray(flame.neck, np.float32),
        jaw_pose=np.asarray(flame.jaw, np.float32),
        translation=np.asarray(flame.translation, np.float32),
    )


def _sequence(folder: Path, notes: list[str]) -> tuple[list[Path], Path | None]:
    """The files of a folder in the order of their frames, and the canonical one."""
    within = folder / FRAMES if _visible(folder / FRAMES) else folder
    every = sorted(_visible(within), key=natural)
    files = [file for file in every if file.name != CANONICAL]
    canonical = next((f / CANONICAL for f in (within, within.parent) if (f / CANONICAL).is_file()), None)
    tracked = [file for file in files if file.stem.startswith(TRACKED)]
    if len(tracked) > 1:
        notes.append(f"of {len(tracked)} states of the fit the last is used, {tracked[-1].name}.")
        return tracked[-1:], canonical
    if not files and canonical is not None:
        raise Refused(f"{folder} holds a canonical frame alone, no motion; give the folder with the frames")
    return files or _code_folders(folder, notes), canonical


def _code_folders(folder: Path, notes: list[str]) -> list[Path]:
    """The folders of one image each, or `folder` where the codes of all frames lie in it."""
    if flame_arrays.has_codes(folder):
        return [folder]
    images = [file for file in folder.iterdir() if file.is_dir() and not file.name.startswith(".")]
    found = sorted(filter(flame_arrays.has_codes, images), key=natural)
    if found and len(found) < len(images):
        notes.append(f"{len(images) - len(found)} of {len(images)} folders hold no codes: they are left out.")
    return found


def _visible(folder: Path) -> list[Path]:
    """The .npz files in a folder, without hidden ones such as macOS's ._NAME; none without the folder."""
    if not folder.is_dir():
        return []
    files = (file for file in folder.iterdir() if not file.name.startswith("."))
    return [file for file in files if file.suffix.lower() == ".npz" and file.is_file()]


def natural(file: Path) -> tuple[list[str | int], str]:
    """A key that sorts by the numbers in a name as numbers."""
    pieces = re.split(r"([0-9]+)", file.name.lower())
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], file.name


def _frames(file: Path) -> int:
    """How many frames a file holds; 0 where it is no motion."""
    try:
        found = flame_arrays.parts(flame_arrays.read(file), file)
    except Refused:
        return 0
    return len(found.get("expression", ()))


def _hint(folder: Path) -> str:
    """Where a folder of several exports was given."""
    inside = sorted(p.name for p in folder.iterdir() if p.is_dir() and (p / FRAMES).is_dir())
    return f"; give one of the sequences in it, such as {inside[0]}" if inside else ""


def _shape(canonical: Path | None) -> np.ndarray | None:
    if canonical is None:
        return None
    shape = flame_arrays.parts(flame_arrays.read(canonical), canonical).get("shape")
    return None if shape is None else shape.reshape(-1, shape.shape[-1])[0]


def _params(
    found: dict[str, np.ndarray], path: Path, shape: np.ndarray | None, notes: list[str]
) -> FlameParams:
    """What a file holds as parameters of its T frames; `shape` [S] is for files without."""
    if "jaw" not in found:
        wanted = ", ".join((*flame_arrays.NAMES["jaw"], "pose"))
        raise Refused(f"{path} is not a FLAME motion, it lacks a jaw: one of {wanted}")
    frames = len(found["expression"])
    missing = [field for field in _WIDTHS if field not in found]
    if missing:
        notes.append(f"{' and '.join(missing)} are not in the file: they stay 0.")
    zeros = {field: np.zeros((frames, _WIDTHS[field]), np.float32) for field in missing}
    values = {"shape": np.zeros(1, np.float32) if shape is None else shape} | found | zeros
    values["shape"] = np.broadcast_to(values["shape"], (frames, values["shape"].shape[-1])).copy()
    values["eyes"] = values["eyes"].reshape(frames, 2, 3)
    return FlameParams(**values)
