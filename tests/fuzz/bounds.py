"""What any implementation of a graph must give for some inputs, and how far it may be away.

A graph is run several times: as the interpreter would, and with rounding errors put in by hand wherever an
implementation may round differently. The distance of the runs, with a margin, bounds what is right. An output that all
operations up to it leave exact (moves, integers, correctly rounded arithmetic) must be right to the bit. Where the runs
disagree by a jump (a comparison that hangs on a rounding error) the bound is wide: no false alarms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import graphc.numpy as gnp
from graphc.core.dtypes import dtype, holds_floats
from graphc.graph.ir import Attrs, Graph, Op, TensorType, Value
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.elementwise import TRANSCENDENTAL

# Ops that round in ways an implementation may choose; all others are exact on exact operands.
_SUMS = frozenset(
    {
        "reduce_sum",
        "dot_general",
        "conv_general",
        "reduce_window",
        "scatter_add",
        "scatter_mul",
        "cumsum",
        "cumprod",
        "linear_recurrence",
    }
    | {"cholesky", "triangular_solve", "lu", "qr", "svd", "eigh", "csr_dot"}
)  # errors are relative to the terms, not to the result
INEXACT = _SUMS | TRANSCENDENTAL | {"reduce_prod", "scatter_mul"}
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "sqrt", "rem", "cast"})  # rounded once, the same everywhere
_ROUNDED_BY_PARTS = frozenset({"mul", "div", "abs", "sqrt"})  # of complex numbers: more than one operation each
_RUNS = 4
_ULPS = 6  # largest rounding error put in by hand per inexact operation
_MARGIN = 32  # how many times the distance of the runs an implementation may be away


@dataclass(frozen=True)
class Bounded:
    """One array, its versions with rounding errors, and whether it is `exact`: no operation so far may round freely."""

    array: np.ndarray
    noisy: tuple[np.ndarray, ...]
    exact: bool

    @property
    def tolerance(self) -> float:
        """How far an element may be away; infinite where nothing can be said."""
        if self.exact or self.array.size == 0:
            return 0.0
        if not _rounds(self.array):
            return 0.0 if all(np.array_equal(self.array, x) for x in self.noisy) else np.inf
        with np.errstate(all="ignore"):
            wide = _wide(self.array)
            distance = float(max(np.max(np.abs(wide - _wide(x))) for x in self.noisy))
            bound = _MARGIN * distance + 8 * _eps(self.array) * float(np.max(np.abs(wide)))
        return bound if np.isfinite(bound) else np.inf

    @property
    def is_bounded(self) -> bool:
        """Whether there is anything to compare with."""
        return self.tolerance < np.inf

    def differs(self, found: np.ndarray) -> str:
        """What is wrong with `found`; empty when nothing is."""
        array = self.array
        if found.shape != array.shape or found.dtype != array.dtype:
            return f"is {found.dtype}{list(found.shape)}, not {array.dtype}{list(array.shape)}"
        with np.errstate(all="ignore"):
            same = (found == array) | ((found != found) & (array != array))
            if _rounds(array):
                same |= np.abs(_wide(found) - _wide(array)) <= self.tolerance
        if self.tolerance == np.inf or np.all(same):
            return ""
        at = tuple(int(i) for i in np.argwhere(~same)[0])
        count = int(np.sum(~same))
        return (
            f"{count} of {array.size} elements of {array.dtype}{list(array.shape)} differ, the first at {list(at)}: "
            f"{found[at]!r}, expected {array[at]!r} within {self.tolerance:.1e}"
        )


def expected(graph: Graph, inputs: Sequence[np.ndarray], reordered: bool = False) -> list[Bounded]:
    """The outputs of `graph` for these inputs, with their bounds.

    reordered: for another graph that gives the same with its operations in another order. Then nothing is exact.
    """
    rng = np.random.default_rng(0)
    given = [Bounded(np.asarray(x), (np.asarray(x),) * _RUNS, True) for x in inputs]
    with np.errstate(all="ignore"):
        return _evaluate(graph, given, rng, INEXACT | ARITHMETIC if reordered else INEXACT)


def _evaluate(
    graph: Graph, inputs: Sequence[Bounded], rng: np.random.Generator, inexact: frozenset[str]
) -> list[Bounded]:
    known: dict[Value, Bounded] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        results = _apply(node.op, node.attrs, [known[v] for v in node.operands], rng, inexact)
        known.update(zip(node.results, results, strict=True))
    return [known[v] for v in graph.outputs]


def _apply(
    op: Op, attrs: Attrs, operands: Sequence[Bounded], rng: np.random.Generator, inexact: frozenset[str]
) -> list[Bounded]:
    inner = getattr(attrs, "graph", None)
    if isinstance(inner, Graph):
        return _evaluate(inner, operands, rng, inexact)
    if isinstance(attrs, ScanAttrs | WhileAttrs):
        return _loop(attrs, operands, rng, inexact)
    if isinstance(attrs, BranchAttrs):
        chosen = min(max(int(operands[0].array), 0), len(attrs.branches) - 1)
        return _evaluate(attrs.branches[chosen], operands[1:], rng, inexact)
    if op.name == "bitcast" and _rounds(operands[0].array):
        operands = [_with_any_nan(operands[0])]
    plain = [np.asarray(x) for x in op.meaning(attrs, *(x.array for x in operands))]
    by_parts = any(x.dtype.kind == "c" for x in (*plain, *(x.array for x in operands)))
    rounds = op.name in (inexact | _ROUNDED_BY_PARTS if by_parts else inexact) and _rounds(plain[0])
    if not rounds and all(x.exact for x in operands):
        return [Bounded(x, (x,) * _RUNS, True) for x in plain]
    runs = [_noisy(op, attrs, [x.noisy[i] for x in operands], rounds, rng) for i in range(_RUNS)]
    return [Bounded(x, noisy, False) for x, noisy in zip(plain, zip(*runs, strict=True), strict=True)]


def _with_any_nan(x: Bounded) -> Bounded:
    """Which NaN an operation gives is its own affair (docs/edge_cases.md): the bits of one may be any."""
    if not np.any(x.array != x.array):
        return x
    noisy = tuple(np.where(y != y, np.copysign(y, 1 - 2 * (i % 2)), y) for i, y in enumerate(x.noisy))
    return Bounded(x.array, noisy, False)


def _loop(
    attrs: ScanAttrs | WhileAttrs, operands: Sequence[Bounded], rng: np.random.Generator, inexact: frozenset[str]
) -> list[Bounded]:
    """A loop, iteration by iteration; how many there are is taken for exact."""
    body, carries = attrs.body, attrs.num_carries
    is_scan = isinstance(attrs, ScanAttrs)
    first = len(operands) - len(body.inputs)
    captures = operands[first : first + attrs.num_captures]
    found = list(operands[first + attrs.num_captures : first + attrs.num_captures + carries])
    xs = operands[first + attrs.num_captures + carries :]
    length = attrs.length if is_scan else attrs.bound or 0
    count = min(max(int(operands[0].array), 0), length) if first else length
    rows: list[list[Bounded]] = [_zeros(body.output_types[carries:]) for _ in range(length)]
    steps = reversed(range(count)) if is_scan and attrs.reverse else itertools.count()
    made = 0
    for t in steps:
        done = made == count if is_scan else not _evaluate(attrs.cond, [*captures, *found], rng, inexact)[0].array
        if done:
            break
        results = _evaluate(body, [*captures, *found, *(_row(x, t) for x in xs)], rng, inexact)
        found = results[:carries]
        if length:
            rows[t] = results[carries:]
        made += 1
    ys = [stacked([row[k] for row in rows], type) for k, type in enumerate(body.output_types[carries:])]
    last = np.array(made)
    return [*found, *ys, *([] if is_scan or attrs.bound is None else [Bounded(last, (last,) * _RUNS, True)])]


def _zeros(types: Sequence[TensorType]) -> list[Bounded]:
    arrays = [np.zeros(type.shape, type.dtype.numpy) for type in types]
    return [Bounded(x, (x,) * _RUNS, True) for x in arrays]


def _row(x: Bounded, t: int) -> Bounded:
    return Bounded(np.asarray(x.array[t]), tuple(np.asarray(each[t]) for each in x.noisy), x.exact)


def stacked(rows: Sequence[Bounded], type: TensorType) -> Bounded:
    if not rows:
        (empty,) = _zeros([type.with_shape((0, *type.shape))])
        return empty
    noisy = tuple(np.stack([row.noisy[i] for row in rows]) for i in range(_RUNS))
    return Bounded(np.stack([row.array for row in rows]), noisy, all(row.exact for row in rows))


def _noisy(
    op: Op, attrs: Attrs, operands: Sequence[np.ndarray], rounds: bool, rng: np.random.Generator
) -> list[np.ndarray]:
    if rounds and op.kind == "linalg":  # as good as the result for operands close by
        operands = [_moved(x, np.abs(x), rng) for x in operands]
    results = [np.asarray(x) for x in op.meaning(attrs, *operands)]
    if not rounds:
        return results
    if op.name == "reduce_prod" and not _stays_normal(op, attrs, operands[0]):
        return [np.full_like(x, np.nan) for x in results]  # some order of the factors leaves the range: no bound
    terms = results
    if op.name in _SUMS and op.kind != "linalg":
        terms = list(op.meaning(attrs, *(np.abs(x) if _rounds(x) else x for x in operands)))
    return [_moved(x, np.abs(t), rng) for x, t in zip(results, terms, strict=True)]


def _moved(x: np.ndarray, size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """x with errors of some units in the last place of `size`."""
    if not _rounds(x):
        return x
    factors = rng.uniform(-1, 1, x.shape)
    if x.dtype.kind == "c":
        factors = factors + 1j * rng.uniform(-1, 1, x.shape)
    return np.asarray(x + _ULPS * _eps(x) * size * factors).astype(x.dtype)


def _rounds(x: np.ndarray) -> bool:
    """Whether operations on such elements round."""
    return holds_floats(x) or x.dtype.kind == "c"


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _eps(x: np.ndarray) -> float:
    return float(gnp.finfo(dtype(x.dtype).part).eps)


def _stays_normal(op: Op, attrs: Attrs, x: np.ndarray) -> bool:
    """Whether no product of some of the factors overflows or becomes a denormal number."""
    size = np.abs(_wide(x))
    (largest,) = op.meaning(attrs, np.maximum(size, 1))
    (smallest,) = op.meaning(attrs, np.where(size == 0, 1, np.minimum(size, 1)))
    limits = gnp.finfo(dtype(x.dtype).part)
    return bool(np.all(largest <= float(limits.max)) and np.all(smallest >= float(limits.tiny)))


def differences(found: Sequence[np.ndarray], wanted: Sequence[Bounded]) -> list[str]:
    """One line per output that is out of bounds."""
    lines = [want.differs(got) for got, want in zip(found, wanted, strict=True)]
    return [f"output {number} {line}" for number, line in enumerate(lines) if line]
