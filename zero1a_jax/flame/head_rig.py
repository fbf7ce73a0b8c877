"""Joints, skinning weights and pose correctives of the embedded head."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from zero1a_jax.flame.head_mesh import MIRROR, HeadMesh, neighbour_mean
from zero1a_jax.flame.head_patches import mouth_line
from zero1a_jax.flame.head_surface import EYE, EYE_RADIUS

PARENTS = (-1, 0, 1, 1, 1)
ROOT, NECK, JAW = np.array([[0, -0.165, -0.036], [0, -0.085, -0.032], [0, -0.008, -0.002]])
JOINTS = np.stack([ROOT, NECK, JAW, EYE, EYE * MIRROR])
JAW_ANGLE = 0.31  # radians about +x at jawOpen = 1
LID_FOLLOW = 0.45  # share of the gaze's elevation that the upper lid follows


class Rig(NamedTuple):
    """The mesh with the fields that shapes are built from."""

    mesh: HeadMesh
    normals: np.ndarray  # [V, 3]
    skin: np.ndarray  # [V] bool: neither eyeball, teeth nor tongue
    lower: np.ndarray  # [V] 0..1: belongs below the mouth
    skinning: np.ndarray  # [V, 5]
    mean: sp.csr_matrix  # [V, V] neighbour mean


def ramp(x: np.ndarray, start: float, end: float) -> np.ndarray:
    """Smooth step from 0 at start to 1 at end."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def _vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V, 3], in float64."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normal = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normal, faces[:, i], np.cross(b - a, c - a))
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _below_mouth(mesh: HeadMesh) -> np.ndarray:
    """1 below the mouth, 0 above, blended at the corners: by ring angle on the lips, by height elsewhere."""
    x, y = np.abs(mesh.plan[:, 0]), mesh.plan[:, 1]
    lips = (mesh.group == "mouth") & (mesh.ring <= 3)
    soft = 0.0012 + 0.03 * np.clip((x - 0.020) / 0.02, 0, 1)
    by_height = ramp((mouth_line(x) - y) / soft, -1, 1)
    lower = np.where(lips, ramp(-np.sin(mesh.angle), -0.10, 0.10), by_height)
    return np.where(lips & (np.abs(np.cos(mesh.angle)) > 0.985), 0.5, lower)


def _skinning(mesh: HeadMesh, skin, lower, mean) -> np.ndarray:
    _, y, z = mesh.plan.T
    mouth = mesh.group == "mouth"
    neck = ramp(y + 0.35 * (z + 0.03), -0.145, -0.075)
    face = ramp(z - 0.55 * (y + 0.06), -0.012, 0.030)
    jaw = lower * face * ramp(-y, 0.004, 0.040) * ramp(y, -0.122, -0.094)
    jaw = np.where(mouth & (mesh.ring < 0), 0.98 * lower, jaw)
    jaw = np.where(mouth & (mesh.ring >= 0) & (mesh.ring <= 3), lower, jaw) * skin
    w = np.zeros((len(y), 5))
    w[:, 2] = jaw
    w[:, 1] = neck * (1 - jaw)
    w[:, 0] = 1 - w[:, 1] - w[:, 2]
    for _ in range(6):  # the lips meet only at the corners, so smoothing does not glue them together
        w[skin] = (0.5 * w + 0.5 * (mean @ w))[skin]
    for group, joint in (
        ("ball_left", 3),
        ("ball_right", 4),
        ("teeth_upper", 1),
        ("teeth_lower", 2),
        ("tongue", 2),
    ):
        w[mesh.group == group] = np.eye(5)[joint]
    w = np.maximum(w, 0)
    return w / w.sum(1, keepdims=True)


def build(mesh: HeadMesh) -> Rig:
    """Skinning and the fields that expressions and identities use."""
    skin = ~np.isin(mesh.group, ["ball_left", "ball_right", "teeth_upper", "teeth_lower", "tongue"])
    mean = neighbour_mean(mesh.faces, len(mesh.vertices))
    lower = _below_mouth(mesh)
    return Rig(
        mesh,
        _vertex_normals(mesh.vertices, mesh.faces),
        skin,
        lower,
        _skinning(mesh, skin, lower, mean),
        mean,
    )


def spot(rig: Rig, centre: ArrayLike, width: ArrayLike) -> np.ndarray:
    """Gaussian bump [V] on the skin; centre [3] and widths [3] in metres of the plan."""
    q = (rig.mesh.plan - np.asarray(centre)) / np.asarray(width)
    return np.exp(-0.5 * (q**2).sum(1)) * rig.skin


def along(weight: np.ndarray, direction: ArrayLike) -> np.ndarray:
    """Displacement [V, 3]: weight [V] times a direction [3] in metres."""
    return weight[:, None] * np.asarray(direction, float)


def smooth(rig: Rig, delta: np.ndarray, rounds: int = 3) -> np.ndarray:
    """Displacement [V, 3] averaged with the neighbours', on the skin only."""
    for _ in range(rounds):
        delta = np.where(rig.skin[:, None], 0.5 * delta + 0.5 * (rig.mean @ delta), delta)
    return delta


def turn(rig: Rig, weight: np.ndarray, centre: ArrayLike, axis: ArrayLike, angle: float) -> np.ndarray:
    """Displacement [V, 3] of rotating vertices by weight * angle radians about an axis through centre."""
    k = np.asarray(axis, float)
    q = rig.mesh.vertices - np.asarray(centre)
    a = (weight * angle)[:, None]
    return q * np.cos(a) + np.cross(k, q) * np.sin(a) + k * (q @ k)[:, None] * (1 - np.cos(a)) - q


def lids(rig: Rig, left: bool, upper: float, lower: float) -> np.ndarray:
    """Displacement [V, 3] of lids that slide over the eyeball.

    upper, lower: 1 brings that lid's margin to the line where both meet when the eye is closed; negative
    values open further.
    """
    mesh = rig.mesh
    centre = EYE if left else EYE * MIRROR
    ids = np.nonzero((mesh.group == ("eye_left" if left else "eye_right")) & (mesh.ring >= -3))[0]
    q = mesh.vertices[ids] - centre
    margin = mesh.ring[ids] == 0
    order = np.argsort(mesh.angle[ids][margin])
    elevation = np.arctan2(q[margin, 1], q[margin, 2])[order]
    n = len(elevation)
    opposite = elevation[-np.arange(n) % n]
    top = np.maximum(elevation, opposite)
    meet = np.minimum(elevation, opposite) - 0.04 * (top - np.minimum(elevation, opposite))
    column = np.round(mesh.angle[ids] * n / (2 * np.pi)).astype(int) % n
    rows = [-3, -1, 0, 1, 2, 3, 4, 5, 6]
    fall = np.interp(mesh.ring[ids], rows, [0.7, 1, 1, 0.97, 0.86, 0.6, 0.34, 0.14, 0])
    share = np.where(column <= n // 2, upper, lower) * fall
    angle = share * (meet - elevation)[column]
    c, s = np.cos(angle), np.sin(angle)
    turned = np.stack([q[:, 0], q[:, 1] * c + q[:, 2] * s, q[:, 2] * c - q[:, 1] * s], 1)
    # keep off the bulging cornea, which may turn underneath
    radius = np.linalg.norm(q, axis=1)
    front = np.interp(mesh.ring[ids], [-1, 0, 3, 4], [0, 1, 1, 0])
    off = 0.0016 + 0.0006 * np.clip(share, 0, 1)
    bare = np.maximum(off + EYE_RADIUS - radius, 0) * front
    turned *= (1 + bare * np.minimum(1, 3 * np.abs(share)) / radius)[:, None]
    delta = np.zeros_like(mesh.vertices)
    delta[ids] = turned - q
    return delta


def gaze_lids(rig: Rig, left: bool, down: float) -> np.ndarray:
    """Displacement [V, 3] of the lids when the eye looks down by `down` radians (up where negative)."""
    amount = down / 0.32
    return lids(rig, left, 0.46 * amount, -0.22 * max(amount, 0) + 0.10 * min(amount, 0))


def pose_basis(rig: Rig) -> np.ndarray:
    """Correctives [V, 3, 36] for R - I of neck, jaw, left and right eye (row-major nines).

    Only rotation about x is corrected, through the two sine entries (1, 2) and (2, 1). Jaw: the corners
    of the mouth are drawn in and the cheeks stretch. Eyes: the lids follow the gaze up and down.
    """
    basis = np.zeros((*rig.mesh.vertices.shape, 4, 3, 3))

    def put(joint, delta_per_sine):
        basis[:, :, joint, 2, 1] += 0.5 * delta_per_sine
        basis[:, :, joint, 1, 2] -= 0.5 * delta_per_sine

    put(1, jaw_corrective(rig) / np.sin(JAW_ANGLE))
    for joint, left in ((2, True), (3, False)):
        put(joint, gaze_lids(rig, left, 0.2) / np.sin(0.2))
    return basis.reshape(*rig.mesh.vertices.shape, 36)


def jaw_corrective(rig: Rig) -> np.ndarray:
    """Displacement [V, 3] that skinning misses when the jaw is open by JAW_ANGLE."""
    delta = np.zeros_like(rig.mesh.vertices)
    for side in (1, -1):
        corner = spot(rig, (side * 0.0245, -0.047, 0.077), (0.009, 0.014, 0.020))
        delta += along(corner, (-side * 0.0026, 0, -0.0010))
        cheek = spot(rig, (side * 0.040, -0.034, 0.050), (0.014, 0.022, 0.022))
        delta += along(cheek, (-side * 0.0022, 0, 0))
    upper = spot(rig, (0, -0.043, 0.088), (0.014, 0.009, 0.02)) * (1 - rig.lower)
    delta += along(upper, (0, 0.0012, 0))
    return smooth(rig, delta)


def joint_regressor(rig: Rig, still: np.ndarray) -> np.ndarray:
    """Regressor [5, V], rows sum to 1, exact on the template.

    Each joint is the smallest correction of a plain mean over vertices around it that expressions leave
    `still` [V] bool (or that turn about the joint itself), so that faces do not move their own joints.
    """
    mesh, v = rig.mesh, rig.mesh.vertices
    ears = np.isin(mesh.group, ["ear_left", "ear_right"]) & (mesh.ring == 0)
    neck = (mesh.group == "free") & (v[:, 1] < -0.06) & (v[:, 2] < 0.0)
    choice = [mesh.group == "neck", neck & still, ears, mesh.group == "ball_left", mesh.group == "ball_right"]
    rows = np.zeros((5, len(v)))
    for joint, chosen in enumerate(choice):
        ids = np.nonzero(chosen)[0]
        if len(ids) < 8:
            raise ValueError(f"joint {joint} is regressed from only {len(ids)} vertices; widen its region")
        a = np.concatenate([v[ids].T, np.ones((1, len(ids)))])
        start = np.full(len(ids), 1 / len(ids))
        rows[joint, ids] = start + np.linalg.pinv(a) @ (np.append(JOINTS[joint], 1) - a @ start)
    return rows
