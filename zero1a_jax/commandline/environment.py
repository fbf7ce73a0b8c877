"""What decides the bits of a run, set in the environment before jax is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# On a CPU: YNNPACK splits sums by the number of threads, Eigen may split products, and XLA compiles loops for
# as many threads as there are, which rounds otherwise where they are cut.
ONE_ORDER = (
    "--xla_cpu_experimental_ynn_fusion_type=-reduce",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_disable_hlo_passes=cpu-parallel-task-assigner",
)

# Threads of a process; XLA makes at least one a device. Some products split their sums by how many there are,
# whatever ONE_ORDER says: so there are always as many as for the most devices (--host_devices).
THREADS = 64


def forget_empty_home() -> None:
    """An empty HOME is taken as none: with it ~ would be the root of the file system."""
    if not os.environ.get("HOME"):
        os.environ.pop("HOME", None)


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its affinity and by its control group's share of time."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # versions 2 and 1
        try:
            text = " ".join((groups / file).read_text() for file in files)
        except OSError:
            continue
        quota, period = text.split()[:2]
        if quota.isdigit():  # else max or -1: no limit
            usable = min(usable, -(-int(quota) // int(period)))
    return max(usable, 1)


def fix(*, host_devices: int, deterministic: bool) -> None:
    """Fixes what decides the bits of a run. Raises RuntimeError where jax is already imported.

    On a CPU all threads work for each device, and what splits sums by their number changes bits: so it is
    fixed (NPROC), and what can be kept from splitting is (ONE_ORDER). The threefry variant changes draws. The
    compilation cache changes nothing but the start.

    Args:
      host_devices: XLA devices on a CPU.
      deterministic: on a GPU, deterministic kernels without autotuning.
    """
    if "jax" in sys.modules:
        raise RuntimeError("environment.fix must run before jax is imported")
    forget_empty_home()
    os.environ["NPROC"] = str(THREADS)
    os.environ["JAX_THREEFRY_PARTITIONABLE"] = "true"
    os.environ["JAX_ENABLE_X64"] = "false"
    xla = os.environ.get("XLA_FLAGS", "").split()
    xla = [flag for flag in xla if "host_platform_device_count" not in flag]
    xla += [f"--xla_force_host_platform_device_count={host_devices}", *ONE_ORDER]
    if deterministic:
        xla += ["--xla_gpu_deterministic_ops=true", "--xla_gpu_autotune_level=0"]
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys(xla))
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(caches):  # a ~ stays where there is no home: then nothing is kept
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(caches) / "zero1a_jax" / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
