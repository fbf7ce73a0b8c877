"""Trains and measures the miniature: python -m experiments.pretrain --mode=MODE --workdir=FOLDER.

Modes, in the order of use. Each resumes where it stopped, and the seed fixes all draws.
  data      renders random synthetic people into FOLDER/train (and clips, and the held-out people)
  vae       fits the linear encoder and trains the decoder network
  spatial   trains pose guider, image encoder and UNets on single frames; may run beside `vae`
  motion    trains the motion modules on clips, all else frozen
  export    writes the weights that the library ships, as float16 safetensors
  evaluate  measures them on held-out people; writes FOLDER/evaluation.json and a picture
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from experiments import (
    memory,
    pretrain_data,
    pretrain_denoiser,
    pretrain_evaluate,
    pretrain_loop,
    pretrain_vae,
)
from zero1a_jax.diffusion import DiffusionConfig, load_miniature, miniature_config, model, vae
from zero1a_jax.diffusion.miniature import save_miniature

MODES = ("data", "vae", "spatial", "motion", "export", "evaluate")
_MODE = flags.DEFINE_enum("mode", None, MODES, "What to do; see the module.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of pictures, checkpoints and logs.")
_SEED = flags.DEFINE_integer("seed", 0, "Fixes identities, views, batches and noise.")
_IDENTITIES = flags.DEFINE_integer("identities", 3000, "People to render and to train on.", lower_bound=1)
_CLIPS = flags.DEFINE_integer("clips", 300, "People in moving clips, for the motion modules.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 6000, "Training steps of this mode, those of earlier runs included.")
_MINUTES = flags.DEFINE_float(
    "minutes", None, "Sets the steps from the speed, to end after this time instead."
)
_OUT = flags.DEFINE_string("out", None, "Where export writes; the library's own file if not given.")
_HELDOUT = 32
_CLIP_FRAMES = 8


def main(argv: list[str]) -> None:
    """Runs the stage that --mode names."""
    if len(argv) > 1:
        raise app.UsageError(f"stray argument {argv[1]!r}; every option starts with --.")
    memory.reuse_freed_memory()
    folder = pathlib.Path(str(_WORKDIR.value))
    folder.mkdir(parents=True, exist_ok=True)
    config = miniature_config()
    mode = str(_MODE.value)
    if mode == "data":
        render(config, folder)
    elif mode == "evaluate":
        report = pretrain_evaluate.evaluate(
            *load_miniature(_OUT.value), _cache(config, folder, "heldout", _HELDOUT)
        )
        pretrain_evaluate.picture(report.pop("pictures"), folder / "evaluation.png")
        (folder / "evaluation.json").write_text(json.dumps(report, indent=1))
        print(json.dumps(report, indent=1))
    elif mode == "export":
        print(save_miniature(assemble(config, folder), _OUT.value))
    else:
        train(config, folder, mode)


def render(config: DiffusionConfig, folder: pathlib.Path) -> None:
    """All pictures. Held-out people are plain ones from another seed."""
    jobs: tuple[tuple[str, dict[str, Any]], ...] = (
        ("heldout", dict(seed=_SEED.value + 1, identities=_HELDOUT, plain=True)),
        ("train", dict(seed=_SEED.value, identities=_IDENTITIES.value)),
        ("clips", dict(seed=_SEED.value + 2, identities=_CLIPS.value, frames=_CLIP_FRAMES + 1, clips=True)),
    )
    for name, options in jobs:
        logging.info("rendering %s", name)
        pretrain_data.extend(folder / name, config, **options)


def train(config: DiffusionConfig, folder: pathlib.Path, mode: str) -> None:
    """One stage, from the parts that earlier stages left in the folder."""
    params = assemble(config, folder)
    options: dict[str, Any] = dict(steps=_STEPS.value, seed=_SEED.value, minutes=_MINUTES.value)
    if mode == "vae":
        cache = _cache(config, folder, "train", _IDENTITIES.value)
        pretrain_vae.train(config, params["vae"], cache, folder, identities=_IDENTITIES.value, **options)
    elif mode == "spatial":
        cache = _cache(config, folder, "train", _IDENTITIES.value)
        pretrain_denoiser.train(
            "spatial", config, params, cache, folder, identities=_IDENTITIES.value, motion=False, **options
        )
    else:
        cache = _cache(config, folder, "clips", _CLIPS.value, _CLIP_FRAMES + 1)
        pretrain_denoiser.train(
            "motion",
            config,
            params,
            cache,
            folder,
            identities=_CLIPS.value,
            motion=True,
            portraits=1,
            **options,
        )


def assemble(config: DiffusionConfig, folder: pathlib.Path) -> dict:
    """The seed's initial parameters, the cache's linear encoder, and the averages of all checkpoints."""
    params = model.init(config, jax.random.key(_SEED.value))
    if config.vae_linear:
        params["vae"] |= linear(config, folder)
    parts = (
        ("vae", {"vae": {"network": params["vae"]["network"]}}),
        ("spatial", pretrain_denoiser.trainable(params, motion=False)),
        ("motion", pretrain_denoiser.trainable(params, motion=True)),
    )
    for name, tree in parts:
        inner = tree["vae"]["network"] if name == "vae" else tree
        average = pretrain_loop.load_average(folder / f"{name}.ckpt", inner)
        if average is not None:
            tree = {"vae": {"network": average}} if name == "vae" else average
            params = pretrain_denoiser.merge(params, tree)
    return params


def linear(config: DiffusionConfig, folder: pathlib.Path) -> dict:
    """The linear maps, fitted once to every tenth of the first 1600 people and kept in the folder."""
    file = folder / "linear.npz"
    if not file.exists():
        count = min(1600, _IDENTITIES.value)
        frames = _cache(config, folder, "train", count).rgb[:count:10]
        maps = vae.fit_linear(frames.reshape(-1, *frames.shape[2:]).astype(np.float32) / 255, config)
        np.savez(file, **maps)
    return {name: jnp.asarray(value) for name, value in np.load(file).items()}


def _cache(config: DiffusionConfig, folder: pathlib.Path, name: str, count: int, frames: int = 4):
    cache = pretrain_data.open_cache(folder / name, config, count, frames)
    if cache.count < count:
        raise ValueError(
            f"{folder / name} holds {cache.count} of {count} people: run --mode=data on it first."
        )
    return cache


if __name__ == "__main__":
    flags.mark_flags_as_required(["mode", "workdir"])
    app.run(main)
