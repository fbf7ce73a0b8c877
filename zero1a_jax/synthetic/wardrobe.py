"""What the synthetic people wear, worked out once from the head's template: fields, shells and grids.

Everything here is host numpy and depends on the template only. Hair, beards and collars are one outer
shell over the skin, displaced by a signed thickness that each look decides: where it is negative the shell
lies under the skin and the depth test hides it, so a hairline needs no extra triangles. Long hair is a grid
that hangs from the head's silhouette; glasses are tubes. Unused parts shrink to points.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy.spatial import cKDTree

from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.geometry.meshes import vertex_normals
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.types import Array, FlameModel

SKIN, EYE, TEETH, MOUTH, TONGUE, HAIR, CLOTH, FRAME = range(8)  # materials of faces
CURTAIN_U, CURTAIN_V = 45, 14  # columns around the head, rows down one side of the hanging hair
RING, TUBE, ARM = 28, 6, 8  # glasses: segments of a rim, around a tube, along a temple arm
_AZIMUTHS, _HEIGHTS = 48, 48


@struct.dataclass
class Wardrobe:
    """Constants of the synthetic figure; V head vertices, N shell vertices, G figure faces."""

    faces: Array  # [G, 3] int32 into head, shell, curtain and glasses vertices, in that order
    material: Array  # [G] int32
    shell: Array  # [N] int32, the head vertices under the shell
    shell_azimuth: Array  # [N] radians, 0 front, positive toward the subject's left
    shell_gate: Array  # [N] 0..1, 0 where no hair can stand (near ears, lids and lips)
    occlusion: Array  # [V] 0..1, share of the sky that a vertex sees
    lips: Array  # [V] metres into the lips, negative outside
    rim: Array  # [V] metres from the eyelids' inner edge
    azimuth: Array  # [V] radians
    scalp: Array  # [V] bool: counts for the skull's extent
    hang: Array  # [_AZIMUTHS, _HEIGHTS] metres: radius at which hair hangs clear of the head
    hang_low: Array  # [] metres, lowest height of `hang`
    hang_high: Array  # [] metres
    axis: Array  # [3] metres, centre of the skull between the ears
    eyes: Array  # [2, 3] metres, template eye joints
    eye_axis: Array  # [2, 3] unit vectors through the irises
    brow: Array  # [5] inner x, outer x, and the quadratic y = c0 + c1 x + c2 x^2 of the brow
    mouth: Array  # [3] metres, centre of the closed mouth
    mouth_width: Array  # [] metres, half the distance between the corners
    nose: Array  # [3] metres, under the nose's tip
    chin: Array  # [3] metres
    ear: Array  # [3] metres, centre of the left ear
    neck: Array  # [2] metres, y where the shoulders begin and where the neck ends
    front: Array  # [V] bool: skin that glasses must clear
    side: Array  # [V] bool: skin that temple arms must clear


def _mask(model: FlameModel, *names: str) -> np.ndarray:
    """Union of the named masks [V] bool."""
    masks = model.masks or {}
    missing = [name for name in names if name not in masks]
    if missing:
        raise ValueError(f"synthetic people need the head's masks {missing}; use flame.procedural_head()")
    return np.any([np.asarray(masks[name], bool) for name in names], 0)


def _signed_distance(points: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Metres to the mask's border, positive inside."""
    to_out, _ = cKDTree(points[~inside]).query(points)
    to_in, _ = cKDTree(points[inside]).query(points)
    return (0.5 * (to_out - to_in)).astype(np.float32)


def _occlusion(vertices: np.ndarray, normals: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Share of the hemisphere over each vertex that sees the sky, cosine weighted, by 64 z-buffered views."""
    count, size, distance = 64, 160, 4.0
    index = np.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    views = np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], -1).astype(np.float32)
    center = 0.5 * (vertices.min(0) + vertices.max(0))
    radius = np.linalg.norm(vertices - center, axis=-1).max()

    def see(view):
        up = jnp.where(jnp.abs(view[1]) > 0.9, jnp.array([0.0, 0, 1]), jnp.array([0.0, 1, 0]))
        right = jnp.cross(up, view)
        right = right / jnp.linalg.norm(right)
        local = jnp.asarray(vertices - center)
        depth = distance - local @ view
        scale = 0.49 * size * (distance - radius) / radius
        pixels = jnp.stack([local @ right, -(local @ jnp.cross(view, right))], -1) / depth[:, None]
        pixels = pixels * scale + 0.5 * size
        _, _, nearest = zbuffer(pixels, depth, faces, size, size)
        cell = jnp.clip(pixels.astype(jnp.int32), 0, size - 1)
        seen = depth <= nearest[cell[:, 1], cell[:, 0]] + 0.003
        weight = jnp.maximum(jnp.asarray(normals) @ view, 0)
        return weight * seen, weight

    seen, weight = jax.jit(lambda all_views: jax.lax.map(see, all_views))(views)
    return np.asarray(seen.sum(0) / np.maximum(weight.sum(0), 1e-6), np.float32)


def _rim(template: np.ndarray, faces: np.ndarray, lids: np.ndarray, sockets: np.ndarray) -> np.ndarray:
    """Metres to the edge at which the lids turn inward, over the eyeballs."""
    behind = (sockets & ~lids)[faces]
    edge = np.unique(faces[behind.any(-1)][lids[faces[behind.any(-1)]]])
    distance, _ = cKDTree(template[edge]).query(template)
    return distance.astype(np.float32)


def _hang(points: np.ndarray, axis: np.ndarray, low: float, high: float) -> np.ndarray:
    """Radius table: the head's silhouette around the axis, never narrowing fast on the way down."""
    offset = points - axis
    azimuth = np.arctan2(offset[:, 0], offset[:, 2])
    radius = np.hypot(offset[:, 0], offset[:, 2])
    column = np.floor((azimuth + np.pi) / (2 * np.pi) * _AZIMUTHS).astype(int) % _AZIMUTHS
    row = np.clip(np.round((points[:, 1] - low) / (high - low) * (_HEIGHTS - 1)).astype(int), 0, _HEIGHTS - 1)
    table = np.zeros((_AZIMUTHS, _HEIGHTS))
    np.maximum.at(table, (column, row), radius)
    step = (high - low) / (_HEIGHTS - 1)
    table = np.maximum(table, np.maximum(np.roll(table, 1, 0), np.roll(table, -1, 0)))
    for k in range(_HEIGHTS - 2, -1, -1):
        table[:, k] = np.maximum(table[:, k], table[:, k + 1] - 0.22 * step)
    for _ in range(3):
        table = 0.25 * np.roll(table, 1, 0) + 0.5 * table + 0.25 * np.roll(table, -1, 0)
        table[:, 1:-1] = 0.25 * table[:, :-2] + 0.5 * table[:, 1:-1] + 0.25 * table[:, 2:]
    return table.astype(np.float32)


def _grid_faces(rows: int, cols: int, start: int, closed: bool = False) -> np.ndarray:
    """Two triangles a cell of a grid of vertices [rows, cols]; `closed` joins last and first column."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(cols if closed else cols - 1), indexing="ij")
    a, b = i * cols + j, i * cols + (j + 1) % cols
    c, d = a + cols, b + cols
    return start + np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], -2).reshape(-1, 3)


def glasses_grids() -> list[tuple[int, int, bool]]:
    """The glasses' vertex grids (rows, columns, closed) in order: two rims, the bridge, two arms."""
    return [(RING + 1, TUBE, True)] * 2 + [(7, TUBE, True)] + [(ARM, TUBE, True)] * 2


def _face_materials(model: FlameModel, faces: np.ndarray) -> np.ndarray:
    material = np.full(len(faces), SKIN)
    groups = (
        (MOUTH, ("mouth_interior",)),
        (TONGUE, ("tongue",)),
        (TEETH, ("teeth",)),
        (EYE, ("left_eyeball", "right_eyeball")),
    )
    for value, names in groups:
        material[_mask(model, *names)[faces].all(-1)] = value
    return material


def _build(model: FlameModel) -> Wardrobe:
    template = np.asarray(model.template, np.float32)
    faces = np.asarray(model.faces, np.int32)
    normals = np.asarray(jax.jit(vertex_normals)(template, faces))
    joints = np.asarray(model.joint_regressor, np.float64) @ template
    lips, ears = _mask(model, "lips"), _mask(model, "left_ear", "right_ear")
    material = _face_materials(model, faces)
    skin = np.zeros(len(template), bool)
    skin[faces[material == SKIN]] = True
    rim = _rim(template, faces, _mask(model, "eyelids"), _mask(model, "left_eye_region", "right_eye_region"))
    to_lips, to_ears = _signed_distance(template, lips), -2 * _signed_distance(template, ears)
    ear = template[ears & (template[:, 0] > 0)].mean(0)
    axis = np.array([0, ear[1], ear[2]])
    offset = template - axis
    azimuth = np.arctan2(offset[:, 0], offset[:, 2]).astype(np.float32)
    eyes = joints[3:5]
    mouth = template[lips].mean(0) * [0, 1, 1]
    mouth_width = np.abs(template[lips, 0]).max()
    middle = skin & (np.abs(template[:, 0]) < 0.004) & (template[:, 2] > eyes[0, 2])
    chin = template[middle & (template[:, 1] < mouth[1] - 0.015)]
    chin = chin[np.argmax(chin[:, 2] - 0.6 * chin[:, 1])] * [0, 1, 1]
    between = middle & (template[:, 1] > mouth[1] + 0.008) & (template[:, 1] < eyes[0, 1])
    tip = template[between][np.argmax(template[between, 2])]
    under = template[middle & (template[:, 1] < tip[1]) & (template[:, 1] > mouth[1] + 0.006)]
    nose = under[np.argmin(under[:, 2])] * [0, 1, 1]

    shell_faces = faces[(material == SKIN) & ~ears[faces].any(-1) & ~lips[faces].any(-1)]
    shell, inverse = np.unique(shell_faces, return_inverse=True)
    to_eyes = np.linalg.norm(template[:, None] - eyes, axis=-1).min(-1)
    gate = np.clip(to_ears / 0.012, 0, 1) * np.clip((to_eyes - 0.018) / 0.01, 0, 1)
    gate = gate * np.clip(-2 * to_lips / 0.004, 0, 1)
    shoulders = float(template[_mask(model, "shoulders"), 1].max())

    start = len(template)
    curtain = start + len(shell)
    glasses = curtain + CURTAIN_U * 2 * CURTAIN_V
    parts = [faces, inverse.reshape(-1, 3) + start, _grid_faces(CURTAIN_U, 2 * CURTAIN_V, curtain)]
    cloth = (template[shell_faces, 1] < chin[1] - 0.03).all(-1)
    kinds = [material, np.where(cloth, CLOTH, HAIR), np.full(len(parts[2]), HAIR)]
    for rows, cols, closed in glasses_grids():
        parts.append(_grid_faces(rows, cols, glasses, closed))
        kinds.append(np.full(len(parts[-1]), FRAME))
        glasses += rows * cols
    samples = _spread(template[faces[material == SKIN]])
    low, high = chin[1] - 0.14, float(template[skin, 1].max())
    near_arms = np.abs(template[:, 2] - 0.02) < 0.045
    near_eyes = np.abs(np.abs(template[:, 0]) - eyes[0, 0]) < 0.022
    return Wardrobe(
        faces=np.concatenate(parts).astype(np.int32),
        material=np.concatenate(kinds).astype(np.int32),
        shell=shell.astype(np.int32),
        shell_azimuth=azimuth[shell],
        shell_gate=gate[shell].astype(np.float32),
        occlusion=_occlusion(template, normals, faces),
        lips=to_lips,
        rim=rim,
        azimuth=azimuth,
        scalp=skin & ~ears & (template[:, 1] > eyes[0, 1] + 0.02),
        hang=_hang(samples, axis, low, high),
        hang_low=np.array(low, np.float32),
        hang_high=np.array(high, np.float32),
        axis=axis.astype(np.float32),
        eyes=eyes.astype(np.float32),
        eye_axis=_eye_axes(model, template, eyes),
        brow=_brow(model, template),
        mouth=mouth.astype(np.float32),
        mouth_width=np.array(mouth_width, np.float32),
        nose=nose.astype(np.float32),
        chin=chin.astype(np.float32),
        ear=ear.astype(np.float32),
        neck=np.array([shoulders - 0.02, chin[1] - 0.03], np.float32),
        front=skin & near_eyes & (np.abs(template[:, 1] - eyes[0, 1]) < 0.02) & (template[:, 2] > 0.03),
        side=skin & ~ears & (np.abs(template[:, 1] - eyes[0, 1]) < 0.015) & near_arms,
    )


def _spread(corners: np.ndarray) -> np.ndarray:
    """Points all over triangles [F, 3, 3]."""
    weights = np.array([[a, b, 6 - a - b] for a in range(7) for b in range(7 - a)]) / 6
    return np.einsum("kc,fcd->fkd", weights, corners).reshape(-1, 3)


def _eye_axes(model: FlameModel, template: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Unit vectors [2, 3] from the eyes' centres through the irises."""
    axes = []
    for side, eye in zip(("left", "right"), eyes, strict=True):
        iris = _mask(model, "iris") & _mask(model, f"{side}_eyeball")
        axes.append(template[iris].mean(0) - eye)
    return np.stack(axes / np.linalg.norm(axes, axis=-1, keepdims=True)).astype(np.float32)


def _brow(model: FlameModel, template: np.ndarray) -> np.ndarray:
    """Inner and outer x and the quadratic of the left brow, from iBUG 22..26 (rows 5..9 of the embedding)."""
    corners = template[np.asarray(model.faces)[np.asarray(model.landmark_faces)]]
    points = (corners * np.asarray(model.landmark_barycentrics)[..., None]).sum(1)
    left, right = points[5:10], points[4::-1]
    x, y = 0.5 * (left[:, 0] - right[:, 0]), 0.5 * (left[:, 1] + right[:, 1])
    curve = np.polynomial.polynomial.polyfit(x, y, 2)
    return np.array([x.min(), x.max(), *curve], np.float32)


@functools.cache
def _embedded() -> Wardrobe:
    with jax.ensure_compile_time_eval():
        return _build(procedural_head())


def wardrobe(model: FlameModel) -> Wardrobe:
    """The constants of the figure around `model`; computed once for the embedded head.

    Under a trace the values of `model` are unknown: then it must have the embedded head's topology. Raises
    ValueError where it has not, and for a model without the embedded head's masks (`lips`, `teeth`, ...).
    """
    embedded = procedural_head()
    traced = isinstance(model.template, jax.core.Tracer)
    if model.template.shape != embedded.template.shape:
        if traced:
            raise ValueError("under jit, synthetic people need flame.procedural_head(); close over others")
        return _build(model)
    if traced or np.array_equal(model.template, embedded.template):
        return _embedded()
    return _build(model)
