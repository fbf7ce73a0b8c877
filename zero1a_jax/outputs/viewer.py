"""A live viewer in the browser, through viser (the extra `viewer`). It listens on this machine only."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.image.colour import from_sh
from zero1a_jax.types import FlameParams, Gaussians

_HOST = "127.0.0.1"  # viser's own default, 0.0.0.0, would offer the head to the whole network


def covariances(gaussians: Gaussians) -> np.ndarray:
    """World covariances [N, 3, 3] in square metres."""
    quats = np.asarray(gaussians.quats, np.float64)
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    rotation = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
            np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
            np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        axis=1,
    )
    half = rotation * np.exp(np.asarray(gaussians.log_scales, np.float64))[:, None, :]
    return (half @ half.transpose(0, 2, 1)).astype(np.float32)


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


def serve(
    pose: Callable[[FlameParams], Gaussians],
    params: FlameParams,
    *,
    expression_names: Sequence[str] = (),
    sequence: FlameParams | None = None,
    fps: float = 25.0,
    target: Sequence[float] = (0.0, 0.0, 0.0),
    port: int = 8080,
    stop: threading.Event | None = None,
) -> None:
    """Serves the viewer on 127.0.0.1 until Ctrl-C, or until `stop` is set.

    Args:
      pose: coefficients (no leading axes) to Gaussians in world space, e.g. a jitted `avatar.pose`.
      params: the starting coefficients, no leading axes.
      expression_names: names of the expression sliders; without them the first ten are numbered.
      sequence: coefficients [T] that the Play box plays, or None.
      fps: frames a second of `sequence`.
      target: the point that the camera looks at, metres.
      port: where the page is served.
      stop: ends the serving when set, for callers that serve from a thread.

    Raises:
      Refused: viser is not installed; the message says how.
    """
    try:
        import viser
    except ImportError as error:
        raise Refused(f"the viewer needs viser ({error}): pip install viser (the extra viewer)") from error
    server = viser.ViserServer(host=_HOST, port=port)
    print(f"open http://{_HOST}:{server.get_port()} (Ctrl-C ends)", flush=True)  # another, where one is taken
    server.scene.set_up_direction("+y")
    server.initial_camera.position = tuple(np.asarray(target, np.float64) + [0.0, 0.0, 0.8])
    server.initial_camera.look_at = tuple(np.asarray(target, np.float64))
    names = list(expression_names) or [f"expression {i}" for i in range(min(10, len(params.expression)))]
    with server.gui.add_folder("pose"):
        joints = {
            "jaw": server.gui.add_slider("jaw", -0.1, 0.5, 0.01, 0.0),
            "turn": server.gui.add_slider("turn", -0.8, 0.8, 0.01, 0.0),
            "nod": server.gui.add_slider("nod", -0.5, 0.5, 0.01, 0.0),
        }
    with server.gui.add_folder("expression"):
        shapes = [server.gui.add_slider(name, -1.0, 1.5, 0.05, 0.0) for name in names]
    play = server.gui.add_checkbox("play", sequence is not None, disabled=sequence is None)
    length = 0 if sequence is None else len(np.asarray(sequence.jaw))
    stop, begun, shown = stop or threading.Event(), time.monotonic(), None
    try:
        # One loop draws, so that slow poses drop slider positions instead of queueing them.
        while not stop.wait(1 / max(fps, 1.0)):
            if length and play.value:
                wanted: Any = int((time.monotonic() - begun) * fps) % length
            else:
                wanted = tuple(s.value for s in [*shapes, *joints.values()])
            if wanted == shown:
                continue
            if isinstance(wanted, int):
                now = jax.tree.map(lambda values, t=wanted: np.asarray(values)[t], sequence)
            else:
                now = from_sliders(
                    params, wanted[: len(shapes)], dict(zip(joints, wanted[len(shapes) :], strict=True))
                )
            server.scene.add_gaussian_splats("/head", **splats(pose(now)))
            shown = wanted
    except KeyboardInterrupt:
        print("the viewer ended")
    finally:
        server.stop()


def from_sliders(params: FlameParams, shapes: Sequence[float], joints: Mapping[str, float]) -> FlameParams:
    """`params` with the sliders' expression and joint angles (radians) added."""
    expression = np.array(params.expression, np.float32)
    expression[: len(shapes)] += np.asarray(shapes, np.float32)
    return dataclasses.replace(
        params,
        expression=expression,
        jaw=np.asarray(params.jaw, np.float32) + np.array([joints["jaw"], 0, 0], np.float32),
        neck=np.asarray(params.neck, np.float32) + np.array([joints["nod"], joints["turn"], 0], np.float32),
    )
