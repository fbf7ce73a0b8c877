"""A video diffusion of the user's own behind --diffusion=module:function."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zero1a_jax.errors import Refused
from zero1a_jax.sources import own_code

NEEDED = ("frame_size", "condition_size", "condition", "reference", "encode", "decode", "invert", "denoise")


def named(text: str) -> bool:
    """Whether a value of --diffusion names a function."""
    return own_code.NAME.fullmatch(text) is not None


def problems(text: str) -> list[str]:
    """What is wrong with module:function, one sentence each. Imports nothing: jax must not come in yet."""
    own_code.look_here()
    top = text.split(":")[0].split(".")[0]
    if importlib.util.find_spec(top) is None:
        return [f"--diffusion={text}: there is no module {top} here; start where {top}.py lies."]
    return []


def load(text: str, frames: int) -> tuple[Any, Any]:
    """The model (see zero1a_jax.symgen.protocol) and its parameters.

    Args:
      text: module:function; the function takes nothing and returns (model, parameters). It is called as it
        is: name only code that you trust.
      frames: of a sample.

    Raises:
      Refused: one sentence, where the model cannot be had, lacks something, or does not fit.
    """
    model, params = _made(text)
    _try(text, model, params, frames)
    return model, params


def file(text: str) -> Path | None:
    """The file of the module, on whose content a run depends; None where it is a folder."""
    spec = importlib.util.find_spec(text.split(":")[0])
    return Path(spec.origin) if spec and spec.origin else None


def _made(text: str) -> tuple[Any, Any]:
    function = own_code.function("diffusion", text)
    try:
        made = function()
    except Exception as error:  # the user's code: whatever it raises is told in one sentence
        raise Refused(f"--diffusion={text}: {type(error).__name__}: {error}") from error
    if not isinstance(made, tuple) or len(made) != 2:
        raise Refused(f"--diffusion={text} must return a model and its parameters, as a tuple of two.")
    missing = [name for name in NEEDED if not hasattr(made[0], name)]
    if missing:
        raise Refused(f"--diffusion={text}: the model has no {missing[0]}; see symgen/protocol.py.")
    return made


def _try(text: str, model: Any, params: Any, frames: int) -> None:
    """Traces one refresh, which costs a moment, so that a wrong shape is a sentence and not a late error."""
    import jax
    import jax.numpy as jnp

    def image(side: int, *lead: int) -> Any:
        return jax.ShapeDtypeStruct((*lead, side, side, 3), jnp.float32)

    side, video = model.condition_size, image(model.frame_size, frames)
    shared: dict[str, Any] = dict(steps=2, strength=0.5, guidance=2.0)

    def call(name: str, function: Callable, *arguments: Any) -> Any:
        try:
            return jax.eval_shape(function, params, *arguments)
        except Exception as error:  # as above
            raise Refused(f"--diffusion={text}: {name} fails: {error}") from error

    def same(name: str, given: Any, wanted: Any) -> None:
        if getattr(given, "shape", None) != wanted.shape:
            shape = getattr(given, "shape", None)
            raise Refused(f"--diffusion={text}: {name} returns shape {shape}, it must be {wanted.shape}.")

    portrait = call("reference", model.reference, image(model.frame_size), image(side))
    latents = call("encode", model.encode, video)
    rest = (latents, portrait, image(side, frames))
    same("decode", call("decode", model.decode, latents), video)

    def invert(*given: Any) -> Any:
        return model.invert(*given, iterations=1, **shared)

    def denoise(*given: Any) -> Any:
        return model.denoise(*given, **shared)

    same("invert", call("invert", invert, *rest), latents)
    same("denoise", call("denoise", denoise, *rest), latents)
