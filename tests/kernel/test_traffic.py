"""Bytes a kernel moves: each element once, and no more than is accessed."""

import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel.traffic import bytes_moved


def moved(fn, *specs):
    exe = gc.compile(fn, *specs)
    return bytes_moved(exe.compilation.loops[exe.name].calls[-1].kernel)  # wrapping negative indices is a kernel before


TABLE, MATRIX = gc.spec((10000, 8)), gc.spec((40, 77))


@pytest.mark.parametrize(
    ("fn", "specs", "elements"),
    [
        (lambda x: gnp.tanh(x), [MATRIX], 2 * 40 * 77),
        (lambda x: x * x + x, [MATRIX], 2 * 40 * 77),
        (lambda x: gnp.exp(x - x.max(1, keepdims=True)).sum(1), [MATRIX], 40 * 77 + 40),
        (lambda x, i: x[i] * 2, [TABLE, gc.spec((4,), "int32")], 2 * 4 * 8 + 4),
        (lambda x: x[2:4, ::2] * 2, [MATRIX], 2 * 2 * 39),
        (lambda a, b: a @ b, [gc.spec((20, 50)), gc.spec((50, 33))], 20 * 50 + 50 * 33 + 20 * 33),
    ],
)
def test_bytes_moved(fn, specs, elements):
    assert moved(fn, *specs) == 4 * elements


def test_the_cost_of_a_line_counts_what_is_gathered():
    exe = gc.compile(lambda x, i: x[i], TABLE, gc.spec((4,), "int64"))
    assert 2 * 4 * 32 + 4 * 8 <= exe.cost.bytes < 1000
    assert sum(moved for _, moved in exe.cost.by_line.values()) < 10000
