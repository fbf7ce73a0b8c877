"""What a program costs, read off its jaxpr: nothing is compiled and no array is allocated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def trace(function: Callable, *shapes: Any) -> core.ClosedJaxpr:
    """The jaxpr of `function` for arguments of these shapes (pytrees of jax.ShapeDtypeStruct or arrays)."""
    return jax.make_jaxpr(function)(*shapes)


def flops(program: core.ClosedJaxpr) -> int:
    """Floating-point operations of all matrix products and convolutions, a multiply-add as two.

    Loops count with their trip counts, the dearest branch of a conditional counts.

    Raises:
      ValueError: a while loop whose trip count is not in the program.
    """
    return _flops(program.jaxpr)


def _flops(jaxpr: core.Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        shapes = [getattr(variable.aval, "shape", ()) for variable in equation.invars]
        out = math.prod(getattr(equation.outvars[0].aval, "shape", ())) if equation.outvars else 0
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            total += 2 * out * math.prod(shapes[0][axis] for axis in contracted)
        elif name == "conv_general_dilated":
            features = shapes[1][parameters["dimension_numbers"].rhs_spec[0]]
            total += 2 * out * math.prod(shapes[1]) // features
        elif name.startswith("dot_product_attention_fwd"):  # cuDNN's; queries [B, T, h, d], keys [B, S, h, d]
            total += 4 * math.prod(shapes[0]) * shapes[1][1]
        elif name == "while":
            if _flops(parameters["body_jaxpr"].jaxpr):
                raise ValueError("a while loop of unknown length multiplies matrices: count its body alone.")
        elif name == "cond":
            total += max(_flops(branch.jaxpr) for branch in parameters["branches"])
        else:
            total += parameters.get("length", 1) * sum(_flops(inner) for inner in _inner(equation))
    return total


def peak_bytes(program: core.ClosedJaxpr) -> int:
    """Bytes of the largest set of intermediates that are alive together, arguments left out.

    The program is walked in order; a value lives from the equation that makes it to the last that reads it,
    and only what a compiler keeps is counted: the results of elementwise operations, broadcasts and reshapes
    that are read once flow into their reader.
    """
    return _peak(program.jaxpr)


def argument_bytes(tree: Any) -> int:
    """Bytes of a pytree of arrays or shapes."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


FUSED = frozenset(
    "add sub mul div neg exp log tanh logistic erf rsqrt sqrt square integer_pow pow max min abs sign floor "
    "select_n convert_element_type broadcast_in_dim reshape squeeze expand_dims transpose iota eq ne lt gt ge "
    "le and or not stop_gradient copy copy_p is_finite clamp sin cos erf_inv slice rev pad".split()
)


def _peak(jaxpr: core.Jaxpr) -> int:
    last: dict[Any, int] = {}
    reads: dict[Any, int] = {}
    for index, equation in enumerate(jaxpr.eqns):
        for variable in equation.invars:
            if not isinstance(variable, core.Literal):
                last[variable] = index
                reads[variable] = reads.get(variable, 0) + 1
    results = {v for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    alive: dict[Any, int] = {}
    peak = 0
    for index, equation in enumerate(jaxpr.eqns):
        for variable in equation.outvars:
            flows = equation.primitive.name in FUSED and reads.get(variable, 0) <= 1
            alive[variable] = 0 if flows and variable not in results else _bytes(variable.aval)
        inside = max((_peak(inner) for inner in _inner(equation)), default=0)
        peak = max(peak, sum(alive.values()) + inside)
        alive = {v: size for v, size in alive.items() if v in results or last.get(v, -1) > index}
    return peak


def _inner(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """The jaxprs in an equation's parameters: of calls, loops and branches."""
    for value in equation.params.values():
        for entry in value if isinstance(value, tuple | list) else (value,):
            if isinstance(entry, core.ClosedJaxpr):
                yield entry.jaxpr
            elif isinstance(entry, core.Jaxpr):
                yield entry


def _bytes(leaf: Any) -> int:
    shape, dtype = getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)
    return math.prod(shape) * (getattr(dtype, "itemsize", 0) or 0)
