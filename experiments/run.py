"""One portrait to an animatable avatar.

  python -m experiments.run --flagfile=experiments/flagfiles/quickstart.flags --image=FILE --workdir=FOLDER

The same command again resumes the run. What decides bits on a CPU is set here, before jax is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

from experiments import checks, memory
from experiments import flags as flags_module
from experiments.config import Config


def parse(arguments: Sequence[str]) -> list[str]:
    """Parses the command line; a wrong flag becomes one sentence. Exits with 2 where it cannot."""
    flags_module.define()
    app.define_help_flags()
    try:
        rest = flags.FLAGS(list(arguments))
    except flags.Error as error:
        fail([str(error)])
    if len(rest) > 1:
        fail([f"Stray argument {argument!r}: all options are flags, --name=value." for argument in rest[1:]])
    return rest


def fail(sentences: Sequence[str]) -> None:
    """Prints each reason on its own line and exits with 2."""
    for sentence in sentences:
        print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def set_environment(config: Config) -> None:
    """Fixes what decides the bits of a run. Raises RuntimeError where jax is already imported.

    XLA splits work on a CPU by the number of threads, so NPROC is set; the threefry variant changes
    draws. The compilation cache changes nothing but the start.
    """
    if "jax" in sys.modules:
        raise RuntimeError("set_environment must run before jax is imported")
    os.environ["NPROC"] = str(config.runner.cpu_threads)
    os.environ["JAX_THREEFRY_PARTITIONABLE"] = "true"
    os.environ["JAX_ENABLE_X64"] = "false"
    xla = os.environ.get("XLA_FLAGS", "").split()
    if config.runner.host_devices:
        xla = [flag for flag in xla if "host_platform_device_count" not in flag]
        xla.append(f"--xla_force_host_platform_device_count={config.runner.host_devices}")
    if config.runner.deterministic:
        xla += ["--xla_gpu_deterministic_ops=true", "--xla_gpu_autotune_level=0"]
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys(xla))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zero1a_jax" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def main(_: Sequence[str]) -> int:
    """Checks everything, then imports jax and runs. Returns the exit code."""
    config = flags_module.to_config()
    found = checks.problems(config)
    if found:
        fail(found)
    set_environment(config)
    memory.reuse_freed_memory()
    logging.set_verbosity(logging.WARNING)  # absl lets jax's own news through
    from experiments import pipeline  # imports jax

    return pipeline.run(config)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
