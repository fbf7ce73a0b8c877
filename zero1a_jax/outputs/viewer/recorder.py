"""Screenshots and recordings of a viewer, as downloads of the browser that asked for them."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zero1a_jax.image.colour import as_uint8
from zero1a_jax.outputs import png, video
from zero1a_jax.outputs.viewer.scene import View
from zero1a_jax.outputs.viewer.stage import Stage
from zero1a_jax.types import Camera, FlameParams

LONGEST = 120.0  # seconds of a recording, after which it ends by itself
_WAIT = 60.0  # seconds that a browser has to hand over its picture


class _Shown(NamedTuple):
    seconds: float
    params: FlameParams
    camera: Camera


class Recorder:
    """Keeps what was shown, poses and camera; `finish` renders it, so that recording slows nothing down."""

    def __init__(self, fps: float):
        """`fps` is the video's."""
        self._fps, self._shown, self._client, self._started = fps, [], None, 0.0
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float | None:
        """How long it has been recording; None where it is not."""
        return None if self._client is None else time.monotonic() - self._started

    def start(self, client: Any) -> None:
        """Begins anew, with the camera of `client`."""
        with self._lock:
            self._shown, self._client, self._started = [], client, time.monotonic()

    def add(self, stage: Stage, params: FlameParams) -> None:
        """What is shown from now on, if it records; called more often than that, it keeps two a frame."""
        with self._lock:
            if self._client is None:
                return
            now = time.monotonic() - self._started
            if self._shown and now - self._shown[-1].seconds < 0.5 / self._fps:
                return
            camera, _, _ = View(self._client.camera).square(stage.size, stage.target)
            self._shown.append(_Shown(now, params, camera))

    def finish(self, stage: Stage, say: Any) -> None:
        """Renders what was shown and sends it to the browser as a video; blocks. `say` gets progress.

        The frames are the rasterizer's, square, whatever the browser drew.
        """
        with self._lock:
            shown, client, length = self._shown, self._client, time.monotonic() - self._started
            self._shown, self._client = [], None
        if client is None or not shown:
            return
        moments = np.arange(max(1, round(min(length, LONGEST) * self._fps))) / self._fps
        index = np.searchsorted([entry.seconds for entry in shown], moments, side="right") - 1

        def frames() -> Any:
            last, image = -1, np.zeros(0)
            for number, k in enumerate(np.maximum(index, 0)):
                if k != last:
                    image, last = as_uint8(stage.picture(shown[k].params, shown[k].camera)[0]), k
                if number % 10 == 0:
                    say(f"rendering frame {number} of {len(index)}")
                yield image

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "avatar.mp4"
            video.write(path, frames(), self._fps, provenance=stage.provenance)
            client.send_file_download("avatar.mp4", path.read_bytes(), save_immediately=True)
        say(f"avatar.mp4: {len(index)} frames")


def photograph(stage: Stage, client: Any) -> None:
    """Sends a browser its own picture as a .png, as large as it shows it; blocks."""
    camera = client.camera
    image = client.get_render(camera.image_height, camera.image_width, transport_format="png", timeout=_WAIT)
    rgb, alpha = image[..., :3].astype(np.float32) / 255, image[..., 3:].astype(np.float32) / 255
    whole = as_uint8(rgb * alpha + np.asarray(stage.background, np.float32) * (1 - alpha))
    client.send_file_download("avatar.png", png.encode(whole, stage.provenance), save_immediately=True)
