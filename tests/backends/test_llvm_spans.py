"""Loads of spans: lanes that step over elements, padding, short loops that are written out; against the interpreter."""

from itertools import product

import numpy as np
import pytest

from graphc.core.dtypes import DType, bool_, float32, float64, int8
from graphc.kernel.affine import NOTHING
from graphc.kernel.ir import (
    Binary,
    Buffer,
    Compare,
    Const,
    Expr,
    For,
    Kernel,
    Let,
    Load,
    Param,
    Select,
    Stmt,
    Store,
    Var,
    index,
)
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.nests import nest
from graphc.kernel.schedule.traverse import expressions
from graphc_llvm.builder import Builder
from graphc_llvm.expanded import expanded
from graphc_llvm.interior import interior
from graphc_llvm.recipes import schedule
from graphc_llvm.spans import compared, span
from graphc_llvm.values import Linear
from tests.backends.llvm_kernels import Cases, agree, plus, times

L, ROW = Var("lane"), Var("row")


def kernel(x: Buffer, y: Buffer, value: Expr, extent: int, rows: int) -> Kernel:
    """y[row, lane] = value"""
    body = For(L, index(extent), "vector", (Store(y, (ROW, L), value),))
    return Kernel("spans", (Param(x, "in"), Param(y, "out")), (For(ROW, index(rows), "serial", (body,)),))


def numbers(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 127 + 1).reshape(shape).astype(dtype.numpy)


@pytest.mark.parametrize("dtype", [float32, float64, int8, bool_], ids=str)
@pytest.mark.parametrize("step", [-5, -4, -3, -2, -1, 2, 3, 4, 5])
def test_steps(step: int, dtype: DType) -> None:
    cases = Cases()
    for extent in (2, 5, 8, 13, 16, 31):
        length = (extent - 1) * abs(step) + 1  # not an element more: what lies outside may not be read
        x, y = Buffer("x", dtype, (3, length)), Buffer("y", dtype, (3, extent))
        at = times(L, step) if step > 0 else Binary("sub", index(length - 1), times(L, -step))
        cases.add(kernel(x, y, Load(x, (ROW, at)), extent, 3), [numbers((3, length), dtype)])
    cases.check(1)


@pytest.mark.parametrize("step", range(1, 5))
def test_spans_stay_inside(step: int) -> None:
    for active, lanes, sign in product(range(1, 17), (4, 16), (1, -1)):
        if active > lanes:
            continue
        found = span(sign * step, active, lanes)
        assert found.length == (active - 1) * step + 1
        ends = [start + min(lanes, found.length) for start in found.starts]
        assert found.starts[0] == 0 and max(ends) == found.length
        assert all(any(start <= at < end for start, end in zip(found.starts, ends)) for at in found.positions)


def clamped(at: Expr, extent: int) -> Expr:
    return Binary("max", Binary("min", at, index(extent - 1)), index(0))


def inside(at: Expr, low: int, high: int) -> Expr:
    return Binary("and", Compare("ge", at, index(low)), Compare("lt", at, index(high)))


@pytest.mark.parametrize("dtype", [float32, int8], ids=str)
@pytest.mark.parametrize("offset", [-70_000, -40, -3, -1, 0, 1, 2, 7, 40, 70_000])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_padding(step: int, offset: int, dtype: DType) -> None:
    fill = Const(9, dtype) if dtype is int8 else Const(9.0, dtype)
    cases = Cases()
    for extent, length in ((16, 16), (14, 14), (13, 30), (16, 5), (7, 1)):
        x, y = Buffer("x", dtype, (4, length)), Buffer("y", dtype, (4, extent))
        at = plus(plus(times(L, step), index(offset)), times(ROW, 3))
        value = Select(inside(at, 0, length), Load(x, (ROW, clamped(at, length))), fill)
        cases.add(kernel(x, y, value, extent, 4), [numbers((4, length), dtype)])
        other = Select(Compare("lt", at, index(0)), fill, Select(Compare("ge", at, index(length)), fill, value.on_true))
        cases.add(kernel(x, y, other, extent, 4), [numbers((4, length), dtype)])
    cases.check(1)


def test_a_condition_that_allows_more_than_the_bounds_keeps_the_clamp() -> None:
    x, y = Buffer("x", float32, (4, 6)), Buffer("y", float32, (4, 16))
    at = Binary("sub", L, index(5))
    for cond in (
        Compare("ge", L, index(3)),
        inside(at, 0, 7),
        Compare("lt", Load(x, (ROW, index(0))), Const(9.0, float32)),
    ):
        value = Select(cond, Load(x, (ROW, clamped(at, 6))), Const(-1.0, float32))
        agree(kernel(x, y, value, 16, 4), [numbers((4, 6), float32)])


def test_a_padded_load_that_is_used_otherwise_too() -> None:
    x, y = Buffer("x", float32, (1, 6)), Buffer("y", float32, (2, 16))
    at, name = Binary("sub", L, index(5)), Var("v", float32)
    let = Let(name, Load(x, (index(0), clamped(at, 6))))
    kept = Store(y, (index(0), L), Select(inside(at, 0, 6), name, Const(0.0, float32)))
    plain = Store(y, (index(1), L), name)
    for body in ((let, kept, plain), (let, plain, kept)):
        loop = For(L, index(16), "vector", body)
        agree(Kernel("twice", (Param(x, "in"), Param(y, "out")), (loop,)), [numbers((1, 6), float32)])


@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_lanes_are_compared_by_their_numbers(op: str) -> None:
    means = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal}
    for first, step in ((-3, 1), (0, 2), (8, -2), (1 << 40, 3), (-(1 << 40), 3)):
        mask = compared(Builder(set()), op, Linear(first, (), step, 8), 8)
        lanes = first + step * np.arange(8)
        wanted = means[op](lanes, 0) if op in means else lanes != 0
        assert mask == "<" + ", ".join(f"i1 {str(bool(bit)).lower()}" for bit in wanted) + ">"
    assert compared(Builder(set()), op, Linear(0, (), 1 << 12, 8), 8) is None


P = Var("p")


def interleaving(count: int, rows: int, extent: int) -> Kernel:
    """out[row, i, p] is element i of operand p."""
    i = Var("i")
    buffers = [Buffer(f"x{n}", float32, (rows, extent)) for n in range(count)]
    out = Buffer("out", float32, (rows, extent, count))
    value: Expr = Load(buffers[-1], (ROW, i))
    for n in reversed(range(count - 1)):
        value = Select(Compare("lt", P, index(n + 1)), Load(buffers[n], (ROW, i)), value)
    body: For | Store = Store(out, (ROW, i, P), value)
    for var, size in ((P, count), (i, extent), (ROW, rows)):
        body = For(var, index(size), "parallel", (body,))
    return Kernel("interleave", (*(Param(b, "in") for b in buffers), Param(out, "out")), (body,))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_operands_are_interleaved(count: int) -> None:
    cases = Cases()
    for extent in (2, 7, 14, 16, 28, 40):
        given = [numbers((300, extent), float32) + n for n in range(count)]
        cases.add(schedule(interleaving(count, 300, extent)).kernel, given)
    cases.check(2)


def test_each_copy_reads_one_operand() -> None:
    plain = interleaving(4, 3, 16)
    (outer,) = plain.body
    assert isinstance(outer, For)
    axes, leaf = expanded(*nest(outer), Names(plain))
    assert [axis.extent for axis in axes] == [3, 16]
    stores = [statement for statement in leaf if isinstance(statement, Store)]
    assert [type(store.value) for store in stores] == [Load] * 4
    assert expanded(*nest(interleaved_far()), Names(plain))[0] == nest(interleaved_far())[0]


def interleaved_far() -> For:
    """A loop too long to be written out."""
    (outer,) = interleaving(5, 3, 16).body
    assert isinstance(outer, For)
    return outer


def windowed(rows: int, extent: int, stride: int) -> Kernel:
    """out[row, i] is the sum of three neighbours of x, padded, `stride` apart."""
    i = Var("i")
    x, out = Buffer("x", float32, (rows, extent * stride)), Buffer("out", float32, (rows, extent))
    lets: list[Stmt] = []
    total: Expr = Const(0.0, float32)
    for tap in range(3):
        at = plus(times(i, stride), index(tap))
        read, value = Var(f"read{tap}", float32), Var(f"value{tap}", float32)
        lets.append(Let(read, Load(x, (ROW, clamped(Binary("sub", at, index(1)), extent * stride)))))
        twice = Var(
            f"twice{tap}", float32
        )  # what is between the load and the select may be anything where it is not taken
        lets.append(Let(twice, Binary("add", read, read)))
        lets.append(Let(value, Select(inside(at, 1, extent * stride + 1), twice, Const(0.0, float32))))
        total = Binary("add", total, value)
    body: tuple[Stmt, ...] = (*lets, Store(out, (ROW, i), total))
    for var, size in ((i, extent), (ROW, rows)):
        body = (For(var, index(size), "parallel", body),)
    return Kernel("windowed", (Param(x, "in"), Param(out, "out")), body)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_interior_is_not_padded(stride: int) -> None:
    cases = Cases()
    for extent in (3, 16, 31, 34, 35, 50, 70):
        cases.add(schedule(windowed(100, extent, stride)).kernel, [numbers((100, extent * stride), float32)])
    cases.check(2)
    inner = interior(Var("i"), 70, nest_of(windowed(100, 70, stride)), NOTHING, 32)
    assert inner is not None and (inner.begin, inner.end) == (1, 69 if stride == 1 else 70)
    assert not any(isinstance(e, Select) for s in inner.body for e in expressions(s))


def nest_of(kernel: Kernel) -> tuple[Stmt, ...]:
    (outer,) = kernel.body
    assert isinstance(outer, For)
    return nest(outer)[1]
