"""Everything that can be known to be wrong before anything slow starts: no jax, no writes."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from zero1a_jax import config as flags
from zero1a_jax import files, provenance
from zero1a_jax.config import Config, Runner
from zero1a_jax.converters import aniportrait, flame_files
from zero1a_jax.cost.checkpoint_size import checkpoint_bytes
from zero1a_jax.errors import Refused
from zero1a_jax.sources import own_diffusion, portraits
from zero1a_jax.training import workdir


def problems(config: Config) -> list[str]:
    """Every reason why this run cannot start, one sentence each.

    Of several processes the first alone looks at --workdir, once they have met: see `folder_problems`.
    """
    found = value_problems(config) + process_problems(config.runner)
    begun = (Path(config.runner.workdir) / "config.json").is_file()
    if config.input.image and not (begun and not workdir.is_there(config)):
        found += portraits.problems(config.input)
    if config.input.flame:
        found += flame_problems(Path(config.input.flame))
    if own_diffusion.named(config.input.diffusion):
        found += own_diffusion.problems(config.input.diffusion)
        if config.runner.dry_run:
            found.append("--dry_run cannot judge a model of your own: leave out --diffusion.")
    elif config.input.diffusion:
        found += diffusion_problems(config.input.diffusion, config.input.size)
    if config.input.arkit:
        found += arkit_problems(config)
    for comma in (",", ", "):  # reading the flag takes the space away
        whole = comma.join(config.input.motions)
        if len(config.input.motions) > 1 and Path(whole).exists():
            found.append(f"A comma divides names: for a name that holds one write --motions='\"{whole}\"'.")
    if config.input.fit == "true" or config.refresh.teacher == "truth":
        if not portraits.is_synthetic(config.input.image) or config.input.flame:
            found.append(
                "--fit=true and --teacher=truth need --image=synthetic:SEED on the embedded head: "
                "nobody knows the truth of a picture."
            )
    for path in config.input.motions:
        if not Path(path).exists():
            found.append(f"There is no motion at {path}: check --motions.")
    if config.update.lpips_weights and not Path(config.update.lpips_weights).exists():
        found.append(f"There are no weights at {config.update.lpips_weights}: check --lpips_weights.")
    assets = config.input.assets or os.environ.get("ZERO1A_ASSETS", "")
    if assets and not Path(assets).is_dir():
        what = "is a file, not a folder" if Path(assets).is_file() else "does not exist"
        found.append(f"The assets folder {assets} {what}: check --assets or ZERO1A_ASSETS.")
    for file in Path(assets).glob("*.task") if assets else ():
        found += [files.stand_in(file)] if files.stand_in(file) else []
    try:
        provenance.today()
    except Refused as error:
        found.append(str(error))
    return found + ([] if config.runner.process else folder_problems(config))


def value_problems(config: Config) -> list[str]:
    """What is wrong with the values themselves, one clear sentence each."""
    found = flags.out_of_range(config)
    if not config.input.image:
        found.append("--image is missing: give a picture file, a prepared folder, or synthetic:SEED.")
    if not config.input.caption.isprintable():
        found.append("--caption must be one line of text.")
    if not config.runner.workdir:
        found.append("--workdir is missing: give the folder that the run may write to.")
    try:
        flags.colour(config.input.background)
    except Refused as error:
        found.append(f"--background={error}")
    if config.curriculum.real_start < config.curriculum.synthetic_start:
        found.append("--real_start must not come before --synthetic_start.")
    refresh = config.refresh
    if refresh.method == "symgen" and refresh.inversion and refresh.guidance == refresh.inversion_guidance:
        found.append("--guidance equals --inversion_guidance: a refresh would only repeat its input.")
    if refresh.method not in ("symgen", "one_time") and config.runner.split_frames:
        found.append(f"--split_frames divides the dataset's updates, and --method={refresh.method} has none.")
    if refresh.method in flags.DISTILLED and config.runner.dry_run:
        found.append(f"--dry_run does not count what --method={refresh.method} costs.")
    if refresh.prior_share and not config.update.texture_prior:
        found.append("--prior_share needs --texture_prior.")
    if config.runner.profile_steps and flags.profile_range(config.runner.profile_steps) is None:
        found.append("--profile_steps must be two step numbers a:b with a < b.")
    return found


def process_problems(runner: Runner) -> list[str]:
    """Whether --process and --coordinator say what they must."""
    place = re.fullmatch(r"(auto)?|(\d+)/(\d+)", runner.process)
    if not place or place[2] and not int(place[2]) < int(place[3]):
        return [f"--process={runner.process} must be I/N, such as 0/2 and 1/2, or auto."]
    if place[2] and not re.fullmatch(r".+:\d+", runner.coordinator):
        return ["--process=I/N needs --coordinator=HOST:PORT: where process 0 runs, and a port there."]
    if runner.process and runner.split_frames:
        return ["--split_frames is for one process: leave it or --process out."]
    return []


def folder_problems(config: Config) -> list[str]:
    """Whether --workdir can take this run."""
    return workdir.conflicts(config) + disk_problems(config) if config.runner.workdir else []


def flame_problems(folder: Path) -> list[str]:
    """Whether `folder` has a FLAME model and the landmarks that fitting needs; the files are not read yet."""
    if folder.is_file():
        return [f"{folder} is a file: --flame needs the folder that it lies in."]
    if not folder.is_dir():
        return [f"The FLAME folder {folder} does not exist: check --flame."]
    try:
        files.refuse_stand_in(flame_files.model_file(folder))
    except (FileNotFoundError, Refused) as error:
        return [f"{error}: check --flame."]
    missing = flame_files.unfit(folder)
    if missing:
        return [f"{folder} lacks {' and '.join(missing)}, which fitting a portrait needs: check --flame."]
    return []


def diffusion_problems(folder: str, size: int) -> list[str]:
    """Whether `folder` has a whole portrait video diffusion, by names and shapes; no numbers are read yet."""
    if Path(folder).is_file():
        return [f"{folder} is a file: --diffusion needs the folder that it lies in."]
    try:
        sizes = aniportrait.sizes(folder)
    except (FileNotFoundError, Refused) as error:
        return [f"{error}: check --diffusion."]
    factor = 2 ** (len(sizes.vae_channels) - 1)
    return [f"--size={size} must be a multiple of {factor} for this diffusion."] if size % factor else []


def arkit_problems(config: Config) -> list[str]:
    """Whether --arkit is there and has a head to drive; the table is not read yet."""
    if not Path(config.input.arkit).exists():
        return [f"There is no ARKit table at {config.input.arkit}: check --arkit."]
    if not config.input.flame:
        return ["--arkit is for a FLAME head: give --flame too, or leave it out."]
    return []


def disk_problems(config: Config) -> list[str]:
    """Whether the disk holds the checkpoints and what comes out."""
    folder = Path(config.runner.workdir).absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return [f"--workdir={config.runner.workdir} cannot be written to: choose another folder."]
    needed = workdir.FREE_BYTES + (config.runner.keep + 1) * checkpoint_bytes(config)
    free = shutil.disk_usage(folder).free
    if free < needed:
        return [f"--workdir={folder} has {free >> 20} MiB free, the run needs {needed >> 20}: make room."]
    return []
