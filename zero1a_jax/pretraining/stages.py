"""The stages of training the miniature, each from what earlier stages left in the folder."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from zero1a_jax import files, record
from zero1a_jax.diffusion import DiffusionConfig, load_miniature, miniature_config, model, vae
from zero1a_jax.diffusion.miniature import save_miniature
from zero1a_jax.errors import Refused
from zero1a_jax.pretraining import data, denoiser, evaluate, loop
from zero1a_jax.pretraining import vae as autoencoder
from zero1a_jax.pretraining.options import Miniature
from zero1a_jax.provenance import of_seed

HELDOUT = 32  # people that nothing is trained on
CLIP_FRAMES = 8


def run(options: Miniature) -> None:
    """Runs the stage of options.mode."""
    folder = pathlib.Path(options.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    config, out = miniature_config(), options.out or None
    if options.mode == "data":
        render(config, folder, options)
    elif options.mode == "evaluate":
        report = evaluate.evaluate(*load_miniature(out), _cache(config, folder, "heldout", HELDOUT))
        about = of_seed(options.seed)
        evaluate.picture(report.pop("pictures"), folder / "evaluation.png", provenance=about)
        files.write_json(folder / "evaluation.json", report)
        print(json.dumps(report, indent=1))
    elif options.mode == "export":
        export(config, folder, options)
    else:
        train(config, folder, options)


def export(config: DiffusionConfig, folder: pathlib.Path, options: Miniature) -> None:
    """Writes the weights to --out, or in place of the library's own."""
    if not options.out:
        print(save_miniature(assemble(config, folder, options)))
        return
    out = pathlib.Path(options.out).expanduser()
    with record.writing(out.parent, [out.name], overwrite=options.overwrite) as unfinished:
        save_miniature(assemble(config, folder, options), unfinished / out.name)
    print(out)


def render(config: DiffusionConfig, folder: pathlib.Path, options: Miniature) -> None:
    """All pictures. Held-out people are plain ones from another seed."""
    jobs: tuple[tuple[str, dict[str, Any]], ...] = (
        ("heldout", dict(seed=options.seed + 1, identities=HELDOUT, plain=True)),
        ("train", dict(seed=options.seed, identities=options.identities)),
        ("clips", dict(seed=options.seed + 2, identities=options.clips, frames=CLIP_FRAMES + 1, clips=True)),
    )
    for name, how in jobs:
        logging.info("rendering %s", name)
        data.extend(folder / name, config, **how)


def train(config: DiffusionConfig, folder: pathlib.Path, options: Miniature) -> None:
    """One stage, from the parts that earlier stages left in the folder."""
    params = assemble(config, folder, options)
    how: dict[str, Any] = dict(steps=options.steps, seed=options.seed, minutes=options.minutes or None)
    if options.rate:
        how["peak"] = options.rate
    if options.mode == "vae":
        cache = _cache(config, folder, "train", options.identities)
        autoencoder.train(config, params["vae"], cache, folder, identities=options.identities, **how)
    elif options.mode == "spatial":
        cache = _cache(config, folder, "train", options.identities)
        denoiser.train(
            "spatial", config, params, cache, folder, identities=options.identities, motion=False, **how
        )
    else:
        cache = _cache(config, folder, "clips", options.clips, CLIP_FRAMES + 1)
        denoiser.train(
            "motion",
            config,
            params,
            cache,
            folder,
            identities=options.clips,
            motion=True,
            portraits=1,
            **how,
        )


def assemble(config: DiffusionConfig, folder: pathlib.Path, options: Miniature) -> dict:
    """The seed's initial parameters and the cache's linear encoder, or the weights that --start names; over
    them the averages of all checkpoints."""
    if options.start:
        params = load_miniature(options.start)[1]
    else:
        params = model.init(config, jax.random.key(options.seed))
        if config.vae_linear:
            params["vae"] |= linear(config, folder, options)
    parts = (
        ("vae", {"vae": {"network": params["vae"]["network"]}}),
        ("spatial", denoiser.trainable(params, motion=False)),
        ("motion", denoiser.trainable(params, motion=True)),
    )
    for name, tree in parts:
        inner = tree["vae"]["network"] if name == "vae" else tree
        average = loop.load_average(folder / f"{name}.ckpt", inner)
        if average is not None:
            tree = {"vae": {"network": average}} if name == "vae" else average
            params = denoiser.merge(params, tree)
    return params


def linear(config: DiffusionConfig, folder: pathlib.Path, options: Miniature) -> dict:
    """The linear maps, fitted once to every tenth of the first 1600 people and kept in the folder."""
    file = folder / "linear.npz"
    if not file.exists():
        count = min(1600, options.identities)
        frames = _cache(config, folder, "train", count).rgb[:count:10]
        maps = vae.fit_linear(frames.reshape(-1, *frames.shape[2:]).astype(np.float32) / 255, config)
        with files.replacing(file) as unfinished:
            np.savez(unfinished, **maps)
    return {name: jnp.asarray(value) for name, value in np.load(file).items()}


def _cache(config: DiffusionConfig, folder: pathlib.Path, name: str, count: int, frames: int = 4):
    cache = data.open_cache(folder / name, config, count, frames)
    if cache.count < count:
        raise Refused(f"{folder / name} holds {cache.count} of {count} people: run --mode=data on it first.")
    return cache
