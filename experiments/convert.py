"""Published weights to files that load at once. PyTorch is not needed, and nothing in the files is executed.

  python -m experiments.convert --diffusion=FOLDER --out=NEW_FOLDER [--dtype=bfloat16]
  python -m experiments.convert --lpips_weights=FOLDER --out=NEW_FILE.safetensors

experiments.run takes either form, as published or converted, with the same --diffusion and --lpips_weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zero1a_jax import record
from zero1a_jax.commandline import command
from zero1a_jax.config import option
from zero1a_jax.converters import aniportrait, lpips
from zero1a_jax.errors import Refused


@dataclass(frozen=True)
class Convert:
    """What to convert, and where to."""

    diffusion: str = option("", "Folder with AniPortrait's weights as published (see docs/assets.md).")
    lpips_weights: str = option("", "Folder with VGG16 and the linear layers of LPIPS.")
    out: str = option("", "Where to write: a new folder, or for LPIPS a new .safetensors file.")
    dtype: str = option(
        "float32",
        "Number type of the diffusion's large weights; the small ones stay float32.",
        choices=tuple(aniportrait.DTYPES),
    )
    overwrite: bool = option(False, "Replace also what others wrote at --out.")


def main(options: Convert) -> None:
    """Converts one thing."""
    if bool(options.diffusion) == bool(options.lpips_weights) or not options.out:
        raise Refused("Give --out, and either --diffusion or --lpips_weights.")
    out = Path(options.out).expanduser()
    if options.diffusion:
        with record.writing(out, overwrite=options.overwrite) as unfinished:
            aniportrait.convert(options.diffusion, unfinished, dtype=options.dtype)
    else:
        with record.writing(out.parent, [out.name], overwrite=options.overwrite) as unfinished:
            lpips.convert(options.lpips_weights, unfinished / out.name)
    print(f"written: {options.out}")


if __name__ == "__main__":
    command.run(Convert, main, __doc__)
