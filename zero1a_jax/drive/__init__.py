"""What moves a head: ARKit's shapes on any head, recordings as motions, filters, retargeting."""

from zero1a_jax.drive.arkit import arkit_from_deltas, arkit_map
from zero1a_jax.drive.filters import moving_average, resample
from zero1a_jax.drive.livelink import arkit_expression, livelink_motion
from zero1a_jax.drive.retarget import retarget

__all__ = [
    "arkit_expression",
    "arkit_from_deltas",
    "arkit_map",
    "livelink_motion",
    "moving_average",
    "resample",
    "retarget",
]
