"""The forward pass of FLAME: blendshapes, pose correctives and linear blend skinning.

Source: Li et al., "Learning a model of facial shape and expression from 4D scans", 2017,
equations 1 to 5. Joints are root, neck, jaw, left eye, right eye.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from zero1a_jax.geometry.rotations import axis_angle_to_matrix
from zero1a_jax.types import ArkitMap, Array, FlameModel, FlameParams

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
_TARGET_OFFSET = (0.0, -0.035, -0.06)  # metres from between the eyes to the head's middle


def zero_params(model: FlameModel, batch_shape: tuple[int, ...] = ()) -> FlameParams:
    """The mean head at rest: FlameParams of zeros with leading axes `batch_shape`."""

    def zeros(*shape: int) -> Array:
        return jnp.zeros((*batch_shape, *shape), jnp.float32)

    return FlameParams(
        shape=zeros(model.shape_basis.shape[-1]),
        expression=zeros(model.expression_basis.shape[-1]),
        rotation=zeros(3),
        neck=zeros(3),
        jaw=zeros(3),
        eyes=zeros(2, 3),
        translation=zeros(3),
    )


def with_arkit(params: FlameParams, arkit: ArkitMap, weights: Array) -> FlameParams:
    """`params` [*B] with what ARKit weights [*B, K] ask for added to expression, jaw and eyes."""
    return params.replace(
        expression=params.expression + weights @ arkit.expression,
        jaw=params.jaw + weights @ arkit.jaw,
        eyes=params.eyes + jnp.einsum("...k,kec->...ec", weights, arkit.eyes),
    )


def _blend(basis: Array, coefficients: Array, name: str) -> Array:
    """Offsets [*B, V, 3]; fewer coefficients than the basis has count as zeros."""
    count = coefficients.shape[-1]
    if count > basis.shape[-1]:
        raise ValueError(
            f"params.{name} has {count} coefficients but the model only {basis.shape[-1]}; cut them off"
        )
    return jnp.einsum("vck,...k->...vc", basis[..., :count], coefficients, precision="highest")


def sized(coefficients: Array, count: int) -> np.ndarray:
    """Coefficients [..., K] as [..., count] float32 on the host: what is too many goes, what lacks is 0."""
    given = np.asarray(coefficients)
    out = np.zeros((*given.shape[:-1], count), np.float32)
    kept = min(count, given.shape[-1])
    out[..., :kept] = given[..., :kept]
    return out


def shaped_template(model: FlameModel, shape: Array) -> Array:
    """Vertices [*B, V, 3] of the identities `shape` [*B, S] at rest, without expression."""
    return model.template + _blend(model.shape_basis, jnp.asarray(shape), "shape")


def joint_rotations(params: FlameParams) -> Array:
    """Local rotation matrices [*B, 5, 3, 3] in the order of JOINTS."""
    parts = [params.rotation, params.neck, params.jaw, params.eyes[..., 0, :], params.eyes[..., 1, :]]
    return axis_angle_to_matrix(jnp.stack(jnp.broadcast_arrays(*map(jnp.asarray, parts)), -2))


def _chain(rotations: Array, rest: Array, parents: tuple[int, ...]) -> tuple[Array, Array]:
    """World rotations [*B, J, 3, 3] and positions [*B, J, 3] down the tree of joints."""
    turned, placed = [rotations[..., 0, :, :]], [rest[..., 0, :]]
    for joint in range(1, len(parents)):
        parent = parents[joint]
        bone = rest[..., joint, :] - rest[..., parent, :]
        turn = turned[parent]
        turned.append(jnp.matmul(turn, rotations[..., joint, :, :], precision="highest"))
        placed.append(placed[parent] + jnp.einsum("...ij,...j->...i", turn, bone, precision="highest"))
    return jnp.stack(turned, -3), jnp.stack(placed, -2)


def forward(model: FlameModel, params: FlameParams) -> tuple[Array, Array]:
    """Posed vertices [*B, V, 3] and joints [*B, J, 3] in metres, FLAME's world.

    Leading axes of the fields of `params` broadcast, so one shape [S] serves many frames and its
    blendshapes are summed once. The root turns about joint 0, not about the origin; expression moves
    the joints; translation comes last. Differentiable everywhere, zero rotations included.
    Raises ValueError for more coefficients than the model has, or a model without five joints.
    """
    if len(model.parents) != len(JOINTS):
        raise ValueError(f"a FlameModel needs the five joints {JOINTS}, got {len(model.parents)}")
    rest_vertices = shaped_template(model, params.shape) + _blend(
        model.expression_basis, jnp.asarray(params.expression), "expression"
    )
    rest_joints = jnp.einsum("jv,...vc->...jc", model.joint_regressor, rest_vertices, precision="highest")
    rotations = joint_rotations(params)
    feature = rotations[..., 1:, :, :] - jnp.eye(3, dtype=rotations.dtype)
    feature = feature.reshape(*feature.shape[:-3], -1)
    posed = rest_vertices + jnp.einsum("vck,...k->...vc", model.pose_basis, feature, precision="highest")

    turned, placed = _chain(rotations, rest_joints, model.parents)
    away = placed - jnp.einsum("...jab,...jb->...ja", turned, rest_joints, precision="highest")
    rotation = jnp.einsum("vj,...jab->...vab", model.skinning, turned, precision="highest")
    shift = jnp.einsum("vj,...ja->...va", model.skinning, away, precision="highest")
    # A broadcast product: a batched 3x3 matmul per vertex is slow on CPU and rounds to TF32 on GPU.
    vertices = jnp.sum(rotation * posed[..., None, :], -1) + shift
    translation = jnp.asarray(params.translation)[..., None, :]
    return vertices + translation, placed + translation


def frame_target(model: FlameModel, shape: Array) -> Array:
    """The point [*B, 3] that canonical cameras look at, for identities `shape` [*B, S].

    The middle of the two rest eye joints, 3.5 cm down and 6 cm back: about the head's centre.
    """
    vertices = shaped_template(model, shape)
    eyes = jnp.einsum("jv,...vc->...jc", model.joint_regressor[3:5], vertices, precision="highest")
    return jnp.mean(eyes, -2) + jnp.array(_TARGET_OFFSET, vertices.dtype)
