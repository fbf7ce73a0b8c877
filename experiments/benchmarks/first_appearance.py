"""How near an avatar's first renders are to the truth, before any training.

  python -m experiments.benchmarks.first_appearance --sheet=first.png

Synthetic people seen from the front with their true head and camera, so that errors of the fit do not count.
The baseline is the same avatar in the one mean colour of the person. PSNR over the pixels that the true
person covers, over white.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from zero1a_jax.commandline import command
from zero1a_jax.config import option

YAWS = (0.0, 30.0, 60.0)
SHOWN = (-60.0, 180.0)  # only on the sheet


@dataclass(frozen=True)
class Options:
    """Whom to measure."""

    seeds: int = option(8, "People synthetic:1 to synthetic:SEEDS.", low=1, high=64)
    size: int = option(128, "Side of the frames in pixels.", low=32, high=512)
    texture_prior: bool = option(False, "Let the texture prior say what the portrait hides.")
    sheet: str = option("", "A picture to write: the truth above the first render, person by person.")


def main(options: Options) -> None:
    """Prints a row for each person and the means."""
    import numpy as np
    from PIL import Image

    rows, sheet = [], []
    for seed in range(1, options.seeds + 1):
        row, pictures = measure(seed, options.size, options.texture_prior)
        rows.append(row)
        sheet.append(pictures)
        print(f"synthetic:{seed}  " + "  ".join(f"{own:.2f} ({base:.2f})" for own, base in row), flush=True)
    means = np.mean(rows, 0)
    for yaw, (own, base) in zip(YAWS, means, strict=True):
        print(f"yaw {yaw:.0f}: {own:.2f} dB, mean colour {base:.2f} dB")
    if options.sheet:
        columns = [np.concatenate(sheet[k::2], 0) for k in range(min(2, len(sheet)))]
        tall = max(len(column) for column in columns)
        padded = [np.pad(c, ((0, tall - len(c)), (0, 0), (0, 0)), constant_values=255) for c in columns]
        Image.fromarray(np.concatenate(padded, 1)).save(options.sheet)


def measure(seed: int, size: int, prior: bool) -> tuple[list[tuple[float, float]], Any]:
    """(PSNR, the baseline's) in dB at each of YAWS, and truth above render at YAWS and SHOWN, uint8."""
    import jax.numpy as jnp
    import numpy as np

    from zero1a_jax.avatar import pose
    from zero1a_jax.config import Config, Update
    from zero1a_jax.flame import frame_target, procedural_head, zero_params
    from zero1a_jax.geometry import portrait_camera
    from zero1a_jax.image import ops
    from zero1a_jax.image.colour import as_uint8, to_sh
    from zero1a_jax.sources.synthetic_portrait import person
    from zero1a_jax.training.progress import first_avatar
    from zero1a_jax.types import Portrait

    model = procedural_head()
    shape, look = person(seed)
    params = zero_params(model).replace(shape=shape)
    target = frame_target(model, shape)
    cameras = [portrait_camera(target, np.radians(yaw), np.zeros(()), size) for yaw in YAWS + SHOWN]
    true = [_draw()(model, look, params, camera) for camera in cameras]
    true = [(ops.composite(rgb, alpha, jnp.ones(3)), alpha) for rgb, alpha in true]
    points = jnp.zeros((105, 2))  # not looked at
    portrait = Portrait(*true[0], points, cameras[0], params)
    avatar = first_avatar(Config(update=Update(texture_prior=prior)), model, portrait)
    mask = (true[0][1] > 0.9)[..., None]
    mean = jnp.sum(true[0][0] * mask, (0, 1)) / jnp.sum(mask)
    gaussians = avatar.gaussians
    plain = gaussians.replace(sh=jnp.broadcast_to(to_sh(mean), gaussians.sh.shape))
    rows, pictures = [], []
    for k, camera in enumerate(cameras):
        image, alpha = true[k]
        drawn = [
            _render()(pose(one, model, params), camera) for one in (avatar, avatar.replace(gaussians=plain))
        ]
        if any(int(one.overflow) for one in drawn):
            raise RuntimeError("the render needs more capacity")
        if k < len(YAWS):
            own, base = (float(ops.psnr(one.rgb, image, alpha > 0.5)) for one in drawn)
            rows.append((own, base))
        pictures.append(np.concatenate([as_uint8(np.asarray(x)) for x in (image, drawn[0].rgb)], 0))
    return rows, np.concatenate(pictures, 1)


@functools.cache
def _draw() -> Any:
    import jax

    from zero1a_jax import synthetic

    return jax.jit(functools.partial(synthetic.render, supersample=2))


@functools.cache
def _render() -> Any:
    import jax
    import jax.numpy as jnp

    from zero1a_jax import rasterizer

    return jax.jit(
        functools.partial(rasterizer.render, antialiased=True, background=jnp.ones(3), capacity=1 << 18)
    )


if __name__ == "__main__":
    command.run(Options, main, __doc__)
