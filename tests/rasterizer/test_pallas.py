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
    """A random table, its lists, their origins, and the overflow."""
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
    return np.stack(splats, 1), lists, grid.origins(), int(overflow)


def _cotangent(lists, tile, channels=5):
    r = np.random.default_rng(1)
    return np.float32(r.normal(size=(len(lists.counts), channels, tile**2)))


@functools.partial(jax.jit, static_argnums=4)
def _run(table, lists, origins, cotangent, plan):
    """Sums and the table's gradient, from the Pallas kernels."""
    output = blend_pallas.forward(table, lists, origins, plan)
    return output, blend_pallas.backward(table, lists, origins, output, cotangent, plan)


@jax.jit
def _truth(table, lists, origins, cotangent):
    """The same from blend_xla, which composites each tile's list on the small tiles that it consists of."""
    count, channels, pixels = cotangent.shape
    across = int(pixels**0.5) // tiles.TILE
    offsets = tiles.Grid(across * tiles.TILE, across * tiles.TILE).origins()
    small = tiles.Lists(lists.ids, *(jnp.repeat(x, across**2) for x in lists[1:]))
    places = (origins[:, None] + offsets).reshape(-1, 2)
    plan = blend_xla.plan(len(places))
    cut = cotangent.reshape(count, channels, across, tiles.TILE, across, tiles.TILE)
    cut = cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels, tiles.TILE**2)
    output = blend_xla.forward(table, small, places, plan)
    gradient = blend_xla.backward(table, small, places, output, cut, plan)
    joined = output.reshape(count, across, across, channels, tiles.TILE, tiles.TILE)
    return joined.transpose(0, 3, 1, 4, 2, 5).reshape(cotangent.shape), gradient


def _assert_close(found, expected):
    np.testing.assert_allclose(found[0], expected[0], atol=3e-6)
    scale = np.abs(expected[1]).max(0)
    assert (scale > 0).all()
    assert (np.abs(found[1] - expected[1]) <= 2e-5 * scale).all()


def _assert_no_races(name):
    if name == "gpu":
        assert not interpret_pallas_call.get_races().races_found


@pytest.mark.parametrize("name", SHORT)
def test_equals_xla(name):
    plan = SHORT[name]
    table, lists, origins, overflow = _scene(plan.tile, deviation=3.0, logit=2.0)
    assert overflow == 0 and lists.counts.max() > 8
    cotangent = _cotangent(lists, plan.tile)
    _assert_close(_run(table, lists, origins, cotangent, plan), _truth(table, lists, origins, cotangent))
    _assert_no_races(name)


def test_equals_xla_with_overflow_and_empty_tiles():
    plan = SHORT["generic"]
    table, lists, origins, overflow = _scene(plan.tile, capacity=24, deviation=2.0)
    assert overflow > 0
    counts = np.where(np.arange(len(lists.counts)) % 3 > 0, lists.counts, 0)
    lists = tiles.Lists(np.pad(lists.ids, (0, CAPACITY - 24)), lists.starts, counts)
    cotangent = _cotangent(lists, plan.tile)
    _assert_close(_run(table, lists, origins, cotangent, plan), _truth(table, lists, origins, cotangent))


@pytest.mark.parametrize("name", SHORT)
def test_what_lies_behind_opaque_tiles_is_not_visited(name):
    """Behind a wall of one chunk all values are NaN: they may not be read, nor leave the gradient unset."""
    plan = SHORT[name]
    table, lists, origins, _ = _scene(plan.tile)
    clean, poisoned = table.copy(), table.copy()
    poisoned[8:, 6:] = np.nan
    for changed in (clean, poisoned):
        changed[:8, 2:5], changed[:8, 5] = 0, -0.001
    counts = np.zeros(len(lists.counts), np.int32)
    counts[[0, -1]], counts[1] = 24, 5  # the wall and more; nothing; less than the wall
    starts = np.cumsum(counts) - counts
    ids = np.zeros(CAPACITY, np.int32)
    ids[: counts.sum()] = np.concatenate([np.arange(n) for n in counts])
    lists = tiles.Lists(*(jnp.asarray(v, jnp.int32) for v in (ids, starts, counts)))
    cotangent = _cotangent(lists, plan.tile)
    found = _run(poisoned, lists, origins, cotangent, plan)
    assert np.isfinite(found[0]).all()
    expected = _truth(clean, lists, origins, cotangent)
    np.testing.assert_allclose(found[0], expected[0], atol=3e-6)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(found[1][:8], expected[1][:8], atol=2e-5 * scale)
    assert not found[1][8:].any()
    _assert_no_races(name)


def test_any_number_of_values(values=27):
    """In fours, the last one padded with zeros, they are what blend_xla composites."""
    plan = SHORT["generic"]
    table, lists, origins, _ = _scene(plan.tile, deviation=3.0)
    features = np.float32(np.random.default_rng(2).normal(size=(SIZE, values)))
    cotangent = _cotangent(lists, plan.tile, values + 1)
    wide = np.concatenate([table[:, :6], features], 1)
    output, gradient = map(np.asarray, _run(wide, lists, origins, cotangent, plan))
    padding = -values % 4
    features = np.pad(features, ((0, 0), (0, padding)))
    by_value = np.pad(cotangent[:, :-1], ((0, 0), (0, padding), (0, 0)))
    pieces = []
    for first in range(0, values, 4):
        part = np.concatenate([table[:, :6], features[:, first : first + 4]], 1)
        given = [by_value[:, first : first + 4], cotangent[:, -1:] * (first == 0)]
        pieces.append([np.asarray(v) for v in _truth(part, lists, origins, np.concatenate(given, 1))])
    sums = np.concatenate([piece[0][:, :4] for piece in pieces], 1)[:, :values]
    expected = np.concatenate([sums, pieces[0][0][:, 4:]], 1)
    by_shape = sum(piece[1][:, :6] for piece in pieces)
    by_features = np.concatenate([piece[1][:, 6:] for piece in pieces], 1)[:, :values]
    _assert_close((output, gradient), (expected, np.concatenate([by_shape, by_features], 1)))


@pytest.mark.parametrize("columns", [6, 129])
def test_a_table_of_the_wrong_width_is_refused(columns):
    _, lists, origins, _ = _scene(16)
    with pytest.raises(ValueError, match="columns"):
        blend_pallas.forward(jnp.zeros((SIZE, columns)), lists, origins, blend_pallas.INTERPRETED)


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

    count = 64
    lists = tiles.Lists(*(shaped(n, dtype=jnp.int32) for n in (4096, count, count)))
    arguments = [shaped(1000, 10), lists, shaped(count, 2)]
    arguments += [shaped(count, 5, plan.tile**2)] * (2 if pass_ == "backward" else 0)
    function = getattr(blend_pallas, pass_)
    device = jax.sharding.AbstractDevice(kind, cores, platform)
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",), abstract_device=device)):
        traced = jax.jit(lambda *a: function(*a, plan)).trace(*arguments)
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
