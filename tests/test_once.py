"""Functions with arguments given are one object for the same ones, so that jax compiles them once."""

import jax
import numpy as np

from zero1a_jax.once import bound


def test_a_program_is_traced_once_for_the_same_values():
    traced = []

    def scaled(factor, x, *, offset):
        traced.append(factor)
        return factor * x + offset

    for _ in range(3):
        assert jax.jit(bound(scaled, 2.0, offset=1))(np.float32(3)) == 7
    assert traced == [2.0]
    assert jax.jit(bound(scaled, 4.0, offset=1))(np.float32(3)) == 13
    assert traced == [2.0, 4.0]


def test_values_that_are_equal_and_of_another_kind_are_others():
    made = [bound(max, value) for value in (1, 1.0, True)]
    assert len({id(function) for function in made}) == 3
    assert bound(max, key=abs) is not bound(max, key=len)


def test_arrays_are_the_same_where_they_are_one_object():
    one, other = np.ones(2), np.ones(2)
    assert bound(np.add, one) is bound(np.add, one)
    assert bound(np.add, one) is not bound(np.add, other)
