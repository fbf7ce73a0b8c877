"""The Pallas kernels against blend_xla, in jax's interpreters, and their lowering for devices not at hand.

Three ways to run them: the generic interpreter (fast; what implementation="pallas" is on a CPU), and the
simulations of a TPU and of an NVIDIA GPU, which also model copies, barriers, races and memory that nobody
wrote to.
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

HEIGHT, WIDTH = 24, 40  # multiples of no tile
SIZE, CAPACITY = 40, 320
# Chunks of 8 entries instead of 64, so that few Gaussians fill several, and tiles of one size, so that what
# they are compared with compiles once.
_GENERIC = blend_pallas.TPU._replace(tile=16, shape=(2, 128), lines=1, interpret=True)
SHORT = {
    "generic": _GENERIC,
    "tpu": _GENERIC._replace(interpret=pltpu.InterpretParams(detect_races=True)),
    "gpu": blend_pallas.GPU._replace(lines=1, interpret=params.InterpretGPUParams(detect_races=True)),
}


def _scene(tile, *, size=SIZE, capacity=CAPACITY, deviation=6.0, logit=0.0):
    """A random table, its lists, their origins, and the overflow."""
    r = np.random.default_rng(0)
    x, y = r.uniform(-5, WIDTH + 5, size), r.uniform(-5, HEIGHT + 5, size)
    sx, sy = np.exp(0.5 * r.normal(size=(2, size))) * deviation
    covariance = r.uniform(-0.8, 0.8, size) * sx * sy
    l00 = np.sqrt(0.5 * sy**2 / (sx**2 * sy**2 - covariance**2))
    l01, l11 = -covariance / sy**2 * l00, np.sqrt(0.5) / sy
    log_opacity = -np.log1p(np.exp(-(2 * r.normal(size=size) + logit)))
    columns = (x, y, l00, l01, l11, log_opacity, *r.uniform(size=(3, size)), r.uniform(1, 2, size))
    splats = Splats(*(jnp.asarray(c, jnp.float32) for c in columns))
    sizes = (jnp.asarray(s, jnp.float32) for s in (sx**2, sy**2, 3 * np.maximum(sx, sy)))
    grid = tiles.Grid(HEIGHT, WIDTH, tile)
    box = tiles.boxes(splats, Extent(*sizes, jnp.ones(size, bool)), grid)
    lists, overflow = jax.jit(tiles.tile_lists, static_argnums=(2, 3))(splats, box, grid, capacity)
    return jnp.stack(splats, 1), lists, jnp.asarray(grid.origins()), int(overflow)


def _cotangent(lists, tile, channels=5):
    r = np.random.default_rng(1)
    return jnp.asarray(r.normal(size=(len(lists.counts), channels, tile**2)), jnp.float32)


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
    table, lists, origins, overflow = _scene(plan.tile, logit=1.0)
    assert overflow == 0 and lists.counts.max() > 16
    cotangent = _cotangent(lists, plan.tile)
    _assert_close(_run(table, lists, origins, cotangent, plan), _truth(table, lists, origins, cotangent))
    _assert_no_races(name)


def test_equals_xla_with_overflow_and_empty_tiles():
    plan = SHORT["generic"]
    table, lists, origins, overflow = _scene(plan.tile, capacity=40, deviation=1.0)
    lists = lists._replace(counts=lists.counts.at[jnp.array([0, 3])].set(0))
    assert overflow > 0
    cotangent = _cotangent(lists, plan.tile)
    _assert_close(_run(table, lists, origins, cotangent, plan), _truth(table, lists, origins, cotangent))


def test_equals_xla_with_whole_chunks_and_early_exits():
    """As on a TPU, but for the interpreter."""
    plan = blend_pallas.INTERPRETED
    table, lists, origins, overflow = _scene(plan.tile, size=600, capacity=2048, logit=4.0)
    assert overflow == 0 and lists.counts.max() > 3 * 64
    cotangent = _cotangent(lists, plan.tile)
    _assert_close(_run(table, lists, origins, cotangent, plan), _truth(table, lists, origins, cotangent))


@pytest.mark.parametrize("name", SHORT)
def test_what_lies_behind_opaque_tiles_is_not_visited(name):
    """Behind a wall of one chunk all values are NaN: they may not be read, nor leave the gradient unset."""
    plan = SHORT[name]
    table, lists, origins, _ = _scene(plan.tile)
    wall = table[:8].at[:, 2:5].set(0).at[:, 5].set(-0.001)
    clean = jnp.concatenate([wall, table[8:]])
    poisoned = clean.at[8:, 6:].set(jnp.nan)
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


def test_any_number_of_values(values=19):
    """Columns in fours, with zeros where there are fewer, are what blend_xla composites."""
    plan = SHORT["generic"]
    table, lists, origins, _ = _scene(plan.tile)
    r = np.random.default_rng(2)
    features = jnp.asarray(r.normal(size=(SIZE, values)), jnp.float32)
    cotangent = _cotangent(lists, plan.tile, values + 1)
    wide = jnp.concatenate([table[:, :6], features], 1)
    output, gradient = _run(wide, lists, origins, cotangent, plan)
    shape_gradient = 0
    for first in range(0, values, 4):
        missing = max(0, first + 4 - values)
        part = jnp.pad(features[:, first : first + 4], ((0, 0), (0, missing)))
        given = jnp.pad(cotangent[:, first : min(first + 4, values)], ((0, 0), (0, missing), (0, 0)))
        by_alpha = cotangent[:, -1:] * (first == 0)
        piece = _truth(
            jnp.concatenate([table[:, :6], part], 1), lists, origins, jnp.concatenate([given, by_alpha], 1)
        )
        kept = 4 - missing
        np.testing.assert_allclose(output[:, first : first + kept], piece[0][:, :kept], atol=1e-5)
        scale = np.abs(piece[1][:, 6:]).max()
        found = gradient[:, 6 + first : 6 + first + kept]
        np.testing.assert_allclose(found, piece[1][:, 6 : 6 + kept], atol=2e-5 * scale)
        shape_gradient = shape_gradient + piece[1][:, :6]
    np.testing.assert_allclose(output[:, -1], piece[0][:, -1], atol=3e-6)
    scale = np.abs(shape_gradient).max(0)
    assert (np.abs(gradient[:, :6] - shape_gradient) <= 5e-5 * scale).all()


@pytest.mark.parametrize("columns", [6, 129])
def test_a_table_of_the_wrong_width_is_refused(columns):
    table, lists, origins, _ = _scene(32)
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
