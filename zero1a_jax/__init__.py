"""One portrait in, an animatable 4D head avatar out: Zero-1-to-A (CVPR 2025) in JAX.

    import zero1a_jax as z

    avatar = z.run("me.png", workdir="runs/me", flagfile="quickstart.flags")
    picture = z.render(avatar, {"jawOpen": 0.6}, yaw=30)
    z.animate(avatar, "take.csv", out="me.mp4")
    z.export(avatar, "me_avatar")

`prepare` fits a portrait, `first_avatar` is what a run starts from, `run` makes an avatar, `load` reads one,
`render` and `animate` show it, `export` writes it for other programs, `procedural_head` is the head that
everything stands on by default.

The packages below are the parts: `symgen` (the method), `avatar`, `rasterizer`, `diffusion`, `flame`,
`preprocess`, `synthetic`, `drive`, `converters`, `outputs`. Every number of the method is in `config`.
Importing this module is cheap: jax comes with the first call.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zero1a_jax.version import __version__ as __version__

if TYPE_CHECKING:
    from zero1a_jax.api import animate, export, first_avatar, load, prepare, procedural_head, render, run

__all__ = ["animate", "export", "first_avatar", "load", "prepare", "procedural_head", "render", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("zero1a_jax.api"), name)
    try:
        return importlib.import_module(f"zero1a_jax.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"zero1a_jax.{name}":
            raise
        raise AttributeError(f"module 'zero1a_jax' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
