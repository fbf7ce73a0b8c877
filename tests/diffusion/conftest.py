"""The AniPortrait fixture: random weights at small sizes, run by the published code."""

import dataclasses
import functools
import importlib.util
import json
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.converters import aniportrait
from zero1a_jax.diffusion import DiffusionConfig, model

FOLDER = Path(os.environ.get("ZERO1A_FIXTURES", Path(__file__).parents[1] / "fixtures")) / "aniportrait"


@dataclasses.dataclass(frozen=True, eq=False)
class Published:
    """The fixture: its settings, our config and parameters, and its arrays by file name."""

    settings: dict
    config: DiffusionConfig
    params: dict

    @functools.cache  # noqa: B019, one object a session
    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(FOLDER / f"{name}.npz") as arrays:
            return dict(arrays)


def config_of(settings: dict, **changes) -> DiffusionConfig:
    """The fixture's sizes as the converter reads them, and the windows of its runs."""
    e2e = settings["e2e"]
    changes = dict(window=e2e["context_frames"], overlap=e2e["context_overlap"]) | changes
    sizes = dataclasses.asdict(aniportrait.sizes(FOLDER))
    return DiffusionConfig(**sizes, **changes)  # images and latents come in their own sizes


@pytest.fixture(scope="session")
def quick():
    """`jax.jit` with less effort: compilation is most of what these tests cost."""
    return functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="session")
def counts():
    """`counts(arrays, pattern)`: the numbers that the pattern's group has among the names of arrays."""
    return counts_of


def counts_of(arrays: dict, pattern: str) -> list[int]:
    found = [re.fullmatch(pattern, name) for name in arrays]
    found = sorted({int(match[1]) for match in found if match})
    assert found, f"no {pattern} among the reference numbers"
    return found


@pytest.fixture
def exact():
    """Products of float32 without shortcuts, as the reference numbers were computed."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="session")
def published() -> Published:
    if not (FOLDER / "config.json").exists():
        pytest.skip("the AniPortrait fixture (22 MB) is not here: set ZERO1A_FIXTURES to its parent folder")
    settings = json.loads((FOLDER / "config.json").read_text())
    return Published(settings, config_of(settings), aniportrait.load(FOLDER))


def small_config(**changes) -> DiffusionConfig:
    """A model of a few thousand parameters, 32x32 frames in 4x4 latents."""
    sizes = dict(
        frame_size=32,
        vae_patch=4,
        vae_channels=(8, 8),
        vae_layers=1,
        vae_groups=4,
        latent_channels=4,
        unet_channels=(8, 16),
        unet_layers=1,
        down_attention=(False, True),
        up_attention=(True, True),
        unet_heads=2,
        unet_feedforward=1,
        groups=4,
        context_channels=8,
        motion_levels=(False, True),
        motion_heads=2,
        motion_attentions=1,
        motion_feedforward=1,
        pose_patch=4,
        pose_channels=(8, 8),
        pose_kernels=(3, 4),
        pose_strides=(1, 2),
        pose_attention=False,
        pose_norm="none",
        clip_size=16,
        clip_patch=8,
        clip_channels=8,
        clip_feedforward=8,
        clip_layers=1,
        clip_heads=2,
        window=4,
        overlap=1,
    )
    return DiffusionConfig(**(sizes | changes))


@functools.cache
def small_model(config: DiffusionConfig) -> dict:
    """Random parameters, those that start at zero too, so that every part has an influence.

    Drawn by numpy from the shapes alone: compiling the real initialisation takes a minute.
    """
    shapes = jax.eval_shape(functools.partial(model.init, config), jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name in ("scale", "std", "power"):
            return jnp.ones(leaf.shape)
        size = np.prod(leaf.shape[:-1]) if name == "kernel" else 100
        return jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(size), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="session")
def make_config():
    """`make_config(**changes)`: see small_config."""
    return small_config


@pytest.fixture(scope="session")
def make_params():
    """`make_params(config)`: see small_model."""
    return small_model


@pytest.fixture(scope="session")
def pickles():
    """The writer of torch files; see tests/converters."""
    path = Path(__file__).parents[1] / "converters" / "pickles.py"
    spec = importlib.util.spec_from_file_location("zero1a_test_pickles", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
