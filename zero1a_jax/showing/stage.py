"""An avatar as the callables that the viewer shows it with."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax import rasterizer
from zero1a_jax.avatar import pose_blurred
from zero1a_jax.flame import forward, frame_target, landmarks_drawn, with_arkit, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.outputs import viewer
from zero1a_jax.provenance import of_avatar
from zero1a_jax.showing import poses
from zero1a_jax.sources import avatars
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Array, Avatar, Camera, FlameModel, FlameParams, Gaussians

SIZE = 384  # pixels a side of the rasterizer's pictures in the viewer
TURNS = ("headYaw", "headPitch", "headRoll", "eyeYaw", "eyePitch", "jawPitch")  # degrees, as Live Link's
NUMBERED = 10  # sliders of a head whose expressions have no names

_pose = jax.jit(pose_blurred)


def names_of(loaded: Loaded) -> tuple[str, ...]:
    """The sliders' names: ARKit's shapes, or "expression 0" and so on where these are not known; TURNS."""
    known = poses.names_of(loaded.model, loaded.arkit)
    if not known:
        count = min(NUMBERED, np.shape(loaded.model.expression_basis)[2])
        known = tuple(f"expression {number}" for number in range(count))
    return (*known, *TURNS)


def parameters(loaded: Loaded, weights: Mapping[str, float]) -> FlameParams:
    """What weights of ARKit's shapes and TURNS in degrees, by name, ask of the head; no leading axes.

    The head turns at its neck, Ry(yaw) Rx(pitch) Rz(roll) as Live Link's, and the eyes beyond what the
    shapes ask of them.
    """
    model, arkit = loaded.model, loaded.arkit
    params, named = zero_params(model), poses.names_of(model, arkit)
    shapes = np.array([weights.get(name, 0.0) for name in named], np.float32)
    if arkit is not None:
        params = with_arkit(params, arkit, jnp.asarray(shapes))
    elif named:
        params = params.replace(expression=shapes)
    else:
        numbered = np.zeros(np.shape(model.expression_basis)[2], np.float32)
        count = min(NUMBERED, len(numbered))
        numbered[:count] = [weights.get(f"expression {number}", 0.0) for number in range(count)]
        params = params.replace(expression=numbered)
    angles = {name: weights.get(name, 0.0) for name in TURNS}
    turned = Rotation.from_euler(
        "YXZ",
        [
            [angles["headYaw"], angles["headPitch"], angles["headRoll"]],
            [angles["eyeYaw"], angles["eyePitch"], 0.0],
            [0.0, angles["jawPitch"], 0.0],
        ],
        degrees=True,
    )
    neck, eyes, jaw = turned.as_rotvec().astype(np.float32)
    return params.replace(neck=neck, jaw=np.asarray(params.jaw) + jaw, eyes=np.asarray(params.eyes) + eyes)


def stage(loaded: Loaded, *, size: int = SIZE, background: Array | None = None) -> viewer.Stage:
    """What `outputs.viewer` shows of an avatar; its background where none is given is the run's."""
    avatar, model, blur = loaded.avatar, loaded.model, avatars.blur_for(loaded, size)
    alive = np.asarray(avatar.alive, bool)
    target = frame_target(model, avatar.shape)
    behind = loaded.meta.get("background") if background is None else background
    behind = np.ones(3, np.float32) if behind is None else np.asarray(behind, np.float32)

    def gaussians(params: FlameParams) -> Gaussians:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[alive], _pose(avatar, model, params, blur))

    def shaped(params: FlameParams) -> FlameParams:
        return params.replace(shape=jnp.asarray(avatar.shape))

    return viewer.Stage(
        names=names_of(loaded),
        params=lambda weights: parameters(loaded, weights),
        gaussians=gaussians,
        vertices=lambda params: np.asarray(_vertices(model, shaped(params))),
        faces=np.asarray(model.faces),
        landmarks=lambda params: _landmarks(model, shaped(params)),
        picture=_Pictures(loaded, size, behind),
        size=size,
        target=np.asarray(target, np.float64),
        background=behind,
        provenance=of_avatar(loaded.meta),
    )


class _Pictures:
    """The rasterizer's pictures of an avatar, in a raster that grows where one does not fit."""

    def __init__(self, loaded: Loaded, size: int, background: np.ndarray):
        self._avatar, self._model, self._background = loaded.avatar, loaded.model, background
        self._size, self._capacity, self._blur = size, 0, avatars.blur_for(loaded, size)

    def __call__(self, params: FlameParams, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """rgb [S, S, 3] in 0..1 and expected depth [S, S], metres, 0 where nothing is; `camera` is [1]."""
        if not self._capacity:
            target = frame_target(self._model, self._avatar.shape)
            front = portrait_camera(target, np.zeros(1), np.zeros(1), self._size)
            posed = _pose(self._avatar, self._model, params, self._blur)
            self._capacity = rasterizer.suggest_capacity(posed, front, antialiased=True, margin=1.5)

        def attempt(room: int) -> tuple[tuple[Array, Array], Array]:
            rgb, depth, overflow = _picture(
                self._avatar,
                self._model,
                params,
                camera,
                jnp.asarray(self._background),
                self._blur,
                capacity=room,
            )
            return (rgb, depth), overflow

        (rgb, depth), self._capacity = rasterizer.until_fits(attempt, self._capacity)
        return np.asarray(rgb), np.asarray(depth)


@functools.partial(jax.jit, static_argnames=("capacity",))
def _picture(
    avatar: Avatar,
    model: FlameModel,
    params: FlameParams,
    camera: Camera,
    background: jax.Array,
    blur: float,
    *,
    capacity: int,
) -> tuple[Array, Array, Array]:
    gaussians = pose_blurred(avatar, model, params, blur)
    image = rasterizer.render(gaussians, camera, background=background, capacity=capacity, antialiased=True)
    depth = jnp.where(image.alpha > 0.5, rasterizer.expected_depth(image), 0.0)
    return jnp.clip(image.rgb[0], 0, 1), depth[0], image.overflow.max()


@jax.jit
def _vertices(model: FlameModel, params: FlameParams) -> Array:
    return forward(model, params)[0]


@jax.jit
def _drawn(model: FlameModel, params: FlameParams) -> Array:
    return landmarks_drawn(model, forward(model, params)[0], params)


def _landmarks(model: FlameModel, params: FlameParams) -> np.ndarray:
    """The points of the landmark image [119, 3]; none on a head whose landmarks are not known."""
    if model.landmark_faces is None or model.mediapipe_faces is None:
        return np.zeros((0, 3), np.float32)
    return np.asarray(_drawn(model, params))
