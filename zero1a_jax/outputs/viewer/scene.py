"""What the browser draws of an avatar: Gaussians, the rasterizer's picture or depth, mesh, landmarks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from zero1a_jax.image.colour import as_uint8, from_sh
from zero1a_jax.outputs.viewer.server import Server
from zero1a_jax.outputs.viewer.stage import Stage
from zero1a_jax.types import Array, Camera, FlameParams, Gaussians

MODES = ("Gaussians", "rasterizer", "depth", "mesh")
PICTURES = ("rasterizer", "depth")  # drawn here and sent; the others are drawn by the browser
DEPTH = 0.15  # metres before and behind the point that the camera looks at, white and black of the depth
_UNIT = 0.01  # metres: viser sends covariances as float16, which has nothing below 6e-8
_LANDMARK = (230, 60, 60)


def covariances(gaussians: Gaussians) -> np.ndarray:
    """World covariances [N, 3, 3] in square metres."""
    rotation = _matrices(gaussians.quats)
    half = rotation * np.exp(np.asarray(gaussians.log_scales, np.float64))[:, None, :]
    return (half @ half.transpose(0, 2, 1)).astype(np.float32)


def _matrices(quats: Array) -> np.ndarray:
    """Rotations [*B, 3, 3] of quaternions [*B, 4], wxyz."""
    return Rotation.from_quat(np.asarray(quats, np.float64), scalar_first=True).as_matrix()


def splats(gaussians: Gaussians) -> dict[str, Any]:
    """What viser draws: centers [N, 3], covariances [N, 3, 3], rgbs [N, 3], opacities [N, 1]. SH degree 0."""
    return {
        "centers": np.asarray(gaussians.means, np.float32),
        "covariances": covariances(gaussians),
        "rgbs": np.clip(from_sh(np.asarray(gaussians.sh)[:, 0]), 0, 1).astype(np.float32),
        "opacities": (1 / (1 + np.exp(-np.asarray(gaussians.opacity_logits, np.float64))))[:, None].astype(
            np.float32
        ),
    }


class View:
    """A browser's camera: what of it decides a picture."""

    def __init__(self, camera: Any):
        """`camera` is a client's camera of viser."""
        self.rotation = _matrices(camera.wxyz)  # camera to world
        self.position = np.asarray(camera.position, np.float64)
        self.fov = float(camera.fov)  # radians, vertical
        self.aspect = camera.image_width / max(camera.image_height, 1)
        self.key = (*self.rotation.ravel(), *self.position, self.fov, self.aspect)

    def square(self, size: int, target: np.ndarray) -> tuple[Camera, int, int]:
        """The square part of the view, as high as the view, that is nearest to `target`.

        Returns its camera [1], its first column within the view, and how many columns the view has.
        """
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = self.rotation.T
        world_to_camera[:3, 3] = -self.rotation.T @ self.position
        width, focal = max(1, round(size * self.aspect)), 0.5 * size / math.tan(0.5 * self.fov)
        x, _, z = world_to_camera[:3, :3] @ np.asarray(target, np.float64) + world_to_camera[:3, 3]
        middle = 0.5 * width + (focal * x / z if z > 0.01 else 0.0)
        low, high = sorted((0, width - size))
        left = min(max(round(middle - 0.5 * size), low), high)
        camera = Camera(
            world_to_camera[None].astype(np.float32),
            np.full((1, 2), focal, np.float32),
            np.array([[0.5 * width - left, 0.5 * size]], np.float32),
            size,
            size,
        )
        return camera, left, width


def in_view(square: np.ndarray, left: int, width: int, background: np.ndarray) -> np.ndarray:
    """A picture [S, S, 3] at column `left` of a view [S, width, 3] that is `background` elsewhere."""
    size = len(square)
    whole = np.broadcast_to(np.asarray(background, np.float32), (size, width, 3)).copy()
    first, last = max(left, 0), min(left + size, width)
    whole[:, first:last] = square[:, first - left : last - left]
    return whole


def shaded(depth: np.ndarray, distance: float, background: np.ndarray) -> np.ndarray:
    """Depth [H, W] as grey [H, W, 3]: white DEPTH before `distance`, black behind it; 0 is background."""
    grey = np.clip((distance + DEPTH - depth) / (2 * DEPTH), 0, 1)[..., None]
    return np.where(depth[..., None] > 0, grey, np.asarray(background)).astype(np.float32)


class Scene:
    """The nodes of a viser server that show one avatar."""

    def __init__(self, server: Server):
        """An empty scene of `server`."""
        self._server = server
        self._nodes: dict[str, Any] = {}
        self._pictured: dict[int, Any] = {}  # what each client's picture shows

    def aim(self, target: np.ndarray, background: np.ndarray) -> None:
        """Places the camera of new clients before `target`, and colours what lies behind the head."""
        self._server.scene.set_up_direction("+y")
        self._server.initial_camera.position = tuple(target + [0.0, 0.0, 1.0])
        self._server.initial_camera.look_at = tuple(target)
        self._server.initial_camera.fov = math.radians(22)
        self._behind = as_uint8(np.broadcast_to(np.asarray(background, np.float32), (2, 2, 3)))
        self._server.scene.set_background_image(self._behind, format="png")

    def draw(self, stage: Stage, params: FlameParams, *, mode: str, landmarks: bool, moved: bool) -> int:
        """Shows the avatar with `params`; returns how often it sent something.

        Args:
          stage, params: the avatar and its pose.
          mode: one of MODES. landmarks: draw the landmarks over it.
          moved: whether anything but the browsers' cameras changed since the last call.
        """
        if mode in PICTURES:
            drawn = self._pictures(stage, params, mode, moved)
        else:
            drawn = self._unpicture()
        if not moved:
            return drawn
        with self._server.atomic():
            if mode == "Gaussians":
                self._gaussians(stage.gaussians(params))
            if mode == "mesh":
                self._mesh(stage, params)
            points = stage.landmarks(params) if landmarks else np.zeros((0, 3))
            if len(points):
                self._landmarks(points)
            shown = {"gaussians": mode == "Gaussians", "mesh": mode == "mesh", "landmarks": len(points) > 0}
            for name, node in self._nodes.items():
                if node.visible != shown[name]:
                    node.visible = shown[name]
        self._server.flush()
        return drawn + 1

    def _gaussians(self, gaussians: Gaussians) -> None:
        sent = splats(gaussians)
        sent["centers"] = sent["centers"] / _UNIT
        sent["covariances"] = sent["covariances"] / _UNIT**2
        if "gaussians" in self._nodes:  # a new node would be empty until the browser has sorted it
            self._nodes["gaussians"].set_gaussians(**sent)
            return
        self._nodes["gaussians"] = self._server.scene.add_gaussian_splats("/gaussians", **sent, scale=_UNIT)

    def _mesh(self, stage: Stage, params: FlameParams) -> None:
        vertices = np.asarray(stage.vertices(params), np.float32)
        if "mesh" in self._nodes and len(self._nodes["mesh"].vertices) == len(vertices):
            self._nodes["mesh"].vertices = vertices
            return
        self._nodes["mesh"] = self._server.scene.add_mesh_simple(
            "/mesh", vertices, np.asarray(stage.faces), color=(190, 190, 200), side="double"
        )

    def _landmarks(self, points: np.ndarray) -> None:
        points = np.asarray(points, np.float32)
        if "landmarks" in self._nodes:
            self._nodes["landmarks"].points = points
            return
        self._nodes["landmarks"] = self._server.scene.add_point_cloud(
            "/landmarks",
            points,
            _LANDMARK,
            point_size=0.0015,
            point_shape="circle",
            precision="float32",
            point_shading="flat",
        )

    def _pictures(self, stage: Stage, params: FlameParams, mode: str, moved: bool) -> int:
        """Sends each browser the picture of its own camera, where it changed; returns how many."""
        drawn = 0
        clients = self._server.get_clients()
        for number, client in clients.items():
            view = View(client.camera)
            if not moved and self._pictured.get(number) == view.key:
                continue
            camera, left, width = view.square(stage.size, stage.target)
            rgb, depth = stage.picture(params, camera)
            if mode == "depth":
                distance = float(np.linalg.norm(view.position - stage.target))
                rgb = shaded(depth, distance, stage.background)
            whole = in_view(rgb, left, width, stage.background)
            client.scene.set_background_image(as_uint8(whole), format="jpeg", jpeg_quality=92)
            client.flush()
            self._pictured[number] = view.key
            drawn += 1
        self._pictured = {k: v for k, v in self._pictured.items() if k in clients}
        return drawn

    def _unpicture(self) -> int:
        for number, client in self._server.get_clients().items():
            if number in self._pictured:
                client.scene.set_background_image(self._behind, format="png")
        count, self._pictured = len(self._pictured), {}
        return count
