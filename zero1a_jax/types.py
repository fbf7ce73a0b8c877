"""Every pytree that crosses a package.

Units are metres, pixels and radians. Cameras follow OpenCV (x right, y down, z forward; pixel
centres at +0.5), quaternions are wxyz. `*B` stands for any leading axes. The head's world frame is
FLAME's: +x the subject's left, +y up, +z out of the face.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import struct

Array = jax.Array | np.ndarray


@struct.dataclass
class Camera:
    """Pinhole cameras that share one image size."""

    world_to_camera: Array  # [*B, 4, 4], rigid
    focal: Array  # [*B, 2], pixels (fx, fy)
    center: Array  # [*B, 2], pixels (cx, cy)
    height: int = struct.field(pytree_node=False)
    width: int = struct.field(pytree_node=False)
    whole: Array | None = None  # [*B, 4], pixels: left, top, right, bottom of what this is a crop of


@struct.dataclass
class FlameModel:
    """A FLAME-like head: linear blendshapes, pose correctives and linear blend skinning.

    Fields that a file may lack are None. Landmarks are barycentric mixes of a triangle.
    """

    template: Array  # [V, 3]
    shape_basis: Array  # [V, 3, S]
    expression_basis: Array  # [V, 3, E]
    pose_basis: Array  # [V, 3, 36], correctives for the rotations of joints 1..4
    joint_regressor: Array  # [J, V]
    skinning: Array  # [V, J], rows sum to 1
    faces: Array  # [F, 3] int32, wound outward
    landmark_faces: Array | None  # [51] int32, iBUG 17..67
    landmark_barycentrics: Array | None  # [51, 3]
    contour_faces: Array | None  # [79, 17] int32, iBUG 0..16 by row of head yaw
    contour_barycentrics: Array | None  # [79, 17, 3]
    mediapipe_faces: Array | None  # [105] int32
    mediapipe_barycentrics: Array | None  # [105, 3]
    mediapipe_indices: Array | None  # [105] int32, index into MediaPipe's face mesh
    masks: dict[str, Array] | None  # name to [V] bool
    uv: Array | None  # [U, 2] in 0..1, v up
    uv_faces: Array | None  # [F, 3] int32 into uv
    parents: tuple[int, ...] = struct.field(pytree_node=False)  # root's is -1
    expression_names: tuple[str, ...] = struct.field(pytree_node=False)  # ARKit names, or ()
    version: str = struct.field(pytree_node=False)


@struct.dataclass
class FlameParams:
    """Coefficients and axis-angle rotations of one or many heads."""

    shape: Array  # [*B, S]
    expression: Array  # [*B, E]
    rotation: Array  # [*B, 3], of the root joint
    neck: Array  # [*B, 3]
    jaw: Array  # [*B, 3]
    eyes: Array  # [*B, 2, 3], left then right
    translation: Array  # [*B, 3], metres


@struct.dataclass
class ArkitMap:
    """What ARKit's shapes ask of a head whose own expressions have no such names; effects are added."""

    expression: Array  # [K, E], coefficients
    jaw: Array  # [K, 3], rotation vectors
    eyes: Array  # [K, 2, 3], rotation vectors, left then right
    names: tuple[str, ...] = struct.field(pytree_node=False)  # [K]


@struct.dataclass
class Motion:
    """A driving sequence of T frames."""

    flame: FlameParams  # leading axis T
    camera: Camera | None  # leading axis T
    fps: float = struct.field(pytree_node=False)
    flame_version: str = struct.field(pytree_node=False)
    notes: tuple[str, ...] = struct.field(pytree_node=False, default=())  # sentences for the user


@struct.dataclass
class Recording:
    """T rows of ARKit weights and rotations, as an app recorded them."""

    weights: np.ndarray  # [T, K] float64, 0..1
    rotations: (
        np.ndarray
    )  # [T, 9] float64 radians: yaw, pitch, roll of head, left eye, right eye; 0 if unknown
    frame: np.ndarray  # [T] int64 frames since the first row, by its clock; gaps are dropped frames
    seconds: np.ndarray  # [T] float64 seconds since the first row, by its clock
    names: tuple[str, ...] = struct.field(
        pytree_node=False
    )  # [K] shapes as the file writes them, in its order
    fps: float = struct.field(pytree_node=False)  # the recording rate
    notes: tuple[str, ...] = struct.field(pytree_node=False, default=())  # sentences for the user


@struct.dataclass
class Gaussians:
    """3D Gaussians as unconstrained values; world space unless a holder says otherwise."""

    means: Array  # [N, 3]
    log_scales: Array  # [N, 3]
    quats: Array  # [N, 4] wxyz, not normalised
    sh: Array  # [N, K, 3], K = (degree + 1)^2; colour = max(SH + 0.5, 0)
    opacity_logits: Array  # [N]


@struct.dataclass
class Avatar:
    """Gaussians that live in the frames of a mesh's triangles. N is a fixed capacity."""

    gaussians: Gaussians  # in triangle frames
    face_ids: Array  # [N] int32
    alive: Array  # [N] bool
    shape: Array  # [S], the identity coefficients


@struct.dataclass
class Render:
    """What the rasterizer returns."""

    rgb: Array  # [*B, H, W, 3], linear in the Gaussians' colours, over the background
    alpha: Array  # [*B, H, W]
    depth: Array  # [*B, H, W], accumulated: sum of weight times camera z
    radii: Array  # [*B, N] pixels; 0 where not visible
    overflow: Array  # [*B] int32: intersections that did not fit the capacity
    features: Array | None = None  # [*B, H, W, D], accumulated: sum of weight times feature


@struct.dataclass
class Inspection:
    """What the rasterizer can tell of its pixels, without gradients."""

    median_depth: Array  # [*B, H, W], camera z where the transmittance falls to 0.5 or less; 0 where never
    counts: Array  # [*B, H, W] int32: Gaussians drawn on the pixel
    overflow: Array  # [*B] int32, as in Render


@struct.dataclass
class Portrait:
    """A fitted portrait, cropped to the working frame."""

    rgb: Array  # [H, W, 3] in 0..1, over the chosen background
    alpha: Array  # [H, W] in 0..1
    landmarks: Array  # [105, 2] pixels, MediaPipe points in the order of the model's embedding
    camera: Camera  # one camera, no leading axes
    flame: FlameParams  # no leading axes


@struct.dataclass
class Dataset:
    """The synthetic dataset on the host: M samples of T frames, all slots from step 0."""

    rgb: np.ndarray  # [M, T, H, W, 3] uint8
    alpha: np.ndarray  # [M, T, H, W] uint8
    cameras: Camera  # [M, T], as rendered when generated
    flame: FlameParams  # [M, T], as rendered when generated
    frozen: np.ndarray  # [M] bool: never overwritten (the portrait)
    stage: np.ndarray  # [M] int32: curriculum stage
    round: np.ndarray  # [M] int32: how often the sample was generated; 0 = empty
    reject_reason: np.ndarray  # [M] int32: 0 = accepted, see symgen.dataset


@struct.dataclass
class State:
    """What an avatar step reads and writes, on the device."""

    step: Array  # [] int32
    avatar: Avatar
    optimizer: Any  # optax state
    gradient_sum: Array  # [N] screen-space gradient norms since the last density control
    seen: Array  # [N] how many frames saw the Gaussian since then
    largest_radius: Array  # [N] pixels
