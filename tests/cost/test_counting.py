"""Operations and memory of programs, against what one can work out by hand."""

import jax
import jax.numpy as jnp
import pytest

from zero1a_jax.cost import counting


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def flops(function, *arguments):
    return dict(counting.flops(counting.trace(function, *arguments)))


def test_products_and_convolutions():
    assert flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), shape(2, 3, 5), shape(2, 5, 7)) == {
        "float32": 2 * 2 * 3 * 5 * 7
    }

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        )

    x, kernel = shape(1, 8, 8, 6, dtype=jnp.bfloat16), shape(3, 3, 3, 4, dtype=jnp.bfloat16)
    assert flops(convolve, x, kernel) == {"bfloat16": 2 * (4 * 4 * 4) * (3 * 3 * 3)}


def test_loops_branches_and_what_nobody_reads():
    square = shape(4, 4)
    one = 2 * 4**3

    def loops(a):
        def twice(x, _):
            return jax.lax.fori_loop(0, 2, lambda i, y: jax.jit(jnp.matmul)(y, a), x), None

        _ = a @ a  # dead
        return jax.lax.scan(twice, a, None, length=5)[0]

    assert flops(loops, square) == {"float32": 10 * one}
    assert flops(lambda a: jax.lax.map(lambda row: a @ row, a), square) == {"float32": 4 * 2 * 4**2}
    branch = jax.lax.cond
    assert flops(lambda a: branch(a[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, a), square) == {
        "float32": 2 * one
    }
    with pytest.raises(ValueError, match="unknown length"):
        flops(lambda a: jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ x, a), square)


def test_memory_is_what_lives_together():
    def peak(function, *arguments):
        return counting.peak_bytes(counting.trace(function, *arguments))

    x = shape(8, 8)
    size = 8 * 8 * 4
    assert peak(lambda a: a @ a @ a @ a, x) == 2 * size  # a product and the one before it
    assert peak(lambda a: jnp.tanh(a @ a) + 1.0, x) == 2 * size  # the tanh flows into the sum

    def kept(a):
        first = a @ a
        return first + (a @ a @ a)

    assert peak(kept, x) == 3 * size

    def loop(a):
        return jax.lax.map(lambda row: jnp.outer(row, row) @ a, a).sum(0)

    # All products of the loop, and inside it an outer product and its product with a.
    assert 8 * size + size <= peak(loop, x) <= 8 * size + 2 * size
    assert counting.bytes_of({"a": x, "b": shape(3, dtype=jnp.bfloat16)}) == size + 6
    assert counting.count_of([x, shape(3)]) == 67
