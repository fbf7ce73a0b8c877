"""Whether arrays have the shapes that a model takes, said in one sentence before anything is computed."""

from __future__ import annotations

from typing import Any


def expect(name: str, array: Any, shape: tuple[int | str, ...], why: str = "") -> None:
    """Raises ValueError unless `array` has this shape; an axis that is named, not counted, may be any."""
    fits = len(array.shape) == len(shape) and all(
        isinstance(wanted, str) or side == wanted for side, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(side) for side in shape)
        raise ValueError(f"{name} has shape {tuple(array.shape)}; this model wants [{wanted}]{why}.")


def expect_images(name: str, images: Any, factor: int, *lead: str) -> None:
    """Raises ValueError unless `images` are [*lead, H, W, 3] and `factor` divides H and W."""
    expect(name, images, (*lead, "H", "W", 3))
    height, width = images.shape[-3:-1]
    if not height or not width or height % factor or width % factor:
        raise ValueError(
            f"{name} has {height} x {width} pixels; this model wants height and width that {factor} divides."
        )
