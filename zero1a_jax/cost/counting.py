"""What a program costs, read off its jaxpr: nothing is compiled and no array is allocated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# What a compiler computes inside the operation that reads it, so that it never lies in memory.
FUSED = frozenset(
    "abs add and broadcast_in_dim clamp convert_element_type copy cos div eq erf exp expand_dims floor ge gt "
    "integer_pow iota is_finite le log logistic lt max min mul ne neg not or pad pow reshape rev rsqrt "
    "select_n sign sin slice sqrt square squeeze stop_gradient sub tanh transpose".split()
)


def trace(function: Callable, *shapes: Any, **named: Any) -> core.ClosedJaxpr:
    """The jaxpr of `function` for arguments of these shapes (pytrees of jax.ShapeDtypeStruct or arrays)."""
    return jax.make_jaxpr(function)(*shapes, **named)


def flops(program: core.ClosedJaxpr) -> Counter[str]:
    """Floating-point operations of all matrix products and convolutions by the type of their operands.

    A multiply-add counts as two. Loops count with their trip counts, of a conditional the dearest branch,
    of the top level only what the results need.

    Raises:
      ValueError: a while loop that multiplies matrices; its trip count is not in the program.
    """
    return _flops(program.jaxpr)


def _flops(jaxpr: core.Jaxpr) -> Counter[str]:
    total: Counter[str] = Counter()
    needed = {variable for variable in jaxpr.outvars if isinstance(variable, core.Var)}
    for equation in reversed(jaxpr.eqns):
        if not equation.effects and needed.isdisjoint(equation.outvars):
            continue
        needed.update(variable for variable in equation.invars if isinstance(variable, core.Var))
        total += _equation_flops(equation)
    return total


def _equation_flops(equation: core.JaxprEqn) -> Counter[str]:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        left: Any = equation.invars[0].aval
        return _products(equation, math.prod(left.shape[axis] for axis in contracted))
    if name == "conv_general_dilated":
        kernel: Any = equation.invars[1].aval
        features = kernel.shape[parameters["dimension_numbers"].rhs_spec[0]]
        return _products(equation, math.prod(kernel.shape) // features)
    if name.startswith("dot_product_attention_fwd"):  # cuDNN's: queries [B, T, h, d], keys [B, S, h, d]
        keys: Any = equation.invars[1].aval
        return _products(equation, 2 * keys.shape[1])
    inner = [_flops(jaxpr) for jaxpr in core.jaxprs_in_params(parameters)]
    if name == "while" and any(inner):
        raise ValueError("a while loop of unknown length multiplies matrices: count what it repeats alone.")
    if name == "cond":
        return max(inner, key=lambda count: count.total(), default=Counter())
    times = parameters["length"] if name == "scan" else 1
    return Counter({dtype: times * n for dtype, n in sum(inner, Counter()).items()})


def _products(equation: core.JaxprEqn, length: int) -> Counter[str]:
    """Sums of `length` products for every number of the first result."""
    out: Any = equation.outvars[0].aval
    operands: list[Any] = [variable.aval for variable in equation.invars[:2]]
    dtype = jnp.result_type(*(operand.dtype for operand in operands))
    return Counter({str(dtype): 2 * math.prod(out.shape) * length})


def peak_bytes(program: core.ClosedJaxpr) -> int:
    """Bytes of the largest set of intermediates that are alive together, arguments left out.

    The program is walked in order: a value lives from the equation that makes it to the last that reads it.
    The result of an elementwise operation that is read once takes no room, since compilers fuse it into its
    reader; what it is made of lives until then. What a compiler adds (copies into other layouts, workspace of
    convolutions) is not in it.
    """
    return _peak(program.jaxpr)


def _peak(jaxpr: core.Jaxpr) -> int:
    last, fused = _lives(jaxpr)
    alive: dict[core.Var, int] = {}
    peak = 0
    for index, equation in enumerate(jaxpr.eqns):
        results = [v for v in equation.outvars if v in last]
        made = {v: 0 if v in fused else bytes_of(v.aval) for v in results}
        inside = max((_peak(inner) for inner in core.jaxprs_in_params(equation.params)), default=0)
        # A loop holds its results while its body runs; a call's results are among what lives inside it.
        loop = equation.primitive.name in ("scan", "while")
        beside = sum(made.values()) + inside if loop else max(sum(made.values()), inside)
        peak = max(peak, sum(alive.values()) + beside)
        alive = {variable: size for variable, size in (alive | made).items() if last[variable] > index}
    return peak


def _lives(jaxpr: core.Jaxpr) -> tuple[dict[core.Var, int], set[core.Var]]:
    """The index of the last equation that needs a value, and the values that are fused into their reader."""
    last: dict[core.Var, int] = {v: len(jaxpr.eqns) for v in jaxpr.outvars if isinstance(v, core.Var)}
    reads = Counter(v for equation in jaxpr.eqns for v in equation.invars if isinstance(v, core.Var))
    fused: set[core.Var] = set()
    for index, equation in reversed(list(enumerate(jaxpr.eqns))):
        until = index
        if equation.primitive.name in FUSED:
            out = equation.outvars[0]
            if reads[out] == 1 and last[out] < len(jaxpr.eqns):
                fused.add(out)
                until = last[out]
        for variable in equation.invars:
            if isinstance(variable, core.Var):
                last[variable] = max(last.get(variable, until), until)
    return last, fused


def bytes_of(tree: Any) -> int:
    """Bytes of a pytree of arrays or shapes; keys and the like count as nothing."""
    sizes = (math.prod(x.shape) * getattr(x.dtype, "itemsize", 0) for x in jax.tree.leaves(tree))
    return sum(sizes)


def count_of(tree: Any) -> int:
    """How many numbers a pytree of arrays or shapes holds."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
