"""Writes a FLAME folder of true size from the embedded head: 5,023 vertices, 9,976 faces, 300 + 100 columns.

The files are encoded as the official ones: protocol 2 with chumpy's and scipy's objects, a static embedding
of protocol 0, a dynamic one in an object array. The mesh is the embedded skin with FLAME's two holes, and its
eyes; teeth and tongue stay out, as FLAME has none. Its expressions are principal directions without names.

  python tests/flame_folder.py FOLDER
"""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import scipy.sparse

from zero1a_jax.converters import flame_files
from zero1a_jax.flame import procedural_head
from zero1a_jax.types import FlameModel

VERTICES, FACES, SHAPES, EXPRESSIONS, BOUNDARY = 5023, 9976, 300, 100, 62
MASKS = (
    "face neck scalp boundary right_eyeball left_eyeball right_ear left_ear forehead eye_region nose lips "
    "right_eye_region left_eye_region"
).split()
LANDMARKS = ("landmark_faces", "contour_faces", "mediapipe_faces")
SPREAD = 0.35  # standard deviation of an ARKit weight
JOINTED = ("jaw", "eyeLook", "tongue")  # what FLAME's joints do, or nothing


def boundary(faces: np.ndarray) -> np.ndarray:
    """Edges [B, 2] of one triangle alone, sorted."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    found, counts = np.unique(edges, axis=0, return_counts=True)
    return found[counts == 1]


class Mesh:
    """A mesh that is cut, split and renumbered, with what hangs on its vertices and triangles."""

    def __init__(self, head: FlameModel) -> None:
        self.faces, self.uv_faces = np.array(head.faces), np.array(head.uv_faces)
        self.uv, self.old = np.array(head.uv, np.float64), np.arange(len(head.faces))
        # Each vertex as a mix of old ones: everything linear follows from it.
        self.mix = [{v: 1.0} for v in range(len(head.template))]

    def keep(self, chosen: np.ndarray) -> None:
        """Only the triangles `chosen`."""
        self.faces, self.uv_faces, self.old = self.faces[chosen], self.uv_faces[chosen], self.old[chosen]

    def split(self, edge: np.ndarray) -> None:
        """Puts a vertex into the middle of an edge."""
        new, middles = len(self.mix), {}
        one, other = (self.mix[v] for v in edge)
        self.mix.append({v: 0.5 * (one.get(v, 0.0) + other.get(v, 0.0)) for v in {**one, **other}})
        for face in np.flatnonzero(np.isin(self.faces, edge).sum(1) == 2):
            corners, coordinates = self.faces[face].copy(), self.uv_faces[face].copy()
            at = next(k for k in range(3) if corners[k] in edge and corners[(k + 1) % 3] in edge)
            pair = tuple(sorted((coordinates[at], coordinates[(at + 1) % 3])))
            if pair not in middles:
                middles[pair] = len(self.uv)
                self.uv = np.concatenate([self.uv, self.uv[list(pair)].mean(0)[None]])
            first, last = np.arange(3) == at, np.arange(3) == (at + 1) % 3
            self.faces[face] = np.where(last, new, corners)
            self.uv_faces[face] = np.where(last, middles[pair], coordinates)
            self.faces = np.concatenate([self.faces, np.where(first, new, corners)[None]])
            self.uv_faces = np.concatenate([self.uv_faces, np.where(first, middles[pair], coordinates)[None]])
            self.old = np.append(self.old, -1)

    def positions(self, template: np.ndarray) -> np.ndarray:
        return np.array([sum(w * template[v] for v, w in mix.items()) for mix in self.mix])


def resized(head: FlameModel) -> tuple[np.ndarray, Mesh]:
    """The matrix [5023, V] from old vertices to new ones, and the mesh."""
    mesh, masks = Mesh(head), {name: np.asarray(member) for name, member in head.masks.items()}
    marked = np.concatenate([np.ravel(np.asarray(getattr(head, field))) for field in LANDMARKS])
    template = np.asarray(head.template, np.float64)
    parts = masks["teeth"] | masks["tongue"]
    mesh.keep(~parts[mesh.faces].any(1))
    # The hole behind the lips: the triangles around the deepest point of the mouth's lining in its middle.
    lining = np.flatnonzero(masks["mouth_interior"] & ~parts & (np.abs(template[:, 0]) < 1e-5))
    hole = {min(lining, key=lambda v: (round(template[v, 2], 5), template[v, 1]))}
    while True:
        ring = np.isin(mesh.faces, list(hole)).any(1)
        if len(boundary(mesh.faces[~ring])) > BOUNDARY:
            break
        fits, around = ring, np.array(sorted(set(mesh.faces[ring].ravel()) - hole))
        pairs = np.round(np.stack([template[around, 2], template[around, 1], abs(template[around, 0])], 1), 5)
        hole |= set(around[(pairs == min(map(tuple, pairs))).all(1)])  # one and its mirror image
    mesh.keep(~fits)
    while len(boundary(mesh.faces)) < BOUNDARY:
        mesh.split(_longest(mesh, boundary(mesh.faces), template))
    gone = len(mesh.mix) - len(np.unique(mesh.faces))
    while len(mesh.mix) - gone < VERTICES:
        edges = np.unique(np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1), axis=0)
        outer = {tuple(edge) for edge in boundary(mesh.faces)}
        kept = mesh.faces[np.isin(mesh.old, marked)]
        held = {tuple(e) for e in np.sort(kept[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)}
        eyes = {*np.flatnonzero(masks["left_eyeball"] | masks["right_eyeball"])}
        free = [e for e in edges if tuple(e) not in outer | held and not eyes & set(e)]
        lengths = np.linalg.norm(np.diff(mesh.positions(template)[np.array(free)], axis=1)[:, 0], axis=-1)
        longest = np.array(free)[np.argsort(-lengths)]
        touched: set[int] = set()
        for edge in longest[: max(8, (VERTICES + gone - len(mesh.mix)) // 2)]:
            around = set(mesh.faces[np.isin(mesh.faces, edge).sum(1) == 2].ravel())
            if len(mesh.mix) - gone < VERTICES and not around & touched:
                touched |= around
                mesh.split(edge)
    return _renumbered(mesh, len(template)), mesh


def _longest(mesh: Mesh, edges: np.ndarray, template: np.ndarray) -> np.ndarray:
    ends = mesh.positions(template)[edges]
    return edges[np.argmax(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1))]


def _renumbered(mesh: Mesh, count: int) -> np.ndarray:
    """Skin first, then the left and the right eye, as in FLAME; new vertices lie in the skin."""
    used = np.unique(mesh.faces)
    edges = mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    graph = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), (len(mesh.mix),) * 2)
    labels = scipy.sparse.csgraph.connected_components(graph)[1][used]
    order = sorted(np.unique(labels), key=lambda label: -np.sum(labels == label))
    used = np.concatenate([used[labels == label] for label in order])
    number = np.full(len(mesh.mix), -1)
    number[used] = np.arange(len(used))
    mesh.faces = number[mesh.faces]
    points, mesh.uv_faces = np.unique(mesh.uv_faces, return_inverse=True)
    mesh.uv, mesh.uv_faces = mesh.uv[points], mesh.uv_faces.reshape(-1, 3)
    matrix = np.zeros((len(used), count))
    for row, vertex in enumerate(used):
        for old, weight in mesh.mix[vertex].items():
            matrix[row, old] = weight
    return matrix


def directions(head: FlameModel, matrix: np.ndarray, seed: int = 0) -> np.ndarray:
    """shapedirs [5023, 3, 400], a standard deviation each: the embedded, then ever smaller smooth ones."""
    template = matrix @ np.asarray(head.template, np.float64)
    shape = np.einsum("nv,vck->nck", matrix, np.asarray(head.shape_basis, np.float64))
    free = [k for k, name in enumerate(head.expression_names) if not name.startswith(JOINTED)]
    named = np.einsum("nv,vck->nck", matrix, np.asarray(head.expression_basis, np.float64)[..., free])
    u, s, _ = np.linalg.svd(SPREAD * named.reshape(-1, len(free)), full_matrices=False)
    expression = (u * s).reshape(*named.shape)
    skin = np.asarray(head.masks["face"], np.float64) @ matrix.T
    luck = np.random.default_rng(seed)

    def smooth(count: int, size: float, where: np.ndarray) -> np.ndarray:
        waves = (
            luck.normal(0, 25.0, (count, 3)),
            luck.uniform(0, 2 * np.pi, count),
            luck.normal(0, 1, (3, count)),
        )
        fields = np.cos(template @ waves[0].T + waves[1])[:, None] * waves[2]
        return fields * size / (1 + np.arange(count)) ** 0.5 * where[:, None, None]

    more = smooth(SHAPES - shape.shape[2], 2e-4, np.ones(VERTICES))
    less = smooth(EXPRESSIONS - len(free), 1e-4, skin)
    return np.concatenate([shape, more, expression, less], 2)


def write(folder: Path, *, name: str = "generic_model.pkl") -> Path:
    """Writes the folder; `name` decides which version it passes for."""
    head = procedural_head()
    matrix, mesh = resized(head)
    at = {old: new for new, old in enumerate(mesh.old) if old >= 0}
    moved = {field: np.vectorize(at.__getitem__)(np.asarray(getattr(head, field))) for field in LANDMARKS}
    linear = {
        field: np.einsum("nv,v...->n...", matrix, np.asarray(getattr(head, field), np.float64))
        for field in ("template", "pose_basis", "skinning")
    }
    # A regressor's row mixes old vertices, all of which are still there.
    back = matrix == 1.0
    regressor = np.asarray(head.joint_regressor, np.float64) @ back.T
    folder.mkdir(parents=True, exist_ok=True)
    content = dict(
        f=mesh.faces.astype(np.uint32),
        v_template=chumpy(linear["template"]),
        shapedirs=chumpy(directions(head, matrix)),
        posedirs=linear["pose_basis"],
        J_regressor=scipy.sparse.csc_matrix(regressor),
        J=regressor @ linear["template"],
        weights=chumpy(linear["skinning"]),
        bs_style="lbs",
        bs_type="lrotmin",
        kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], range(5)], np.uint32),
    )
    (folder / name).write_bytes(pickled(content, 2))
    mixes = np.asfortranarray(np.asarray(head.landmark_barycentrics, np.float64))
    static = dict(lmk_face_idx=moved["landmark_faces"].astype(np.uint32), lmk_b_coords=mixes)
    (folder / flame_files.STATIC).write_bytes(pickle.dumps(static, 0))
    rows = dict(
        lmk_face_idx=list(moved["contour_faces"].astype(np.uint32)),
        lmk_b_coords=list(np.asarray(head.contour_barycentrics, np.float64)),
    )
    np.save(folder / flame_files.DYNAMIC, np.array(rows, object))
    np.savez(
        folder / flame_files.MEDIAPIPE,
        lmk_face_idx=moved["mediapipe_faces"].astype(np.uint32),
        lmk_b_coords=np.asarray(head.mediapipe_barycentrics, np.float64),
        landmark_indices=np.asarray(head.mediapipe_indices, np.int64),
    )
    masks = {n: np.flatnonzero(matrix @ np.asarray(head.masks[n], np.float64) > 0.99) for n in MASKS}
    (folder / flame_files.MASKS).write_bytes(pickle.dumps(masks, 2))
    lines = [f"v {x:.6f} {y + 1.5:.6f} {z:.6f}" for x, y, z in linear["template"]]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in mesh.uv]
    lines += [
        "f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(*pair, strict=True))
        for pair in zip(mesh.faces, mesh.uv_faces, strict=True)
    ]
    (folder / flame_files.TEMPLATE).write_text("\n".join(lines) + "\n")
    return folder


class _Ch:
    """What chumpy 0.70 leaves of an array in a pickle."""

    def __init__(self, x: np.ndarray) -> None:
        self.__dict__ = dict(x=x, _dirty_vars=set(), _itr=None, _depends_on_deps={}, _make_dense=False)


_Ch.__module__, _Ch.__name__, _Ch.__qualname__ = "chumpy.ch", "Ch", "Ch"


def chumpy(array: np.ndarray) -> _Ch:
    """An array as chumpy.ch.Ch."""
    return _Ch(np.asfortranarray(array))


def pickled(content: dict, protocol: int) -> bytes:
    """pickle.dumps, with a chumpy that exists as long as it takes."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    module.Ch = package.ch = _Ch  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("chumpy", "chumpy.ch")}
    sys.modules.update({"chumpy": package, "chumpy.ch": module})
    try:
        return pickle.dumps(content, protocol)
    finally:
        for key, old in before.items():
            sys.modules.pop(key) if old is None else sys.modules.__setitem__(key, old)


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
