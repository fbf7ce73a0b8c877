"""A head reduced to what its landmarks need, so that fitting runs on hundreds of vertices."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.types import Array, FlameModel

EYEBALL_RADIUS = 0.012  # metres, where the model does not mark its pupils
IRISES = (-2, -1)  # vertices of the subject's left and right iris centre in the reduced head


def landmark_subset(model: FlameModel, shapes: int = 100, expressions: int = 100) -> FlameModel:
    """The same head with only the vertices that landmarks touch, its joints and two iris centres.

    Joints become vertices that the reduced joint regressor picks, so that `flame.forward` gives the
    same landmarks as on the full head. Vertices `IRISES` sit on the eyeballs' front and turn
    with them. At most `shapes` and `expressions` leading coefficients are kept. Masks and UVs are
    dropped. Raises Refused where the model has no MediaPipe or contour embedding.
    """
    if model.mediapipe_faces is None or model.contour_faces is None:
        raise Refused("The head has no landmark embedding: load it with its embedding files to fit it.")
    faces = np.asarray(model.faces)
    triangles, where = np.unique(
        np.concatenate([np.ravel(model.mediapipe_faces), np.ravel(model.contour_faces)]), return_inverse=True
    )
    vertices, corners = np.unique(faces[triangles], return_inverse=True)
    split = len(np.ravel(model.mediapipe_faces))

    regressor = np.asarray(model.joint_regressor, np.float64)
    joints = len(regressor)
    iris_weights, iris_depth = _irises(model, regressor)

    def reduce(values: Array) -> np.ndarray:
        values = np.asarray(values, np.float64)
        extra = [np.einsum("jv,v...->j...", weights, values) for weights in (regressor, iris_weights)]
        return np.concatenate([values[vertices], *extra])

    template = reduce(model.template)
    template[list(IRISES), 2] += iris_depth
    shape_basis = reduce(np.asarray(model.shape_basis)[..., :shapes])
    expression_basis = reduce(np.asarray(model.expression_basis)[..., :expressions])
    pose = reduce(model.pose_basis)
    pose[len(vertices) : -2] = 0.0  # joints are taken at rest
    skinning = np.concatenate([np.asarray(model.skinning)[vertices], np.eye(joints), np.eye(joints)[3:5]])
    pick = np.eye(len(pose))[len(vertices) : len(vertices) + joints]
    return model.replace(
        template=jnp.asarray(template, jnp.float32),
        shape_basis=jnp.asarray(shape_basis, jnp.float32),
        expression_basis=jnp.asarray(expression_basis, jnp.float32),
        pose_basis=jnp.asarray(pose, jnp.float32),
        joint_regressor=jnp.asarray(pick, jnp.float32),
        skinning=jnp.asarray(skinning, jnp.float32),
        faces=jnp.asarray(corners.reshape(-1, 3), jnp.int32),
        mediapipe_faces=jnp.asarray(where[:split], jnp.int32),
        contour_faces=jnp.asarray(where[split:].reshape(np.shape(model.contour_faces)), jnp.int32),
        landmark_faces=None,
        landmark_barycentrics=None,
        masks=None,
        uv=None,
        uv_faces=None,
        expression_names=model.expression_names[:expressions],
    )


def restrict(model: FlameModel, vertices: Array) -> FlameModel:
    """The head with only `vertices` [K], followed by its joints, which may be traced: `flame.forward` gives
    the same places as on the full head. It has no faces, landmarks, masks or UVs."""
    regressor = jnp.asarray(model.joint_regressor)
    joints, count = len(regressor), len(vertices)

    def reduce(values: Array) -> Array:
        values = jnp.asarray(values)
        return jnp.concatenate(
            [values[vertices], jnp.einsum("jv,v...->j...", regressor, values, precision="highest")]
        )

    pose = jnp.concatenate([jnp.asarray(model.pose_basis)[vertices], jnp.zeros((joints, 3, 36))])
    return model.replace(
        template=reduce(model.template),
        shape_basis=reduce(model.shape_basis),
        expression_basis=reduce(model.expression_basis),
        pose_basis=pose,
        joint_regressor=jnp.eye(count + joints)[count:],
        skinning=jnp.concatenate([jnp.asarray(model.skinning)[vertices], jnp.eye(joints)]),
        faces=jnp.zeros((0, 3), jnp.int32),
        landmark_faces=None,
        landmark_barycentrics=None,
        contour_faces=None,
        contour_barycentrics=None,
        mediapipe_faces=None,
        mediapipe_barycentrics=None,
        mediapipe_indices=None,
        masks=None,
        uv=None,
        uv_faces=None,
    )


def _irises(model: FlameModel, regressor: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights [2, V] of the left and right iris centre, and what to add to their z, metres.

    The centre of the pupil's vertices where the model marks them, else a point before the eye's joint.
    """
    masks = model.masks or {}
    pupils = [
        np.asarray(masks.get("pupil", False)) & np.asarray(masks.get(f"{side}_eyeball", False))
        for side in ("left", "right")
    ]
    if all(pupil.any() for pupil in pupils):
        return np.stack([pupil / pupil.sum() for pupil in pupils]), 0.0
    return regressor[3:5], EYEBALL_RADIUS
