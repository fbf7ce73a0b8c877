"""A run while it goes, for the viewer: the newest checkpoint's avatar, the curves, the dataset's samples.

Nothing is written and no lock is taken, so that the run does not notice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import symgen
from zero1a_jax.config import Config, colour, from_values
from zero1a_jax.errors import Refused
from zero1a_jax.outputs import curves, report, viewer
from zero1a_jax.showing import stage
from zero1a_jax.sources import arkit_table, heads
from zero1a_jax.sources.avatars import Loaded, padded
from zero1a_jax.training import checkpoint, logs, rounds
from zero1a_jax.types import Avatar, Gaussians

EVERY = 2.0  # seconds between two looks at the folder
ENLARGED = 2  # times the size that the samples' pictures have
CURVES = (("loss", "loss"), ("psnr", "PSNR of the batch, dB"))
_AVATAR = "state.avatar."
# Not viser's own charts: in a tab that is not open they have no width, and keep none.
_LOOK = (
    '<style>svg[viewBox="0 0 680 300"]{width:100%;height:auto}svg .grid{stroke:#ddd}'
    "svg text{font:16px sans-serif;fill:#666}</style>"
)


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, finished or not."""
    return (folder / "config.json").is_file()


def is_finished(folder: Path) -> bool:
    """Whether the run's results are there."""
    return (folder / "metrics.json").is_file()


class Run:
    """What `viewer.serve` follows; it also holds the avatar of the newest checkpoint."""

    def __init__(self, folder: Path, *, flame: str = "", arkit: str = "", size: int = stage.SIZE):
        """Reads the run's description.

        Args:
          folder: the run's. flame, arkit: where these lie here; empty takes the run's own paths.
          size: pixels a side of the viewer's pictures.

        Raises:
          Refused: config.json is damaged, or the head is not there.
        """
        try:
            values = json.loads((folder / "config.json").read_text("utf-8"))
            self._config: Config = from_values(
                {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            )
        except (ValueError, TypeError) as error:
            raise Refused(f"{folder / 'config.json'} is damaged: {error}") from error
        self._folder, self._size = folder, size
        self._model = heads.load(flame or self._config.input.flame)
        self._arkit = arkit_table.load(self._model, arkit or self._config.input.arkit)
        self._step, self._looked = -1, 0.0
        self._exported = is_finished(folder)  # then the avatar does not change any more
        self._samples: dict[int, list[rounds.Refreshed]] = {}
        self._updates: set[int] = set()
        self._controls: Any = None

    def newest(self) -> Loaded | None:
        """The avatar of the newest checkpoint, if it is newer than that of the last call."""
        folder = self._folder / "checkpoints"
        for step in reversed(checkpoint.steps(folder)):
            if step <= self._step:
                return None
            found = _tried(lambda step=step: checkpoint.load_arrays(folder / f"{step:08d}", under=_AVATAR))
            if found:  # else it is being replaced, or damaged: an older one will do
                self._step = step
                return self._loaded(found)
        return None

    def first(self, said: Callable[[str], None] = print) -> Loaded:
        """The avatar to begin with; waits for the run's first checkpoint."""
        loaded, told = self.newest(), False
        while loaded is None:
            if not told:
                said(f"waiting for the first checkpoint of {self._folder}")
                told = True
            time.sleep(0.5)
            loaded = self.newest()
        return loaded

    def build(self, server: viewer.Server) -> None:
        """Adds the curves and the samples."""
        self._controls = _Controls(server)
        self._controls.slot.on_update(lambda event: self._show_sample(event.client is not None))
        self._controls.update.on_update(lambda event: self._show_sample(False))
        self._look()

    def newer(self) -> viewer.Stage | None:
        """Looks at the folder, at most every two seconds; the newer avatar, or None."""
        if time.monotonic() - self._looked < EVERY:
            return None
        self._look()
        loaded = None if self._exported else self.newest()
        return None if loaded is None else stage.stage(loaded, size=self._size)

    def _loaded(self, arrays: dict[str, np.ndarray]) -> Loaded:
        own = {name.removeprefix(_AVATAR): np.asarray(value) for name, value in arrays.items()}
        gaussians = Gaussians(
            **{n.removeprefix("gaussians."): v for n, v in own.items() if n.startswith("gaussians.")}
        )
        avatar = Avatar(gaussians=gaussians, face_ids=own["face_ids"], alive=own["alive"], shape=own["shape"])
        meta = {
            "background": np.array(colour(self._config.input.background), np.float32),
            "seed": self._config.runner.seed,
        }
        return Loaded(padded(avatar), self._model, meta, self._arkit)

    def _look(self) -> None:
        """Brings the controls up to date."""
        self._looked = time.monotonic()
        history = _tried(lambda: logs.history(self._folder)) or []
        steps = self._config.update.steps
        reached = max((entry["step"] for entry in history), default=0)
        state = (
            "finished" if is_finished(self._folder) else f"the avatar of step {max(self._step, 0)} is shown"
        )
        self._controls.status.content = f"step {reached} of {steps}, {state}"
        self._controls.draw(history)
        new = [step for step in rounds.steps(self._folder) if step not in self._updates]
        for step in new:
            for sample in rounds.read(self._folder, step):
                self._samples.setdefault(sample.slot, []).append(sample)
            self._updates.add(step)
        if new:
            for samples in self._samples.values():
                samples.sort(key=lambda sample: sample.step)
            self._controls.offer(sorted(self._samples))
            self._show_sample(False)

    def _show_sample(self, chosen: bool) -> None:
        """The chosen sample at the chosen update; at its newest where another sample was chosen."""
        controls = self._controls
        history = self._samples.get(controls.number)
        if not history:
            return
        last = controls.update.value >= controls.update.max  # who looks at the newest stays there
        controls.update.max = max(1, len(history) - 1)
        if chosen or last:
            controls.update.value = len(history) - 1
        controls.show(history, min(int(controls.update.value), len(history) - 1))


class _Controls:
    """The controls of a run in the viewer."""

    def __init__(self, server: viewer.Server):
        gui = server.gui
        blank = np.full((8, 8, 3), 255, np.uint8)
        with gui.add_folder("run"):
            self.status = gui.add_markdown("")
            self._curves = {name: gui.add_html("") for name, _ in CURVES}
        with gui.add_folder("dataset"):
            self.slot = gui.add_dropdown("sample", ("none yet",))
            self.update = gui.add_slider("update", 0, 1, 1, 1)
            self._about = gui.add_markdown("")
            self._picture = gui.add_image(blank)

    @property
    def number(self) -> int:
        """The chosen sample's slot, or -1."""
        return int(self.slot.value) if self.slot.value.isdigit() else -1

    def draw(self, history: list[dict[str, Any]]) -> None:
        """Draws the curves."""
        steps = [entry["step"] for entry in history]
        for name, title in CURVES:
            line = (steps, [entry.get(name, np.nan) for entry in history])
            chart = _LOOK + curves.svg({title: line}, "step", log_y=name == "loss")
            if chart != self._curves[name].content:
                self._curves[name].content = chart

    def offer(self, slots: list[int]) -> None:
        """Lets one choose from these samples."""
        options = tuple(str(slot) for slot in slots)
        if tuple(self.slot.options) != options:
            kept = self.slot.value if self.slot.value in options else options[0]
            self.slot.options = options
            self.slot.value = kept

    def show(self, history: list[rounds.Refreshed], index: int) -> None:
        """One update of a sample: what was there, the avatar, what was generated, why it was rejected."""
        now, before = history[index], [entry for entry in history[:index] if not entry.reason]
        blank = np.full_like(now.made, 255)
        rows = [before[-1].made if before else blank, now.rendered, now.made]
        labels = ["before" if before else "before: nothing", "the avatar", "generated"]
        sheet = report.contact_sheet([np.concatenate(list(row), 1) for row in rows], 1, labels=labels)
        self._picture.image = sheet.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
        reason = f"rejected: {symgen.REASONS[now.reason]}" if now.reason else "accepted"
        self._about.content = f"update {index + 1} of {len(history)}, step {now.step}, {reason}"


def _tried(read: Callable[[], Any]) -> Any:
    """What `read` gives; None where the run replaced its files meanwhile."""
    try:
        return read()
    except (OSError, ValueError, KeyError):
        return None
