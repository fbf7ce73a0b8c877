"""One portrait to an animatable avatar.

  python -m experiments.run --flagfile=quickstart.flags --image=FILE --workdir=FOLDER

The same command again resumes the run. What decides bits on a CPU is set here, before jax is imported. A
mark says where a default comes from: [P] the paper, [S] second-hand summaries of it, [C] the code of a system
that it builds on, [D] our own decision; docs/method.md says more.
"""

from __future__ import annotations

from zero1a_jax.commandline import command, environment
from zero1a_jax.config import Config
from zero1a_jax.training import checks


def main(config: Config) -> int:
    """Imports jax and runs. Returns the exit code."""
    environment.fix(
        host_devices=config.runner.host_devices or usual_devices(config),
        deterministic=config.runner.sums != "fast",
    )
    from zero1a_jax.training import run  # imports jax

    return run.run(config)


def usual_devices(config: Config) -> int:
    """XLA devices of a CPU where --host_devices does not say: the cores that a step or an update can use."""
    if config.runner.dry_device:  # predicted for one device
        return 1
    return min(environment.cores(), max(config.update.batch, config.refresh.samples_per_update))


if __name__ == "__main__":
    command.run(Config, main, __doc__, problems=checks.problems)
