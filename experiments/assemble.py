"""Puts the parts of a run together: head, portrait, diffusion, sequences, devices."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import config as config_module
from experiments import parallel
from experiments.config import Config
from zero1a_jax import avatar as avatar_room
from zero1a_jax import symgen
from zero1a_jax.avatar.colours import colours_from_portrait
from zero1a_jax.types import ArkitMap, Avatar, Camera, Dataset, FlameModel, FlameParams, Portrait, State

OPACITY = 0.9  # of the first Gaussians: a head that is seen through conditions nothing


@dataclasses.dataclass(frozen=True)
class Parts:
    """What other rooms contribute to a run. Tests put fakes here."""

    model: FlameModel
    portrait: Portrait
    diffusion: symgen.Diffusion
    diffusion_params: Any
    render: Callable[..., Any]  # rasterizer.render
    suggest_capacity: Callable[..., int]  # rasterizer.suggest_capacity
    perceptual: Callable[..., Any]  # (image, target) [H, W, 3] to a scalar
    detector: Callable[[np.ndarray], Any] | None = None
    motions: Sequence[FlameParams] = ()
    arkit: ArkitMap | None = None  # for a head without ARKit names, see heads.arkit


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that stays the same during a run. Replicated trees have the device axis in front."""

    config: Config
    parts: Parts
    samples: symgen.Samples
    devices: tuple[parallel.Device, ...]
    background: np.ndarray  # [3]
    model: FlameModel  # replicated
    diffusion_params: Any  # replicated; with --split_frames on the devices as one array
    reference: Any  # the same


@dataclasses.dataclass
class Progress:
    """What changes during a run, and what a checkpoint holds."""

    state: State  # replicated
    dataset: Dataset
    capacity: int  # of the raster: intersections of a Gaussian and a tile
    skipped: int  # updates that were not finite
    rejected: int  # generated samples that failed their checks

    def arrays(self) -> dict[str, Any]:
        """The pytree of arrays to store."""
        counters = np.array([self.capacity, self.skipped, self.rejected], np.int64)
        return {"state": parallel.first(self.state), "dataset": self.dataset, "counters": counters}

    @staticmethod
    def from_arrays(arrays: dict[str, Any], devices: Sequence[parallel.Device]) -> Progress:
        """The inverse of `arrays`."""
        capacity, skipped, rejected = (int(number) for number in arrays["counters"])
        state = parallel.replicate(arrays["state"], devices)
        return Progress(state, arrays["dataset"], capacity, skipped, rejected)


def setup(config: Config, parts: Parts, devices: Sequence[parallel.Device]) -> Setup:
    """Builds the sequences from the seed, conditions the diffusion on the portrait, fills the devices."""
    curriculum = config.curriculum
    if config.generation.dataset != "iterative":  # nothing is refreshed, so nothing can unroll
        curriculum = dataclasses.replace(curriculum, progressive=False)
        config = dataclasses.replace(config, curriculum=curriculum)
    samples = symgen.build_samples(
        parallel.key(config.runner.seed, "samples"), parts.model, parts.portrait, curriculum,
        motions=parts.motions, arkit=parts.arkit,
    )  # fmt: skip
    reference = jax.jit(functools.partial(condition_on_portrait, parts.diffusion))(
        parts.diffusion_params, parts.model, parts.portrait
    )
    spread, shared = parallel.replicate, devices
    if config.runner.split_frames:
        spread, shared = parallel.everywhere, parallel.shared_frames(config.curriculum.frames, devices)
    return Setup(
        config=config,
        parts=parts,
        samples=samples,
        devices=tuple(devices),
        background=np.array(config_module.colour(config.input.background), np.float32),
        model=parallel.replicate(parts.model, devices),
        diffusion_params=spread(parts.diffusion_params, shared),
        reference=spread(reference, shared),
    )


def condition_on_portrait(
    diffusion: symgen.Diffusion, params: Any, model: FlameModel, portrait: Portrait
) -> Any:
    """The diffusion's reference: the portrait, and its own condition image."""
    own = symgen.condition_images(
        model, portrait.flame, portrait.camera, size=diffusion.condition_size, kind=diffusion.condition
    )
    return diffusion.reference(params, jnp.asarray(portrait.rgb), own)


def first_avatar(config: Config, model: FlameModel, portrait: Portrait) -> Avatar:
    """Gaussians on the portrait's identity, coloured by the portrait."""
    capacity = int(np.ceil(config.optimisation.capacity * len(model.faces)))
    key = parallel.key(config.runner.seed, "bind")
    return _first_avatar(key, model, portrait, capacity=capacity, degree=config.optimisation.sh_degree)


@functools.partial(jax.jit, static_argnames=("capacity", "degree"))
def _first_avatar(
    key: jax.Array, model: FlameModel, portrait: Portrait, *, capacity: int, degree: int
) -> Avatar:
    shape = jnp.asarray(portrait.flame.shape)
    avatar = avatar_room.bind(key, model, shape, capacity=capacity, degree=degree, opacity=OPACITY)
    avatar = colours_from_portrait(avatar, model, portrait)
    return avatar_room.cover_outside(avatar, model, portrait)


def start(setup: Setup) -> Progress:
    """The progress at step 0, with an empty dataset."""
    avatar = first_avatar(setup.config, setup.parts.model, setup.parts.portrait)
    dataset = symgen.dataset.empty(setup.samples, setup.parts.portrait)
    neutral = jax.tree.map(lambda leaf: leaf[0, 0], setup.samples.flame)
    posed = jax.jit(avatar_room.pose)(avatar, setup.parts.model, neutral)
    capacity = setup.parts.suggest_capacity(posed, last_cameras(setup.samples.cameras), margin=1.6)
    state = parallel.replicate(jax.jit(symgen.init_state)(avatar), setup.devices)
    return Progress(state=state, dataset=dataset, capacity=capacity, skipped=0, rejected=0)


def last_cameras(cameras: Camera) -> Camera:
    """The camera [M] that each sample ends at."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:, -1]), cameras)


def portrait_arrays(portrait: Portrait) -> dict[str, np.ndarray]:
    """A portrait as named arrays, for portrait.npz."""
    leaves = jax.tree_util.tree_leaves_with_path(portrait)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def load_portrait(path: Path) -> Portrait:
    """Reads what `portrait_arrays` gave to numpy.savez."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    height, width = arrays["rgb"].shape[:2]
    camera = {name.split(".")[1]: value for name, value in arrays.items() if name.startswith("camera.")}
    flame = {name.split(".")[1]: value for name, value in arrays.items() if name.startswith("flame.")}
    return Portrait(
        rgb=arrays["rgb"],
        alpha=arrays["alpha"],
        landmarks=arrays["landmarks"],
        camera=Camera(**camera, height=height, width=width),
        flame=FlameParams(**flame),
    )
