"""A camera or a film that drives an avatar while it is watched. The newest frame wins: nothing queues up."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import numpy as np

from zero1a_jax.drive import LivePerformance
from zero1a_jax.errors import Refused
from zero1a_jax.preprocess import follow
from zero1a_jax.preprocess.detect_mediapipe import Look
from zero1a_jax.types import FlameParams

RECENT = 60  # poses over which latency and rate are taken
TURNS = ("headYaw", "headPitch", "headRoll")  # degrees, of showing.stage


class Driver:
    """What `outputs.viewer.serve` takes as `live`; a context, while which two threads work.

    One thread takes frames as they come and keeps the newest; the other looks for the face in it. Latency is
    from when a frame came to when the viewer has sent the pose to the browser, whose drawing is not in it.
    """

    def __init__(
        self,
        frames: Iterable[np.ndarray],
        opened: Callable[[], AbstractContextManager[Look]],
        params: Callable[[dict[str, float]], FlameParams],
    ):
        """Of frames rgb uint8 [H, W, 3] that come in real time.

        Args:
          frames: see `image.capture`.
          opened: opens the landmarker, see `preprocess.detect_mediapipe.landmarker_opener`.
          params: what weights by ARKit's names and turns in degrees ask of the head, see `stage.parameters`.
        """
        self._frames, self._opened, self._params = frames, opened, params
        self._performance = LivePerformance()
        self._newest_frame: tuple[float, np.ndarray] | None = None
        self._came, self._stop = threading.Condition(), threading.Event()
        self._pose: tuple[FlameParams, float] | None = None
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._shown: deque[float] = deque(maxlen=RECENT)
        self._faces, self._trouble = False, ""
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._capture, self._watch)]

    def __enter__(self) -> Driver:
        """Starts."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends both threads, after the frame that they are at."""
        self._stop.set()
        with self._came:
            self._came.notify_all()
        for thread in self._threads:
            thread.join(5.0)

    def newest(self) -> tuple[FlameParams, float] | None:
        """The newest pose, and when its frame came; None before the first."""
        return self._pose

    def shown(self, captured: float) -> None:
        """The pose of the frame that came at `captured` has been sent."""
        now = time.monotonic()
        self._latencies.append(now - captured)
        self._shown.append(now)

    def calibrate(self) -> None:
        """The face of the next second is at rest."""
        self._performance.calibrate()

    @property
    def latency(self) -> float | None:
        """The median of the last poses, seconds; None before the first."""
        recent = list(self._latencies)
        return statistics.median(recent) if recent else None

    def status(self) -> str:
        """Latency, rate, and what is wrong, in a line."""
        if self._trouble:
            return self._trouble
        latency, shown = self.latency, list(self._shown)
        if latency is None:
            return "waiting for a face"
        rate = (len(shown) - 1) / max(shown[-1] - shown[0], 1e-6)
        text = f"{1000 * latency:.0f} ms from capture to sending (median), {rate:.0f} poses a second"
        return text if self._faces else f"{text}; no face now"

    def _capture(self) -> None:
        try:
            for frame in self._frames:
                if self._stop.is_set():
                    return
                with self._came:
                    self._newest_frame = (time.monotonic(), frame)
                    self._came.notify()
        except (Refused, OSError) as error:
            self._trouble = str(error)

    def _arriving(self) -> Iterator[tuple[float, np.ndarray]]:
        """The newest frame, each time that one is asked for; those between are left out."""
        while True:
            with self._came:
                self._came.wait_for(lambda: self._newest_frame is not None or self._stop.is_set())
                frame, self._newest_frame = self._newest_frame, None
            if self._stop.is_set() or frame is None:
                return
            yield frame

    def _watch(self) -> None:
        try:
            with self._opened() as look:
                for seen in follow.follow(self._arriving(), look):
                    self._faces = seen.face is not None
                    if seen.face is None:  # the head stays as it was
                        continue
                    scores = seen.face.scores
                    weights, turn = self._performance(seen.seconds, scores, seen.face.rotation, seen.shot)
                    degrees = dict(zip(TURNS, np.degrees(turn).tolist(), strict=True))
                    self._pose = (self._params({**weights, **degrees}), seen.seconds)
        except (Refused, OSError) as error:
            self._trouble = str(error)
