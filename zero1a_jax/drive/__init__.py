"""Motions from FLAME and VHAP .npz and Live Link Face .csv; single faces of trackers; filters, retargeting.

Unpickles nothing.
"""

from zero1a_jax.drive.arkit import arkit_from_deltas, arkit_map
from zero1a_jax.drive.filters import moving_average, resample
from zero1a_jax.drive.flame_npz import load_flame_npz, save_flame_npz
from zero1a_jax.drive.livelink import Recording, arkit_expression, livelink_motion, read_livelink
from zero1a_jax.drive.load import load_motion
from zero1a_jax.drive.retarget import retarget
from zero1a_jax.drive.trackers import load_tracker_npz

__all__ = [
    "Recording",
    "arkit_expression",
    "arkit_from_deltas",
    "arkit_map",
    "livelink_motion",
    "load_flame_npz",
    "load_motion",
    "load_tracker_npz",
    "moving_average",
    "read_livelink",
    "resample",
    "retarget",
    "save_flame_npz",
]
