"""What a pod would take, reckoned from one device's times: nothing here was measured on a pod.

A run of S steps of B pairs, with U dataset updates of R samples, on D devices takes

  fixed + S (pair ceil(B / D) + rest + exchange of gradients) + U (sample ceil(R / D) + exchange of frames)

where `pair`, `rest` and `sample` are one device's seconds for a pair with its gradient, for what every device
does of a step whatever D is (adding the gradients, the optimizer), and for a sample of the dataset.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Device:
    """One device's seconds, and what a run takes once."""

    pair: float
    rest: float
    sample: float
    fixed: float  # preparing the portrait, start and first fill, results


@dataclasses.dataclass(frozen=True)
class Work:
    """What a run has to do. Bytes are those of one pair's gradients and of one sample's frames."""

    steps: int
    batch: int
    update_every: int
    samples: int
    pair_bytes: float
    sample_bytes: float

    def filling(self, batch: int, samples: int) -> Work:
        """As many pairs and samples in all, more of them at once (pod.flags)."""
        steps = max(round(self.steps * self.batch / batch), 1)
        updates = max(round((self.steps - 1) // self.update_every * self.samples / samples), 1)
        often = max((steps - 1) // updates, 1)
        return dataclasses.replace(self, steps=steps, batch=batch, samples=samples, update_every=often)


@dataclasses.dataclass(frozen=True)
class Link:
    """What joins devices: bytes a second into each, and seconds of an exchange of nothing."""

    bandwidth: float
    latency: float


def fitted(rows: Sequence[tuple[int, float]], batch: int) -> tuple[float, float]:
    """Seconds `pair` and `rest` from the CPU time of a step at several numbers of devices.

    Devices of one machine do ceil(B / D) D pairs, since the last round is padded, and D times the rest.

    Args:
      rows: devices, and seconds of CPU time a step; with one row, `rest` is taken as 0.
      batch: pairs of a step.
    """
    work = np.array([[-(-batch // devices) * devices, devices] for devices, _ in rows], float)
    seconds = np.array([row[1] for row in rows])
    if len(rows) == 1:
        return float(seconds[0] / work[0, 0]), 0.0
    pair, rest = np.linalg.lstsq(work, seconds, rcond=None)[0]
    return float(pair), max(float(rest), 0.0)


def seconds(devices: int, device: Device, work: Work, link: Link) -> dict[str, float]:
    """One avatar's seconds on `devices` devices: in all, and of them what goes into what."""
    others = devices - 1
    step_bytes = others * -(-work.batch // devices) * work.pair_bytes
    refresh_bytes = others * -(-work.samples // devices) * work.sample_bytes
    updates = (work.steps - 1) // work.update_every
    latency = link.latency * math.ceil(math.log2(devices)) if others else 0.0
    parts = {
        "fixed": device.fixed,
        "steps": work.steps * (device.pair * -(-work.batch // devices) + device.rest),
        "refreshes": updates * device.sample * -(-work.samples // devices),
        "exchange": work.steps * (step_bytes / link.bandwidth + latency)
        + updates * (refresh_bytes / link.bandwidth + latency),
    }
    return parts | {"all": sum(parts.values())}


def avatars_an_hour(workers: int, portraits: int, each: float) -> float:
    """Avatars an hour of `workers` devices that share `portraits` whole, at `each` seconds an avatar."""
    return 3600.0 * portraits / (math.ceil(portraits / workers) * each)
