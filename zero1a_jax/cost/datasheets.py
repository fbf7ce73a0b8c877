"""What devices can do, from their data sheets."""

from __future__ import annotations

from typing import NamedTuple


class Speed(NamedTuple):
    """Of one device."""

    half: float  # FLOP/s of matrix products in bfloat16 or float16, dense
    single: float  # in float32; on NVIDIA GPUs in TF32, which jax uses there by default
    memory: float  # bytes, 0 where not known


# One for each of config.DATA_SHEETS.
TABLE = {
    "a6000": Speed(155e12, 77e12, 48e9),
    "rtx4090": Speed(165e12, 83e12, 24e9),
    "l40s": Speed(362e12, 183e12, 48e9),
    "a100": Speed(312e12, 156e12, 80e9),
    "h100": Speed(989e12, 495e12, 80e9),
    "h200": Speed(989e12, 495e12, 141e9),
    "b200": Speed(2250e12, 1125e12, 180e9),
    "tpu-v5e": Speed(197e12, 49e12, 16e9),
    "tpu-v5p": Speed(459e12, 115e12, 95e9),
}
# Of that peak, what the diffusion is assumed to reach; it has been measured on a CPU only.
FRACTION = 0.4
