"""The texture prior's colours corrected by those that the portrait shows. [D]

The network says blurred colours with a tint of its own, most so of rare people. Where the portrait shows a
surface, how far it is off is known; like places of the same material are off by as much.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from zero1a_jax.types import Array

_FLOOR = 0.03  # added before the logarithm: black is no infinitely deep colour
# Of each pass, as standard deviations: metres, log lightness, log tint, log error up to which portrait and
# network speak of the same; so many texels' worth of trust that stand against a change; and the share that
# counts of a change in lightness: light falls differently on other sides.
_PASSES = ((0.15, 0.5, 0.15, 0.7, 0.3, 0.5), (0.012, 0.7, 0.3, 0.8, 4.0, 1.0))
_TINT = (0.15, 0.7, 0.04, 1.0)


def matched(colours: Array, places: Array, shown: Array, trust: Array, source: Array) -> Array:
    """Colours [N, 3] in 0..1 that agree with the portrait's where it shows the surface, alike elsewhere.

    Args:
      colours: said by the network. places: [N, 3] metres on the template, scaled where directions differ.
      shown: [N, 3], of the portrait. trust: [N] in 0..1.
      source: [M] indices of what others learn from: time goes with M N.
    """
    target, now, trust = jnp.log(shown + _FLOOR), jnp.log(colours + _FLOOR), trust[source]
    for *scale, error, against, light in _PASSES:
        off, key = (target - now)[source], _key(places, now, scale)
        sure = trust * jnp.exp(-0.5 * jnp.sum((off / error) ** 2, -1))
        total, weight = _gathered(key[source], key, off, sure)
        change = total / (weight + against)
        now = now + change - (1.0 - light) * jnp.mean(change, -1, keepdims=True)
    # One material has one tint, lit or not.
    *scale, against = _TINT
    mean, tints = jnp.mean(now, -1, keepdims=True), target - jnp.mean(target, -1, keepdims=True)
    total, weight = _gathered(
        _key(places, target, scale)[source], _key(places, now, scale), tints[source], trust
    )
    now = mean + (total + against * (now - mean)) / (weight + against)
    return jnp.clip(jnp.exp(now) - _FLOOR, 0.0, 1.0)


def _key(places: Array, colours: Array, scale: Sequence[float]) -> Array:
    """[N, 7]: places and log colours [N, 3] in units of `scale`: metres, lightness, tint."""
    mean = jnp.mean(colours, -1, keepdims=True)
    return jnp.concatenate([places / scale[0], mean / scale[1], (colours - mean) / scale[2]], -1)


def _gathered(source: Array, key: Array, values: Array, trust: Array) -> tuple[Array, Array]:
    """Sums [N, 3] of values [M, 3] of what is near in keys [M, 7] and [N, 7], and of their weights [N, 1]."""
    values = jnp.concatenate([values, jnp.ones_like(values[:, :1])], -1) * trust[:, None]
    squares = jnp.sum(source**2, -1)

    def one(at: Array) -> Array:
        return jnp.exp(jnp.minimum(source @ at - 0.5 * (squares + jnp.sum(at**2)), 0.0)) @ values

    with jax.default_matmul_precision("highest"):
        total = jax.lax.map(one, key, batch_size=256)
    return total[:, :3], total[:, 3:]
