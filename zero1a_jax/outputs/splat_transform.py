"""Compressed splats, .spz and .sog, through PlayCanvas' splat-transform where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from zero1a_jax.errors import Refused

TOOL = "splat-transform"
KINDS = ("spz", "sog")


def refuse() -> None:
    """Raises Refused where the tool is not on PATH."""
    if shutil.which(TOOL) is None:
        raise Refused(
            f"{TOOL} is not on PATH, and .spz and .sog are written by it: install Node.js 20 or later and "
            "run npm install -g @playcanvas/splat-transform, or use --to=ply"
        )


def convert(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Writes a world-space .ply as `target`, whose suffix says the kind. Raises Refused where that fails."""
    refuse()
    target = Path(target)
    # Compression of .sog looks for a graphics card unless told not to.
    command = [str(shutil.which(TOOL)), "--quiet", "--overwrite", "--gpu", "cpu", str(source), str(target)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if told.returncode or not target.is_file():
        words = (told.stderr or told.stdout).strip().splitlines()
        raise Refused(f"{TOOL} made no {target.suffix}: {words[-1] if words else told.returncode}")
