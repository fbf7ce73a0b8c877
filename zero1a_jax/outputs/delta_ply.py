"""An animated avatar in one .ply, CAP4D's layout: a mesh, Gaussians on it, and how the mesh moves.

Elements in order: faces (index_0..2, uint32); base_vertex (x y z, metres, of the first frame); vertex (the
Gaussians in the frames of triangles: x y z, f_dc, f_rest, opacity, scale, rot, binding); then of each frame
meta_delta_min_N, meta_delta_max_N (one row x y z) and delta_vertex_N, the vertices' way from the base as
shares 0..1 of that range. Everything but the faces is little-endian float32. CAP4D's viewer, a build of
Brush, plays it; Brush itself knows other delta frames, of Gaussians in the world.
Source of the layout: CAP4D 1f25e997, `save_ply`.
"""

from __future__ import annotations

import os

import numpy as np
import plyfile

from zero1a_jax import files
from zero1a_jax.outputs import ply
from zero1a_jax.provenance import Provenance
from zero1a_jax.types import Gaussians

_SMALLEST = 1e-10  # metres; what does not move has no range


def save(
    path: str | os.PathLike,
    gaussians: Gaussians,
    face_ids: np.ndarray,
    faces: np.ndarray,
    vertices: np.ndarray,
    *,
    provenance: Provenance | None = None,
) -> None:
    """Writes an animation, atomically.

    Args:
      path: the file.
      gaussians: N, in triangle frames. face_ids: [N].
      faces: [F, 3]. vertices: [T, V, 3], metres, of each frame; the first is the base.
      provenance: what a comment of the header says.
    """
    sh = np.asarray(gaussians.sh, np.float32)
    names = [n for n in ply.property_names(3 * (sh.shape[1] - 1), False) if n not in ("nx", "ny", "nz")]
    columns = [gaussians.means, sh[:, 0], sh[:, 1:].transpose(0, 2, 1).reshape(len(sh), -1)]
    columns += [np.asarray(gaussians.opacity_logits)[:, None], gaussians.log_scales, gaussians.quats]
    columns.append(np.asarray(face_ids)[:, None])
    elements = [
        _element("faces", ("index_0", "index_1", "index_2"), faces, "<u4"),
        _element("base_vertex", tuple("xyz"), vertices[0]),
        _element("vertex", (*names, "binding"), np.concatenate(columns, 1)),
    ]
    for number, moved in enumerate(vertices):
        way = moved - vertices[0]
        low, high = way.min(0), way.max(0)
        share = (way - low) / np.maximum(high - low, _SMALLEST)
        elements.append(_element(f"meta_delta_min_{number:05d}", tuple("xyz"), low[None]))
        elements.append(_element(f"meta_delta_max_{number:05d}", tuple("xyz"), high[None]))
        elements.append(_element(f"delta_vertex_{number:05d}", tuple("xyz"), share))
    comments = [] if provenance is None else [provenance.sentence]
    with files.replacing(path) as temporary:
        plyfile.PlyData(elements, byte_order="<", comments=comments).write(temporary)


def _element(
    name: str, columns: tuple[str, ...], values: np.ndarray, kind: str = "<f4"
) -> plyfile.PlyElement:
    table = np.ascontiguousarray(values, kind)
    rows = table.view([(column, kind) for column in columns]).reshape(len(table))
    return plyfile.PlyElement.describe(rows, name)
