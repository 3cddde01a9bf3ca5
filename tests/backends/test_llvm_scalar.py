"""Every scalar operation of the loop IR, on values at the edges of its dtype, in one lane and in several."""

from typing import get_args

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.kernel import ir
from graphc.kernel.ir import (
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    For,
    Kernel,
    Load,
    Param,
    Select,
    Store,
    Unary,
    Var,
    index,
)
from graphc_llvm import expressions, statements
from tests.backends.llvm_kernels import Cases

I = Var("i")


# Nothing is computed in half types; their casts are in tests/bfloat16 and tests/float16.
COMPUTED = tuple(dtype for dtype in dtypes.ALL if not dtype.is_half)


def test_every_node_of_the_loop_ir_is_emitted() -> None:
    assert set(expressions._EMIT) == set(get_args(ir.Expr))
    assert set(statements._EMIT) == set(get_args(ir.Stmt))


def edges(dtype: DType) -> np.ndarray:
    """Values where operations go wrong."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        values = {info.min, info.min + 1, 0, 1, 2, 3, 7, info.max // 3, info.max - 1, info.max}
        if info.min < 0:
            values |= {-1, -2, -7}
        return np.array(sorted(values), dtype.numpy)
    info = np.finfo(dtype.numpy)
    positive = [0.0, info.smallest_subnormal, info.tiny, 0.49999997, 0.5, 1.0, 1.5, 2.5, 127.5, 255.9, 3e9, 1e19]
    positive += [info.max, np.inf]
    with np.errstate(over="ignore"):
        return np.array([*positive, *(-x for x in positive), np.nan], dtype.numpy)


def pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(edges(dtype), edges(dtype))
    return x.reshape(-1).copy(), y.reshape(-1).copy()


def elementwise(name: str, result: DType, inputs: list[np.ndarray], vector: bool, value) -> Kernel:
    """out[i] = value(in0[i], in1[i], ...), in vector loops of 16 (with a tail) or serially."""
    n = len(inputs[0])
    buffers = [Buffer(f"x{k}", dtypes.dtype(a.dtype), (n,)) for k, a in enumerate(inputs)]
    out = Buffer("out", result, (n,))
    params = (*(Param(b, "in") for b in buffers), Param(out, "out"))

    def store(at: Expr) -> Store:
        return Store(out, (at,), value(*(Load(b, (at,)) for b in buffers)))

    if not vector:
        return Kernel(name, params, (For(I, index(n), "serial", (store(I),)),))
    lane, tail = Var("lane"), Var("tail")
    at = Binary("add", Binary("mul", I, index(16)), lane)
    body = (
        For(I, index(n // 16), "serial", (For(lane, index(16), "vector", (store(at),)),)),
        For(tail, index(n % 16), "vector", (store(Binary("add", index(n // 16 * 16), tail)),)),
    )
    return Kernel(name, params, body)


BINARY = [
    (op, dtype)
    for op in ("add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor")
    for dtype in COMPUTED
    if not (dtype.is_bool and op not in ("and", "or", "xor"))
    and not (dtype.is_float and op in ("and", "or", "xor", "rem"))
]


@pytest.mark.parametrize("vector", [False, True], ids=["serial", "vector"])
def test_binary(vector: bool) -> None:
    cases = Cases()
    for op, dtype in BINARY:
        x, y = pairs(dtype)
        cases.add(elementwise(f"{op}_{dtype}", dtype, [x, y], vector, lambda a, b, op=op: Binary(op, a, b)), [x, y])
    cases.check()


@pytest.mark.parametrize("vector", [False, True], ids=["serial", "vector"])
def test_constant_divisors(vector: bool) -> None:
    cases = Cases()
    for dtype in (dtypes.int8, dtypes.int32, dtypes.int64, dtypes.uint16):
        x = edges(dtype)
        for divisor in (0, 1, 3, 16) + ((-1, -5) if dtype.kind == "int" else ()):
            for op in ("div", "rem"):
                kernel = elementwise(
                    op, dtype, [x], vector, lambda a, op=op, d=divisor: Binary(op, a, Const(d, a.dtype))
                )
                cases.add(kernel, [x])
    cases.check()


@pytest.mark.parametrize("op", ["shl", "shr"])
def test_shifts(op: str) -> None:
    cases = Cases()
    for dtype in dtypes.INTEGERS:
        x, _ = pairs(dtype)
        y = (np.arange(len(x)) % dtype.bits).astype(dtype.numpy)
        cases.add(elementwise(op, dtype, [x, y], True, lambda a, b: Binary(op, a, b)), [x, y])
    cases.check()


@pytest.mark.parametrize("op", ["neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint", "not"])
def test_unary(op: str) -> None:
    cases = Cases()
    for dtype in COMPUTED:
        if (op == "not") == dtype.is_float or (dtype.is_bool and op != "not") or (op == "sqrt" and not dtype.is_float):
            continue
        if dtype.is_integer and op in ("floor", "ceil", "trunc", "rint"):
            continue
        x = edges(dtype)
        for vector in (False, True):
            cases.add(elementwise(f"{op}_{dtype}", dtype, [x], vector, lambda a: Unary(op, a)), [x])
    cases.check()


@pytest.mark.parametrize("op", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_compare_and_select(op: str) -> None:
    cases = Cases()
    for dtype in [d for d in COMPUTED if not d.is_bool]:
        x, y = pairs(dtype)
        cases.add(elementwise(op, dtypes.bool_, [x, y], True, lambda a, b: Compare(op, a, b)), [x, y])
        cases.add(elementwise(op, dtype, [x, y], True, lambda a, b: Select(Compare(op, a, b), b, a)), [x, y])
    cases.check()


@pytest.mark.parametrize("source", COMPUTED, ids=str)
def test_cast(source: DType) -> None:
    cases = Cases()
    x = edges(source)
    for target in COMPUTED:
        for vector in (False, True):
            kernel = elementwise(f"cast_{source}_{target}", target, [x], vector, lambda a, t=target: Cast(a, t))
            cases.add(kernel, [x])
    cases.check()


def test_bitcast() -> None:
    cases = Cases()
    for source, target in (
        (dtypes.float32, dtypes.uint32),
        (dtypes.int64, dtypes.float64),
        (dtypes.int32, dtypes.uint32),
    ):
        x = edges(source)
        x = x[~np.isnan(x)] if source.is_float else x
        cases.add(elementwise("bitcast", target, [x], True, lambda a, t=target: Bitcast(a, t)), [x])
    cases.check()


@pytest.mark.parametrize("dtype", [d for d in COMPUTED if d.is_float], ids=str)
def test_fma_rounds_once(dtype: DType) -> None:
    cases = Cases()
    rng = np.random.default_rng(7)
    x, y = (rng.standard_normal(40).astype(dtype.numpy) for _ in range(2))
    z = (-x * y * (1 + rng.standard_normal(40) * 1e-7)).astype(dtype.numpy)
    kernel = elementwise("fma", dtype, [x, y, z], True, Fma)
    cases.add(kernel, [x, y, z])
    cases.check()


def test_multiply_add_is_not_contracted() -> None:
    cases = Cases()
    rng = np.random.default_rng(8)
    x, y, z = (rng.standard_normal(64).astype(np.float32) for _ in range(3))
    kernel = elementwise(
        "mul_add", dtypes.float32, [x, y, z], True, lambda a, b, c: Binary("add", Binary("mul", a, b), c)
    )
    cases.add(kernel, [x, y, z])
    cases.check()
