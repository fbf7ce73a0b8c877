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
    at_once = max(config.update.batch, config.refresh.samples_per_update)
    environment.fix(
        host_devices=config.runner.host_devices or min(environment.cores(), at_once),
        deterministic=config.runner.sums != "fast",
    )
    from zero1a_jax.training import run  # imports jax

    return run.run(config)


if __name__ == "__main__":
    command.run(Config, main, __doc__, problems=checks.problems)
