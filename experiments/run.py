"""One portrait to an animatable avatar.

  python -m experiments.run --flagfile=quickstart.flags --image=FILE --workdir=FOLDER

The same command again resumes the run. Thousands of portraits, on as many workers as there are:

  python -m experiments.run --flagfile=FILE --portraits=LIST --shard=I/N --workdir=FOLDER

What decides bits on a CPU is set here, before jax is imported. A mark says where a default comes from: [P]
the paper, [S] second-hand summaries of it, [C] the code of a system that it builds on, [D] our own decision;
docs/method.md says more.
"""

from __future__ import annotations

from dataclasses import dataclass

from zero1a_jax.commandline import command, environment, many
from zero1a_jax.config import Config, option
from zero1a_jax.training import checks


@dataclass(frozen=True)
class Options:
    """One avatar, or those of many portraits."""

    run: Config = Config()
    portraits: str = option(
        "",
        "Many portraits: a folder of pictures or a list, a path a line; --workdir is then the folder of all.",
    )
    shard: str = option(
        "",
        "I/N: of the --portraits this worker makes every N-th, from I on; /N or nothing: the rest as SLURM "
        "arrays, indexed Jobs or MPI say.",
    )
    mode: str = option(
        "train", "train, or summary: a table of what there is of --portraits.", choices=("train", "summary")
    )


def main(options: Options) -> int:
    """Imports jax and runs. Returns the exit code."""
    config = options.run
    if options.portraits:
        return many.main(config, options.portraits, options.shard, options.mode)
    environment.fix(
        host_devices=config.runner.host_devices or usual_devices(config),
        deterministic=config.runner.sums != "fast",
    )
    from zero1a_jax.training import run  # imports jax

    return run.run(config)


def problems(options: Options) -> list[str]:
    """Every reason why this cannot start, one sentence each."""
    if options.portraits:
        return many.problems(options.run, options.portraits, options.shard)
    found = ["--shard and --mode=summary are for --portraits."] * bool(
        options.shard or options.mode == "summary"
    )
    return found + checks.problems(options.run)


def usual_devices(config: Config) -> int:
    """XLA devices of a CPU where --host_devices does not say: the cores that a step or an update can use."""
    if config.runner.dry_device:  # predicted for one device
        return 1
    return min(environment.cores(), max(config.update.batch, config.refresh.samples_per_update))


if __name__ == "__main__":
    command.run(Options, main, __doc__, problems=problems)
