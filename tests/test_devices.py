"""Keys that do not know about devices, and lists that are split without losing or doubling anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import keys
from zero1a_jax.devices import AXIS, first, gathered, mapped, on_each, replicate, rounds, split


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def test_keys_depend_on_everything_but_the_device():
    base = data(keys.key(1, "noise", 3, 2))
    np.testing.assert_array_equal(base, data(keys.key(1, "noise", 3, 2)))
    others = [(2, "noise", 3, 2), (1, "draw", 3, 2), (1, "noise", 4, 2), (1, "noise", 3, 1)]
    for other in [*others, (1, "noise", 2, 3)]:
        assert (data(keys.key(*other)) != base).any(), other
    several = keys.many(1, "noise", 3, [0, 2, 5])
    np.testing.assert_array_equal(data(several)[1], base)


def test_generators_are_independent():
    uses = ((0, "draw", 1), (0, "draw", 2), (0, "choose", 1), (1, "draw", 1))
    draws = [keys.rng(*use).random() for use in uses]
    assert len(set(draws)) == 4 and keys.rng(0, "draw", 1).random() == draws[0]


@pytest.mark.parametrize("call", [keys.key, keys.rng])
def test_unknown_purpose(call):
    with pytest.raises(ValueError, match="unknown purpose 'luck'"):
        call(0, "luck")


SIZES = [(1, 1), (5, 2), (4, 4), (3, 4), (7, 3)]


@pytest.mark.parametrize(("count", "devices"), SIZES)
def test_shares_have_everything_once(count, devices):
    tree = {"a": np.arange(count), "b": np.arange(2 * count).reshape(count, 2)}
    parts, weight = split(tree, count, jax.local_devices()[:devices])
    share = -(-count // devices)
    assert parts["a"].shape == weight.shape == (devices, share) and parts["b"].shape == (devices, share, 2)
    assert weight.sum() == count and (parts["a"].reshape(-1)[:count] == tree["a"]).all()
    assert (weight.reshape(-1)[:count] == 1).all()


@pytest.mark.parametrize(("count", "devices"), SIZES)
def test_rounds_are_gathered_in_the_order_of_the_list(count, devices):
    tree = {"a": np.arange(count), "b": np.arange(2 * count).reshape(count, 2)}
    given = rounds(tree, count, jax.local_devices()[:devices])
    assert all(part["b"].shape == (devices, 2) for part in given)
    back = gathered(count, jax.local_devices()[:devices])(given)
    for name, leaf in tree.items():
        for shard in back[name].addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data)[0], leaf)


def test_replicate_map_and_first():
    devices = jax.local_devices()[:1]
    tree = {"a": np.arange(3, dtype=np.float32), "b": np.array([True, False])}
    spread = replicate(tree, devices)
    assert spread["a"].shape == (1, 3)

    def total(tree, x):
        return tree, jax.lax.psum(x.sum(), AXIS)

    same, answer = mapped(total, devices)(spread, np.ones((1, 4), np.float32))
    assert answer.tolist() == [4.0]
    for name, leaf in first(same).items():
        np.testing.assert_array_equal(leaf, tree[name])


def test_each_device_runs_the_program_of_one():
    """By pmap XLA may compile it otherwise for several devices than for one."""
    values = np.random.default_rng(0).random((4, 30, 50), np.float32)
    drawn = jax.random.split(jax.random.key(0), 4)

    def function(x, key):
        return {"a": jnp.tanh(x @ x.T) + jax.random.normal(key, (30, 30)), "b": x.sum()}

    alone = [
        on_each(function, jax.local_devices()[:1])(values[i : i + 1], drawn[i : i + 1]) for i in range(4)
    ]
    together = on_each(function, jax.local_devices()[:4])(values, drawn)
    for name, leaf in together.items():
        assert len(leaf.sharding.device_set) == 4
        np.testing.assert_array_equal(leaf, np.concatenate([one[name] for one in alone]))


def test_given_memory_is_used_again():
    devices = jax.local_devices()[:2]
    given = replicate({"a": np.arange(3.0, dtype=np.float32)}, devices)
    made = on_each(lambda tree: {"a": tree["a"] + 1}, devices, donate=(0,))(given)
    assert given["a"].is_deleted()
    np.testing.assert_array_equal(first(made)["a"], [1, 2, 3])
