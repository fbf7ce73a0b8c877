"""The choices of how an avatar takes over a motion; commands have them as flags."""

from __future__ import annotations

from dataclasses import dataclass

from zero1a_jax.config import option


@dataclass(frozen=True)
class Retargeting:
    """How a motion moves the avatar; see drive.regions, drive.ranges and drive.performance."""

    region: str = option(
        "all",
        "What moves: all, face (the avatar keeps its own head pose), head (nothing else), mouth (lips, jaw, "
        "puffed cheeks) or eyes (lids and gaze).",
        choices=("all", "face", "head", "mouth", "eyes"),
    )
    strength: float = option(1.0, "Factor of the expression, blinks and gaze aside.", low=0, high=3)
    head_turn: float = option(1.0, "Factor of the head's turn; 0 = the avatar's own pose.", low=0, high=3)
    blink: float = option(1.0, "Factor of the blinks; 0 = none.", low=0, high=3)
    gaze: float = option(1.0, "Factor of the gaze; 0 = straight ahead.", low=0, high=3)
    calibrate: str = option(
        "auto",
        "none: as recorded. rest: what a shape has while the face is at rest is taken off. range: that, and "
        "the extremes of the take become the avatar's. auto: a video's rest is taken off and its blinks "
        "close; files of trackers stay as recorded.",
        choices=("auto", "none", "rest", "range"),
    )
    neutral: float = option(
        -1.0,
        "Seconds at which the face in a video is at rest and looks ahead; below 0 = by the whole take.",
        low=-1,
    )


AS_RECORDED = Retargeting()
