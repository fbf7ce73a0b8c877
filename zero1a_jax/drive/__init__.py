"""What moves a head: ARKit's shapes on any head, recordings as motions, filters, retargeting."""

from zero1a_jax.drive import performance
from zero1a_jax.drive.arkit import arkit_from_deltas, arkit_map
from zero1a_jax.drive.filters import OneEuro, moving_average, one_euro, resample
from zero1a_jax.drive.live import LivePerformance
from zero1a_jax.drive.livelink import arkit_expression, livelink_motion
from zero1a_jax.drive.ranges import calibrated
from zero1a_jax.drive.regions import region_of_motion, region_of_recording
from zero1a_jax.drive.retarget import retarget

__all__ = [
    "LivePerformance",
    "OneEuro",
    "arkit_expression",
    "arkit_from_deltas",
    "arkit_map",
    "calibrated",
    "livelink_motion",
    "moving_average",
    "one_euro",
    "performance",
    "region_of_motion",
    "region_of_recording",
    "resample",
    "retarget",
]
