"""Factorisations, solutions, and products with sparse matrices."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from graphc.core import dtypes
from graphc.graph.ir import NO_ATTRS
from graphc.graph.ops.linalg import FullAttrs, TriangleAttrs
from tests.samples.arrays import RTOL, generator, random_array
from tests.samples.sample import Sample

_MATRICES: tuple[tuple[int, ...], ...] = ((1, 1), (3, 3), (2, 3, 4, 4), (40, 40), (70, 70), (0, 3, 3), (2, 0, 0))


def linalg() -> Iterator[Sample]:
    for dtype in (dtypes.float32, dtypes.float64):
        for shape in _MATRICES:
            rng = generator("linalg", dtype, shape)
            x = random_array(rng, shape, dtype, -1, 1)
            positive = np.matmul(x, np.swapaxes(x, -1, -2)) + np.eye(shape[-1], dtype=dtype.numpy)
            small = dtype is dtypes.float64 and 0 < x.size <= 96
            name, rtol = f"{dtype.short}{list(shape)}", 20 * RTOL[dtype]
            yield Sample("cholesky", name, (positive,), rtol=rtol, differentiate=(0,) if small else ())
            yield Sample("lu", name, (x,), rtol=20 * rtol, differentiate=(0,) if small else ())
            for count in (1, 5, 70) if shape[-1] < 70 else (3,):
                b = random_array(rng, (*shape[:-1], count), dtype, -1, 1)
                for attrs in _TRIANGLES if count == 5 else _TRIANGLES[:1]:
                    label = f"{name}x{count}{_name_of(attrs)}"
                    chosen = (0, 1) if small and count == 5 and x.size <= 9 else ()
                    yield Sample("triangular_solve", label, (positive, b), attrs, rtol=rtol, differentiate=chosen)
        for shape in ((1, 1), (4, 4), (5, 4), (4, 5), (2, 3, 4, 2), (40, 30), (0, 3, 3)):
            x = random_array(generator("library", dtype, shape), shape, dtype, -1, 1)
            chosen = (0,) if dtype is dtypes.float64 and 0 < x.size <= 16 else ()
            name, rtol = f"{dtype.short}{list(shape)}", 100 * RTOL[dtype]
            for full in (False, True):
                label, square = f"{name}{'-full' if full else ''}", shape[-1] == shape[-2]
                has = chosen if square or not full else ()
                if full and abs(shape[-1] - shape[-2]) > 1:
                    continue  # any vectors that fit complete a factor
                yield Sample("svd", label, (x,), FullAttrs(full), rtol=rtol, differentiate=has)
                has = has if shape[-2] >= shape[-1] else ()
                yield Sample("qr", label, (x,), FullAttrs(full), rtol=rtol, differentiate=has)
            if square:
                yield Sample("eigh", name, (x,), rtol=rtol, differentiate=chosen)
    broken = np.stack([np.eye(3), np.diag([1.0, np.nan, 2.0]), np.diag([1.0, np.inf, 2.0])])
    for op in ("qr", "svd", "eigh"):
        yield Sample(op, "not-finite", (broken,), FullAttrs() if op != "eigh" else NO_ATTRS)
    indefinite = np.stack([np.eye(3), -np.eye(3), np.full((3, 3), np.nan), np.diag([1.0, np.inf, 1.0])])
    yield Sample("cholesky", "not-positive", (indefinite,), rtol=0)
    yield Sample("cholesky", "one-triangle", (np.array([[4.0, np.nan], [2.0, 3.0]]),), rtol=RTOL[dtypes.float64])
    yield Sample("lu", "singular", (np.array([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 4.0]]]),))
    yield Sample("lu", "exchanges", (np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [-5.0, 1.0, 1.0]]),))
    yield Sample("triangular_solve", "singular", (np.zeros((2, 2)), np.ones((2, 1))), TriangleAttrs())


def sparse() -> Iterator[Sample]:
    for dtype in (dtypes.float32, dtypes.float64):
        for rows, columns, count, width in ((4, 3, 7, 2), (5, 4, 0, 3), (3, 2, 5, 1), (20, 30, 90, 70), (2, 3, 4, 0)):
            rng = generator("sparse", dtype, rows, width)
            data, dense = (random_array(rng, s, dtype, -1, 1) for s in ((count,), (columns, width)))
            inner = np.sort(rng.integers(0, count + 1, rows - 1))
            indptr = np.array([0, *inner, count], np.int32)
            indices = rng.integers(0, columns, count, dtype=np.int32)
            small = dtype is dtypes.float64 and 0 < count < 10 and width > 0
            arrays, chosen = (data, indices, indptr, dense), (0, 3) if small else ()
            name = f"{dtype.short}{rows}x{columns}x{width}"
            yield Sample("csr_dot", name, arrays, rtol=RTOL[dtype], differentiate=chosen)
    outside = (np.ones(2), np.array([-1, 9]), np.array([-3, 1, 8], np.int64), np.arange(6.0).reshape(3, 2))
    yield Sample("csr_dot", "outside", outside)


_TRIANGLES = tuple(TriangleAttrs(*flags) for flags in product((True, False), (False, True), (False, True)))


def _name_of(attrs: TriangleAttrs) -> str:
    words = ("lower" if attrs.lower else "upper", attrs.transposed and "transposed", attrs.unit and "unit")
    return "".join(f"-{word}" for word in words if word)
