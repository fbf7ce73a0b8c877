"""The viewer's loop: it reads the controls, plays what is chosen, and draws what changed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.outputs.viewer import recorder, server
from zero1a_jax.outputs.viewer.panel import LIVE, SLIDERS, Panel
from zero1a_jax.outputs.viewer.scene import PICTURES, Scene
from zero1a_jax.outputs.viewer.server import Server
from zero1a_jax.outputs.viewer.stage import Clip, Stage
from zero1a_jax.types import FlameParams

_COMPILING = "compiling the rasterizer"
_EAGER = 0.004  # seconds between two looks at a live source


class Live(Protocol):
    """Something that drives the head while it happens: a camera, a video."""

    def newest(self) -> tuple[FlameParams, float] | None:
        """The newest pose, and when its frame was captured by time.monotonic; None before the first."""
        ...

    def shown(self, captured: float) -> None:
        """The pose of the frame that was captured then is on its way to the browser."""
        ...

    def calibrate(self) -> None:
        """What is seen next is at rest."""
        ...

    def status(self) -> str:
        """One line for the person who looks."""
        ...


class Followed(Protocol):
    """Something that changes while it is shown, such as a run."""

    def build(self, server: Server) -> None:
        """Adds its own controls."""
        ...

    def newer(self) -> Stage | None:
        """Brings its controls up to date; the newer avatar, or None where it has not changed."""
        ...


def serve(
    stage: Stage,
    clips: Mapping[str, Clip] | None = None,
    *,
    fps: float = 25.0,
    port: int = 8080,
    names: Sequence[str] = (),
    live: Live | None = None,
    followed: Followed | None = None,
    stop: threading.Event | None = None,
    said: Callable[[str], None] = lambda line: print(line, flush=True),
) -> None:
    """Serves the viewer on 127.0.0.1 until Ctrl-C, or until `stop` is set.

    Args:
      stage: the avatar.
      clips: motions by name.
      fps: how often a second the controls are read, and frames a second of recordings.
      port, names: see `server.start`.
      live: what drives the head, where something does.
      followed: what changes the avatar while it is shown.
      stop: ends the serving when set, for callers that serve from a thread.
      said: gets the line that says the address.

    Raises:
      Refused: viser is not installed; the message says how.
    """
    running, stop = server.start(port, names=names), stop or threading.Event()
    try:
        said(f"open http://{server.HOST}:{running.get_port()} (Ctrl-C ends)")
        _Loop(running, stage, dict(clips or {}), fps=fps, live=live, followed=followed).run(stop)
    except KeyboardInterrupt:
        said("the viewer ended")
    finally:
        running.stop()


class Wanted(NamedTuple):
    """What is to be seen."""

    key: Any  # differs where the pose does
    params: FlameParams
    captured: float | None = None  # when a live source saw it, by time.monotonic


class _Player:
    """Which pose is to be seen now: the sliders', a motion's, or a live source's."""

    def __init__(self, panel: Panel, clips: dict[str, Clip], live: Live | None):
        self._panel, self._clips, self._live = panel, clips, live
        self._started: Any = None  # the motion that plays, when it began and at which frame
        self._held: Wanted | None = None  # of the live source

    def wanted(self, stage: Stage) -> Wanted | None:
        """None while a live source has seen nothing."""
        source = self._panel.source.value
        if source in self._clips:
            return self._played(source, self._clips[source])
        self._started = None
        if source == LIVE and self._live is not None:
            return self._lived(self._live)
        weights = self._panel.weights()
        return Wanted((SLIDERS, *sorted(weights.items())), stage.params(weights))

    def _played(self, source: str, clip: Clip) -> Wanted:
        frame, count, now = int(self._panel.frame.value), len(np.asarray(clip.flame.jaw)), time.monotonic()
        if not self._panel.play.value:
            self._started = None
        elif self._started is None or self._started[0] != source:
            self._started = (source, now, frame)
        else:
            _, began, first = self._started
            frame = (first + int((now - began) * clip.fps)) % count
            if frame != self._panel.frame.value:
                self._panel.frame.value = frame
        frame = min(frame, count - 1)
        return Wanted((source, frame), jax.tree.map(lambda values: np.asarray(values)[frame], clip.flame))

    def _lived(self, live: Live) -> Wanted | None:
        newest = live.newest() if self._panel.play.value or self._held is None else None
        if newest is not None:
            self._held = Wanted((LIVE, newest[1]), newest[0], newest[1])
        return self._held


class _Loop:
    """One loop draws, so that slow poses drop slider positions instead of queueing them."""

    def __init__(
        self,
        running: Server,
        stage: Stage,
        clips: dict[str, Clip],
        *,
        fps: float,
        live: Live | None,
        followed: Followed | None,
    ):
        self._stage, self._live, self._followed = stage, live, followed
        self._fps, self._recorder = fps, recorder.Recorder(fps)
        self._pictured = False  # whether the rasterizer drew already
        self._worker = ThreadPoolExecutor(1)  # downloads, one after the other
        self._scene = Scene(running)
        self._scene.aim(np.asarray(stage.target), np.asarray(stage.background))
        tabs = running.gui.add_tab_group() if followed is not None else None
        with tabs.add_tab("avatar") if tabs is not None else contextlib.nullcontext():
            self._panel = panel = Panel(running, stage, clips, live=live is not None)
        self._player = _Player(panel, clips, live)
        if followed is not None and tabs is not None:
            with tabs.add_tab("run"):
                followed.build(running)
        if live is not None and panel.rest is not None:
            panel.rest.on_click(lambda _: live.calibrate())
        panel.photo.on_click(lambda event: self._do(recorder.photograph, self._stage, event.client))
        panel.record.on_click(lambda event: self._record(event.client))

    def run(self, stop: threading.Event) -> None:
        """Until `stop`."""
        shown: Any = None
        with self._worker:
            while not stop.wait(_EAGER if self._panel.source.value == LIVE else 1 / self._fps):
                newer = self._followed.newer() if self._followed is not None else None
                if newer is not None:
                    self._stage, shown = newer, None
                wanted = self._player.wanted(self._stage)
                if wanted is not None:
                    shown = self._show(wanted, shown)
                self._tell()

    def _show(self, wanted: Wanted, shown: Any) -> Any:
        """Draws where that differs from what is `shown`; returns what is shown now."""
        panel = self._panel
        if panel.mode.value in PICTURES and not self._pictured:
            self._pictured = True
            self._say(_COMPILING)
        look = (panel.mode.value, panel.landmarks.value, wanted.key)
        self._recorder.add(self._stage, wanted.params)
        self._scene.draw(self._stage, wanted.params, mode=look[0], landmarks=look[1], moved=look != shown)
        if wanted.captured is not None and look != shown and self._live is not None:
            self._live.shown(wanted.captured)
        if panel.mode.value in PICTURES and panel.status.content == _COMPILING:
            self._say("")
        return look

    def _record(self, client: Any) -> None:
        if self._recorder.seconds is None:
            self._recorder.start(client)
            self._panel.record.label = "stop recording"
            return
        self._panel.record.label = "record"
        self._do(self._recorder.finish, self._stage, self._say)

    def _do(self, work: Any, *arguments: Any) -> None:
        def safely() -> None:
            try:
                work(*arguments)
            except (Refused, OSError, RuntimeError, TimeoutError) as error:
                self._say(f"that failed: {error}")

        self._worker.submit(safely)

    def _say(self, text: str) -> None:
        self._panel.status.content = text

    def _tell(self) -> None:
        seconds = self._recorder.seconds
        if seconds is not None:
            if seconds > recorder.LONGEST:
                self._record(None)
                return
            self._say(f"recording: {seconds:.0f} s")
        elif self._live is not None and self._panel.source.value == LIVE:
            text = self._live.status()
            if text != self._panel.status.content:
                self._say(text)
