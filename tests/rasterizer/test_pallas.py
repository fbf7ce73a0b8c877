"""The Pallas kernels against blend_xla, in jax's interpreters, and their lowering for devices not at hand.

Three ways to run them: the generic interpreter (fast; what implementation="pallas" is on a CPU), and the
simulations of a TPU and of an NVIDIA GPU, which also model copies, barriers, races and memory that nobody
wrote to. Whole chunks and a batch of cameras: test_parity.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic_gpu.interpret import interpret_pallas_call, params  # not public in jax 0.10
from jax.experimental.pallas import tpu as pltpu

from zero1a_jax.rasterizer import blend_pallas, blend_xla, tiles, vjp
from zero1a_jax.rasterizer.project import Extent, Splats
from zero1a_jax.rasterizer.table import FACTOR, SHAPE_FIELDS, Column

HEIGHT, WIDTH = 24, 28  # multiples of no tile; four of 16x16
SIZE, CAPACITY = 24, 128
# Chunks of 8 entries instead of 64, so that few Gaussians fill several, and tiles of one size, so that what
# they are compared with compiles once.
_GENERIC = blend_pallas.TPU._replace(tile=16, shape=(2, 128), lines=1, interpret=True)
SHORT = {
    "generic": _GENERIC,
    "tpu": _GENERIC._replace(interpret=pltpu.InterpretParams(detect_races=True)),
    "gpu": blend_pallas.GPU._replace(lines=1, interpret=params.InterpretGPUParams(detect_races=True)),
}


def _scene(tile, *, capacity=CAPACITY, deviation=6.0, logit=0.0):
    """A random table, its lists, their grid, and the overflow."""
    r = np.random.default_rng(0)
    x, y = r.uniform(-5, WIDTH + 5, SIZE), r.uniform(-5, HEIGHT + 5, SIZE)
    sx, sy = np.exp(0.5 * r.normal(size=(2, SIZE))) * deviation
    covariance = r.uniform(-0.8, 0.8, SIZE) * sx * sy
    l00 = np.sqrt(0.5 * sy**2 / (sx**2 * sy**2 - covariance**2))
    l01, l11 = -covariance / sy**2 * l00, np.sqrt(0.5) / sy
    log_opacity = -np.log1p(np.exp(-(2 * r.normal(size=SIZE) + logit)))
    columns = (x, y, l00, l01, l11, log_opacity, *r.uniform(size=(3, SIZE)), r.uniform(1, 2, SIZE))
    splats = Splats(*(np.float32(column) for column in columns))
    sizes = (np.float32(s) for s in (sx**2, sy**2, 3 * np.maximum(sx, sy)))
    grid = tiles.Grid(HEIGHT, WIDTH, tile)

    @jax.jit
    def listed(splats, extent):
        return tiles.tile_lists(splats, tiles.boxes(splats, extent, grid), grid, capacity)

    lists, overflow = listed(splats, Extent(*sizes, np.ones(SIZE, bool)))
    return np.stack(splats, 1), lists, grid, int(overflow)


def _cotangents(grid, widths=(3, 1, 1)):
    r = np.random.default_rng(1)
    sides = (grid.rows * grid.tile, grid.columns * grid.tile)
    return tuple(np.float32(r.normal(size=(*sides, width))) for width in widths)


def _gradient(kernel, images, cotangents):
    """kernel(remaining, cotangents), as vjp calls it."""
    products = [jnp.sum(i * c, -1, keepdims=True) for i, c in zip(images, cotangents, strict=True)]
    return kernel(sum(products), cotangents)


@functools.partial(jax.jit, static_argnums=(2, 4))
def _run(table, lists, grid, cotangents, plan):
    """Images and the table's gradient, from the Pallas kernels."""
    widths = tuple(c.shape[-1] for c in cotangents[:-1])
    images = blend_pallas.forward(table, lists, grid, widths, plan)
    return images, _gradient(
        lambda *given: blend_pallas.backward(table, lists, grid, *given, plan), images, cotangents
    )


@functools.partial(jax.jit, static_argnums=2)
def _truth(table, lists, grid, cotangents):
    """The same from blend_xla, which composites each tile's list on the small tiles that it consists of."""
    small = tiles.Grid(grid.rows * grid.tile, grid.columns * grid.tile)
    row, column = (small.origins()[:, axis].astype(int) // grid.tile for axis in (1, 0))
    owner = row * grid.columns + column
    lists = tiles.Lists(lists.ids, *(jnp.asarray(x)[owner] for x in lists[1:]))
    plan, widths = blend_xla.plan(small.tiles, small), tuple(c.shape[-1] for c in cotangents[:-1])
    images = blend_xla.forward(table, lists, small, widths, plan)
    return images, _gradient(
        lambda *given: blend_xla.backward(table, lists, small, *given, plan), images, cotangents
    )


def _assert_close(found, expected):
    for image, truth in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(image, truth, atol=3e-6)
    scale = np.abs(expected[1]).max(0)
    assert (scale > 0).all()
    assert (np.abs(found[1] - expected[1]) <= 2e-5 * scale).all()


def _assert_no_races(name):
    if name == "gpu":
        assert not interpret_pallas_call.get_races().races_found


@pytest.mark.parametrize("name", SHORT)
def test_equals_xla(name):
    plan = SHORT[name]
    table, lists, grid, overflow = _scene(plan.tile, deviation=3.0, logit=2.0)
    assert overflow == 0 and lists.counts.max() > 8
    cotangents = _cotangents(grid)
    _assert_close(_run(table, lists, grid, cotangents, plan), _truth(table, lists, grid, cotangents))
    _assert_no_races(name)


def test_equals_xla_with_overflow_and_empty_tiles():
    plan = SHORT["generic"]
    table, lists, grid, overflow = _scene(plan.tile, capacity=24, deviation=2.0)
    assert overflow > 0
    counts = np.where(np.arange(len(lists.counts)) % 3 > 0, lists.counts, 0)
    lists = tiles.Lists(np.pad(lists.ids, (0, CAPACITY - 24)), lists.starts, counts)
    cotangents = _cotangents(grid)
    _assert_close(_run(table, lists, grid, cotangents, plan), _truth(table, lists, grid, cotangents))


@pytest.mark.parametrize("name", SHORT)
def test_what_lies_behind_opaque_tiles_is_not_visited(name):
    """Behind a wall of one chunk all values are NaN: they may not be read, nor leave the gradient unset."""
    plan = SHORT[name]
    table, lists, grid, _ = _scene(plan.tile)
    clean, poisoned = table.copy(), table.copy()
    poisoned[8:, SHAPE_FIELDS:] = np.nan
    for changed in (clean, poisoned):
        changed[:8, FACTOR], changed[:8, Column.LOG_OPACITY] = 0, -0.001
    counts = np.zeros(len(lists.counts), np.int32)
    counts[[0, -1]], counts[1] = 24, 5  # the wall and more; nothing; less than the wall
    starts = np.cumsum(counts) - counts
    ids = np.zeros(CAPACITY, np.int32)
    ids[: counts.sum()] = np.concatenate([np.arange(n) for n in counts])
    lists = tiles.Lists(*(jnp.asarray(v, jnp.int32) for v in (ids, starts, counts)))
    cotangents = _cotangents(grid)
    found = _run(poisoned, lists, grid, cotangents, plan)
    expected = _truth(clean, lists, grid, cotangents)
    for image, truth in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(image, truth, atol=3e-6)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(found[1][:8], expected[1][:8], atol=2e-5 * scale)
    assert not found[1][8:].any()
    _assert_no_races(name)


def test_any_number_of_values(values=27):
    """In fours, the last one padded with zeros, they are what blend_xla composites."""
    plan = SHORT["generic"]
    table, lists, grid, _ = _scene(plan.tile, deviation=3.0)
    features = np.float32(np.random.default_rng(2).normal(size=(SIZE, values)))
    by_values, by_alpha = _cotangents(grid, (values, 1))
    wide = np.concatenate([table[:, :SHAPE_FIELDS], features], 1)
    (image, alpha), gradient = _run(wide, lists, grid, (by_values, by_alpha), plan)
    padding = -values % 4
    features = np.pad(features, ((0, 0), (0, padding)))
    by_values = np.pad(by_values, ((0, 0), (0, 0), (0, padding)))
    pieces = []
    for first in range(0, values, 4):
        part = np.concatenate([table[:, :SHAPE_FIELDS], features[:, first : first + 4]], 1)
        given = (by_values[..., first : first + 4], by_alpha * (first == 0))
        pieces.append(_truth(part, lists, grid, given))
    drawn = np.concatenate([piece[0][0] for piece in pieces], -1)[..., :values]
    by_shape = sum(np.asarray(piece[1][:, :SHAPE_FIELDS]) for piece in pieces)
    by_features = np.concatenate([piece[1][:, SHAPE_FIELDS:] for piece in pieces], 1)[:, :values]
    expected = ((drawn, pieces[0][0][1]), np.concatenate([by_shape, by_features], 1))
    _assert_close(((image, alpha), np.asarray(gradient)), expected)


@pytest.mark.parametrize("columns", [6, 129])
def test_a_table_of_the_wrong_width_is_refused(columns):
    _, lists, grid, _ = _scene(16)
    with pytest.raises(ValueError, match="columns"):
        blend_pallas.forward(jnp.zeros((SIZE, columns)), lists, grid, (3, 1), blend_pallas.INTERPRETED)


@pytest.mark.parametrize("pass_", ["forward", "backward"])
@pytest.mark.parametrize(
    ("kind", "cores", "platform", "plan", "call"),
    [
        ("NVIDIA H100 80GB HBM3", 132, "cuda", blend_pallas.GPU, "mosaic_gpu"),
        ("TPU v5 lite", 1, "tpu", blend_pallas.TPU, "tpu_custom_call"),
        ("TPU v6 lite", 1, "tpu", blend_pallas.TPU, "tpu_custom_call"),
    ],
)
def test_lowers_for_devices_that_are_not_here(kind, cores, platform, plan, call, pass_):
    def shaped(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    side = 8 * plan.tile
    grid = tiles.Grid(side, side, plan.tile)
    lists = tiles.Lists(*(shaped(n, dtype=jnp.int32) for n in (4096, grid.tiles, grid.tiles)))
    arguments = [shaped(1000, 10), lists]
    if pass_ == "backward":
        arguments += [shaped(side, side, 1), tuple(shaped(side, side, width) for width in (3, 1, 1))]

    def function(table, lists, *images):
        given = images or ((3, 1),)
        return getattr(blend_pallas, pass_)(table, lists, grid, *given, plan)

    device = jax.sharding.AbstractDevice(kind, cores, platform)
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",), abstract_device=device)):
        traced = jax.jit(function).trace(*arguments)
        text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert call in text


class _Device:
    def __init__(self, capability=None):
        self.device_kind = "a device"
        if capability is not None:
            self.compute_capability = capability


@pytest.mark.parametrize(
    ("backend", "capability", "auto", "pallas"),
    [
        ("cpu", None, None, blend_pallas.INTERPRETED),
        ("tpu", None, blend_pallas.TPU, blend_pallas.TPU),
        ("gpu", "9.0", blend_pallas.GPU, blend_pallas.GPU),
        ("gpu", "12.0", blend_pallas.GPU, blend_pallas.GPU),
        ("gpu", "8.6", None, ValueError),
        ("gpu", "gfx942", None, ValueError),
    ],
)
def test_the_device_decides_and_is_logged_once(monkeypatch, backend, capability, auto, pallas):
    logged = []
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "local_devices", lambda: [_Device(capability)])
    monkeypatch.setattr(vjp.logging, "info", lambda *message: logged.append(message))
    choose = functools.cache(vjp._choose.__wrapped__)
    assert choose("auto") == auto and choose("auto") == auto
    assert len(logged) == 1
    assert choose("xla") is None
    if pallas is ValueError:
        with pytest.raises(ValueError, match="9.0"):
            choose("pallas")
    else:
        assert choose("pallas") == pallas
