"""The viewer's controls: what is shown, what moves the head, sliders with ARKit's names."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zero1a_jax.outputs.viewer.scene import MODES
from zero1a_jax.outputs.viewer.server import Server
from zero1a_jax.outputs.viewer.stage import Clip, Stage

# Turns in degrees; names and signs are Live Link's, and jawPitch, above 0, opens the jaw. As avatar.html's.
TURNS: dict[str, tuple[float, float]] = {
    "headYaw": (-60, 60),
    "headPitch": (-35, 35),
    "headRoll": (-30, 30),
    "eyeYaw": (-30, 30),
    "eyePitch": (-25, 25),
    "jawPitch": (0, 22),
}
GROUPS = (
    ("jaw and mouth", r"jaw|mouth|tongue"),
    ("eyes", r"eye(Blink|Squint|Wide)"),
    ("brows", r"brow"),
    ("cheeks and nose", r"cheek|nose"),
    ("head, neck and gaze", r"head|eye"),
    ("expressions", r""),
)
SLIDERS, LIVE = "sliders", "live"


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """The names by the groups that have any, in the groups' order."""
    found: dict[str, list[str]] = {group: [] for group, _ in GROUPS}
    for name in names:
        found[next(group for group, pattern in GROUPS if re.match(pattern, name))].append(name)
    return {group: members for group, members in found.items() if members}


def partner(name: str) -> str | None:
    """The shape on the other side of the face that goes with this one, or None."""
    if re.fullmatch(r"(jaw|mouth)(Left|Right)", name):  # these are contraries
        return None
    other = re.sub(r"(Left|Right)$", lambda m: {"Left": "Right", "Right": "Left"}[m[0]], name)
    return None if other == name else re.sub("Look(In|Out)", _crossed, other)


def _crossed(match: re.Match[str]) -> str:
    return "LookOut" if match[1] == "In" else "LookIn"


class Panel:
    """The controls of a viser server. Browsers change them in threads of their own; `values` reads them."""

    def __init__(self, server: Server, stage: Stage, clips: Mapping[str, Clip], *, live: bool = False):
        """Builds the controls; a live source or else the first motion plays at once."""
        gui = server.gui
        self.reset_asked = threading.Event()
        with gui.add_folder("show"):
            self.mode = gui.add_dropdown("draw", MODES)
            self.landmarks = gui.add_checkbox("landmarks", False)
            self.photo = gui.add_button("screenshot")
            self.record = gui.add_button("record")
            self.status = gui.add_markdown("")
        sources = [SLIDERS, *clips, *([LIVE] if live else [])]
        first = LIVE if live else next(iter(clips), SLIDERS)
        with gui.add_folder("motion"):
            self.source = gui.add_dropdown("driven by", sources, initial_value=first)
            self.play = gui.add_checkbox("play", first != SLIDERS)
            self.rest = gui.add_button("this face is at rest") if live else None
            self.frame = gui.add_slider("frame", 0, max(1, self._last(clips, first)), 1, 0)
        self._clips, self._sliders = clips, {}
        self.both = gui.add_checkbox("both sides", True, hint="left and right shapes go together")
        reset = gui.add_button("neutral")
        for group, names in grouped(stage.names).items():
            with gui.add_folder(group, expand_by_default=group == GROUPS[0][0]):
                for name in names:
                    self._add_slider(gui, name)
        reset.on_click(lambda _: self._reset())
        self.source.on_update(lambda event: self._chosen(event))
        self.frame.on_update(lambda event: self._scrubbed(event))

    def weights(self) -> dict[str, float]:
        """The sliders' values by name, those at 0 left out."""
        return {name: float(slider.value) for name, slider in self._sliders.items() if slider.value}

    def _add_slider(self, gui: Any, name: str) -> None:
        low, high = TURNS.get(name, (0.0, 1.0) if _is_arkit(name) else (-3.0, 3.0))
        slider = gui.add_slider(name, float(low), float(high), 0.5 if name in TURNS else 0.01, 0.0)
        slider.on_update(lambda event: self._moved(event, name))
        self._sliders[name] = slider

    def _moved(self, event: Any, name: str) -> None:
        if event.client is None:  # we did it
            return
        if self.source.value != SLIDERS:
            self.source.value = SLIDERS
        other = self._sliders.get(partner(name) or "")
        if other is not None and self.both.value and other.value != event.target.value:
            other.value = event.target.value

    def _reset(self) -> None:
        for slider in self._sliders.values():
            if slider.value:
                slider.value = 0.0
        self.source.value = SLIDERS

    def _chosen(self, event: Any) -> None:
        chosen = self.source.value
        self.frame.max = max(1, self._last(self._clips, chosen))
        self.frame.disabled = chosen not in self._clips
        if event.client is not None:
            self.frame.value = 0
            self.play.value = chosen != SLIDERS

    def _scrubbed(self, event: Any) -> None:
        if event.client is not None and self.play.value and self.source.value in self._clips:
            self.play.value = False

    @staticmethod
    def _last(clips: Mapping[str, Clip], name: str) -> int:
        return len(np.asarray(clips[name].flame.jaw)) - 1 if name in clips else 0


def _is_arkit(name: str) -> bool:
    return not name.startswith("expression ")
