"""Gaussians as .ply files, in the layout of 3D Gaussian splatting and of GaussianAvatars.

One element `vertex` of little-endian float32: x y z, nx ny nz (zeros), f_dc_0..2, f_rest_* (all of red,
then green, then blue), opacity, scale_0..2, rot_0..3 (wxyz), and binding_0, the triangle's index, where
the Gaussians live in triangle frames. All values are raw: logits, log scales, unnormalised quaternions.
Source of the layout: GaussianAvatars 30cc4bde, `save_ply`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import plyfile

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.provenance import Provenance
from zero1a_jax.types import Gaussians

# Avatars are trained with Mip-Splatting's opacity compensation; Brush reads this line and draws them so.
MIP = "comment SplatRenderMode: mip"
_HEADER_LIMIT = 65536
_LARGEST_FACE = 2**24  # the last integer that float32 counts to without gaps


def save(
    path: str | os.PathLike,
    gaussians: Gaussians,
    face_ids: np.ndarray | None = None,
    *,
    provenance: Provenance | None = None,
    degree: int = 0,
) -> None:
    """Writes N Gaussians to `path`, atomically.

    Args:
      path: the file; its folder is made where it is missing.
      gaussians: N Gaussians. In world space (metres) any splat viewer shows them.
      face_ids: [N] integers in 0 .. 2^24 - 1, for Gaussians in triangle frames: adds binding_0.
      provenance: what a comment of the header says.
      degree: harmonics of a lower degree are filled up with zeros to this one, for viewers that insist on it.

    Raises:
      Refused: where shapes disagree, a value is not finite, or a face id does not fit.
    """
    arrays = _checked(_padded(gaussians, degree), face_ids)
    names = property_names(arrays["rest"].shape[1], face_ids is not None)
    table = np.concatenate(list(arrays.values()), axis=1).astype("<f4")
    if table.shape[1] != len(names):
        raise Refused(f"{table.shape[1]} columns for {len(names)} properties; check the Gaussians' shapes")
    comments = [] if provenance is None else [f"comment {provenance.sentence}"]
    if face_ids is None:
        comments.append(MIP)
    lines = ["ply", "format binary_little_endian 1.0", *comments, f"element vertex {len(table)}"]
    lines += [f"property float {name}" for name in names] + ["end_header", ""]
    files.write_bytes(path, "\n".join(lines).encode("ascii") + table.tobytes())


def load(path: str | os.PathLike) -> tuple[Gaussians, np.ndarray | None]:
    """Reads a Gaussian .ply, ours or another program's (binary or text, any float type, any column order).

    Returns:
      (gaussians, face_ids): numpy arrays; face_ids is [N] int32, or None where the file has no binding.

    Raises:
      Refused: where the file is not a readable Gaussian .ply; the message names what is wrong.
      FileNotFoundError: where there is no such file.
    """
    path = Path(path)
    vertex = _read_vertices(path)
    columns = {name: vertex[name] for name in vertex.dtype.names or ()}
    rest = [name for name in columns if name.startswith("f_rest_")]
    if len(rest) not in (0, 9, 24, 45):
        raise Refused(f"{path}: {len(rest)} f_rest columns; expected 0, 9, 24 or 45 (SH degree 0 to 3)")
    needed = [n for n in property_names(len(rest), False) if n not in ("nx", "ny", "nz")]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise Refused(f"{path}: not a Gaussian .ply, it lacks the columns {', '.join(missing)}")

    def take(*names: str) -> np.ndarray:
        return np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1)

    count, terms = len(vertex), len(rest) // 3
    sh = take("f_dc_0", "f_dc_1", "f_dc_2")[:, None, :]
    if terms:
        channel_major = take(*[f"f_rest_{i}" for i in range(3 * terms)]).reshape(count, 3, terms)
        sh = np.concatenate([sh, channel_major.transpose(0, 2, 1)], axis=1)
    gaussians = Gaussians(
        means=take("x", "y", "z"),
        log_scales=take("scale_0", "scale_1", "scale_2"),
        quats=take("rot_0", "rot_1", "rot_2", "rot_3"),
        sh=np.ascontiguousarray(sh),
        opacity_logits=np.asarray(columns["opacity"], np.float32),
    )
    _check_values(gaussians, f"{path}: ")
    return gaussians, _read_binding(path, columns)


def property_names(rest: int, bound: bool) -> list[str]:
    """The columns in file order, for `rest` f_rest columns, with binding_0 where `bound`."""
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(rest)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    return names + ["binding_0"] * bound


def _padded(gaussians: Gaussians, degree: int) -> Gaussians:
    """The Gaussians with harmonics of at least `degree`; those added are 0."""
    sh = np.asarray(gaussians.sh, np.float32)
    lacking = (degree + 1) ** 2 - sh.shape[1] if sh.ndim == 3 else 0
    return gaussians.replace(sh=np.pad(sh, ((0, 0), (0, lacking), (0, 0)))) if lacking > 0 else gaussians


def _checked(gaussians: Gaussians, face_ids: np.ndarray | None) -> dict[str, np.ndarray]:
    """The file's columns in order, as float32, after checking shapes and values."""
    count = len(np.asarray(gaussians.means))
    shapes = {"means": (count, 3), "log_scales": (count, 3), "quats": (count, 4), "opacity_logits": (count,)}
    for name, shape in shapes.items():
        if np.shape(getattr(gaussians, name)) != shape:
            raise Refused(f"{name} has shape {np.shape(getattr(gaussians, name))}; expected {shape}")
    sh = np.asarray(gaussians.sh, np.float32)
    if sh.ndim != 3 or sh.shape[0] != count or sh.shape[1] not in (1, 4, 9, 16) or sh.shape[2] != 3:
        raise Refused(f"sh has shape {sh.shape}; expected [{count}, K, 3] with K of 1, 4, 9 or 16")
    _check_values(gaussians, "")
    columns = {
        "means": np.asarray(gaussians.means, np.float32),
        "normals": np.zeros((count, 3), np.float32),
        "dc": sh[:, 0],
        "rest": sh[:, 1:].transpose(0, 2, 1).reshape(count, -1),
        "opacity": np.asarray(gaussians.opacity_logits, np.float32)[:, None],
        "scales": np.asarray(gaussians.log_scales, np.float32),
        "quats": np.asarray(gaussians.quats, np.float32),
    }
    if face_ids is not None:
        ids = np.asarray(face_ids)
        if ids.shape != (count,) or not np.issubdtype(ids.dtype, np.integer):
            raise Refused(f"face_ids is {ids.dtype}{list(ids.shape)}; expected integers [{count}]")
        if count and (ids.min() < 0 or ids.max() >= _LARGEST_FACE):
            raise Refused(f"face_ids must lie in 0 .. {_LARGEST_FACE - 1}, since the file holds float32")
        columns["binding"] = ids.astype(np.float32)[:, None]
    return columns


def _check_values(gaussians: Gaussians, prefix: str) -> None:
    if len(np.asarray(gaussians.means)) == 0:
        raise Refused(f"{prefix}there are no Gaussians")
    for name in ("means", "log_scales", "quats", "sh", "opacity_logits"):
        if not np.isfinite(np.asarray(getattr(gaussians, name))).all():
            raise Refused(f"{prefix}{name} holds values that are not finite")
    if (np.abs(np.asarray(gaussians.quats)).max(axis=1) == 0).any():
        raise Refused(f"{prefix}a rotation is the zero quaternion")


def _read_vertices(path: Path) -> np.ndarray:
    """The `vertex` table, after checks that keep a hostile header from claiming memory."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(_HEADER_LIMIT)
    if not head.startswith(b"ply"):
        raise Refused(f"{path}: not a .ply file (it does not start with 'ply')")
    if b"end_header" not in head:
        raise Refused(f"{path}: the .ply header does not end; the file is cut off or damaged")
    for line in head.split(b"end_header")[0].splitlines():
        words = line.split()
        if words[:1] == [b"element"] and (len(words) != 3 or not words[2].isdigit() or int(words[2]) > size):
            text = line.decode("ascii", "replace")
            raise Refused(f"{path}: the header's '{text}' does not fit a file of {size} bytes")
    if b"packed_position" in head:
        raise Refused(f"{path}: a compressed splat .ply; export it uncompressed first")
    try:
        elements = {element.name: element for element in plyfile.PlyData.read(path).elements}
    except (plyfile.PlyParseError, ValueError, TypeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not a readable .ply: {error}") from error
    if "vertex" not in elements:
        raise Refused(f"{path}: it has no 'vertex' element, so it holds no Gaussians")
    vertex = elements["vertex"]
    lists = [p.name for p in vertex.properties if isinstance(p, plyfile.PlyListProperty)]
    if lists:
        raise Refused(f"{path}: the vertex column {lists[0]} is a list; Gaussians have plain numbers")
    return np.asarray(vertex.data)


def _read_binding(path: Path, columns: dict[str, np.ndarray]) -> np.ndarray | None:
    names = [name for name in columns if name.startswith("binding")]
    if not names:
        return None
    values = np.asarray(columns[names[0]], np.float64)
    if not np.isfinite(values).all() or (values != np.round(values)).any():
        raise Refused(f"{path}: {names[0]} holds values that are not whole numbers")
    if values.min() < 0 or values.max() >= _LARGEST_FACE:
        raise Refused(f"{path}: {names[0]} holds face ids outside 0 .. {_LARGEST_FACE - 1}")
    return values.astype(np.int32)
