"""Loops are cut where a comparison of their counter changes; every element keeps its value."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel.interpret import run
from graphc.kernel.ir import For, Kernel, Select, walk
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.nests import nest
from graphc.kernel.schedule.pieces import in_pieces
from graphc.kernel.schedule.traverse import buffers_of, expressions
from graphc.kernel.text import parse_kernel
from graphc.kernel.verify import verify


def kernel(value: str, rows: int = 3, columns: int = 20) -> Kernel:
    return parse_kernel(f"""
kernel joined(
  in a: f32[{rows}, {columns}],
  in b: f32[{rows}, {columns}],
  out out0: f32[{rows}, {columns}],
):
  parallel i in 0..{rows}:
    parallel j in 0..{columns}:
      let x: f32 = a[i, max(j - 7, 0)]
      let y: f32 = b[i, min(j + 1, {columns - 1})]
      out0[i, j] = {value}
""")


def cut(given: Kernel) -> tuple[For, ...]:
    """The pieces; the kernel made of them gives the bits that it gave."""
    (statement,) = given.body
    assert isinstance(statement, For)
    pieces = in_pieces(statement, Names(given))
    made = Kernel(given.name, given.params, pieces)
    verify(made)
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=param.buffer.shape).astype(np.float32) for param in given.params]
    arrays[0][0, :4] = [np.nan, -0.0, np.inf, 0.0]
    wanted, got = ([*arrays[:2], np.zeros_like(arrays[2])] for _ in range(2))
    run(given, wanted)
    run(made, got)
    np.testing.assert_array_equal(got[2].view(np.int32), wanted[2].view(np.int32))
    return pieces


def selects(pieces: tuple[For, ...]) -> int:
    return sum(isinstance(e, Select) for piece in pieces for s in walk((piece,)) for e in expressions(s))


def extents(pieces: tuple[For, ...]) -> list[int]:
    return [nest(piece)[0][1].extent for piece in pieces]


@pytest.mark.parametrize(
    ("condition", "stops"),
    [
        ("j < 8", [8, 12]),
        ("j <= 8", [9, 11]),
        ("j > 8", [9, 11]),
        ("j >= 8", [8, 12]),
        ("8 < j", [9, 11]),
        ("8 >= j", [9, 11]),
        ("j + 3 < 11", [8, 12]),
        ("(j >= 5) & (j < 12)", [5, 7, 8]),
    ],
)
def test_each_comparison_is_cut_where_it_changes(condition: str, stops: list[int]) -> None:
    pieces = cut(kernel(f"select({condition}, x + y, y)"))
    assert extents(pieces) == stops
    assert selects(pieces) == 0


def test_what_a_piece_does_not_need_is_gone() -> None:
    first, second = cut(kernel("select(j < 8, x, y)"))
    assert buffers_of((first,)) == {"a", "out0"}
    assert buffers_of((second,)) == {"b", "out0"}


@pytest.mark.parametrize("value", ["x + y", "select(x < y, x, y)", "select(j < 1, x, y)", "select(j < 20, x, y)"])
def test_nothing_is_cut_for_nothing(value: str) -> None:
    """No select; one by values; a piece that is short; a comparison that always holds."""
    given = kernel(value)
    assert cut(given) == given.body


def test_gradients_of_slices_are_computed_part_by_part() -> None:
    """The gradient of a gate's slices is a sum of padded parts: no element is computed for another part."""

    def gates(x: object) -> object:
        parts = [x[:, k * 64 : (k + 1) * 64] for k in range(4)]  # type: ignore[index]
        return gnp.sum(parts[0] * parts[1] + parts[2] * parts[3])

    exe = gc.compile(gc.grad(gates), gc.spec((32, 256), "float32"), backend="cpu")
    assert "select" not in exe.text("loop")
    x = np.random.default_rng(0).normal(size=(32, 256)).astype(np.float32)
    np.testing.assert_array_equal(exe(x), np.concatenate([x[:, 64:128], x[:, :64], x[:, 192:], x[:, 128:192]], axis=1))
