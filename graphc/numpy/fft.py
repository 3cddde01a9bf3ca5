"""Discrete Fourier transforms: `import graphc.numpy as gnp`, then `gnp.fft.fft(x)`.

Names and arguments are those of NumPy and the array API. norm: which direction divides by the number of points,
"backward" (the inverse), "forward", or "ortho" (both, by the square root). Results are complex64 of float32 and
complex64, complex128 of float64 and complex128. All lengths are quick; everything can be differentiated and batched.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy import shapes
from graphc.numpy.complexes import complex as complex_of
from graphc.numpy.complexes import conj, imag, real
from graphc.numpy.inspection import check_device
from graphc.numpy.transforms import Parts, transform
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, staged, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import DEFAULT_FLOAT, static_size
from graphc.tracing.tracer import DTypeLike

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

Norm = str | None
Axes = int | Sequence[int] | None


def _parts(name: str, x: ArrayLike, real_only: bool = False) -> Parts:
    array = as_array(x)
    kind = dtype_of(array)
    if kind.is_complex:
        if real_only:
            raise DTypeError(with_line(f"{name}: takes real numbers, got {kind}"))
        return Parts(real(array), imag(array))
    if not kind.is_float:
        return Parts(to_dtype(array, DEFAULT_FLOAT), None)
    if kind not in (dtypes.float32, dtypes.float64):
        raise DTypeError(with_line(f"{name}: {kind} is not accepted; cast it"))
    return Parts(array, None)


def _whole(x: Parts) -> Array:
    return complex_of(x.re, bind1(ops.sub, x.re, x.re) if x.im is None else x.im)


def _map(x: Parts, fn: Callable[[Array], Array]) -> Parts:
    return Parts(fn(x.re), None if x.im is None else fn(x.im))


def _scale(name: str, n: int, norm: Norm, inverse: bool) -> float:
    powers = {"backward": (0.0, 1.0), "forward": (1.0, 0.0), "ortho": (0.5, 0.5)}
    if norm is not None and norm not in powers:
        raise ArgumentError(with_line(f"{name}: norm is 'backward', 'ortho' or 'forward', got {norm!r}"))
    return float(n ** -powers[norm or "backward"][inverse])


def _resized(x: Array, n: int, axis: int) -> Array:
    """The first n elements along an axis, with zeros behind them if there are fewer."""
    there = x.shape[axis]
    if n <= there:
        return movement.slice_axis(x, axis, 0, n)
    high = [0] * len(x.shape)
    high[axis] = n - there
    return movement.pad_constant(x, [0] * len(high), high, 0)


def _transformed(name: str, x: Parts, n: int | None, axis: int, norm: Norm, inverse: bool) -> Parts:
    position = movement.normal_axis(name, axis, len(x.re.shape))
    count = x.re.shape[position] if n is None else static_size(name, "n", n)
    if count < 1:
        raise ShapeError(with_line(f"{name}: a transform has at least one point, not {count}"))
    last = _map(x, lambda a: shapes.moveaxis(_resized(a, count, position), position, -1))
    found = transform(last, inverse)
    factor = _scale(name, count, norm, inverse)
    if factor != 1:
        found = _map(found, lambda a: bind1(ops.mul, a, factor))
    return _map(found, lambda a: shapes.moveaxis(a, -1, position))


def _axes(name: str, x: Array, s: Sequence[int] | None, axes: Axes) -> list[tuple[int, int | None]]:
    """Each axis with how many points it has."""
    rank = len(x.shape)
    lengths = None if s is None else movement.one_or_more(s)
    if axes is None:
        axes = range(rank) if lengths is None else range(rank - len(lengths), rank)
    chosen = [movement.normal_axis(name, a, rank) for a in movement.one_or_more(axes)]
    if lengths is not None and len(lengths) != len(chosen):
        raise ArgumentError(with_line(f"{name}: {len(lengths)} lengths for {len(chosen)} axes"))
    return list(zip(chosen, lengths if lengths is not None else [None] * len(chosen), strict=True))


def _several(name: str, x: ArrayLike, s: Sequence[int] | None, axes: Axes, norm: Norm, inverse: bool) -> Array:
    found = _parts(name, x)
    for axis, n in reversed(_axes(name, found.re, s, axes)):
        found = _transformed(name, found, n, axis, norm, inverse)
    return _whole(found)


def fft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """`sum(x[j] * exp(-2j pi j k / n))` for each k, along an axis; n: points, x being cut or filled up with zeros.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.fft([1.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _whole(_transformed("fft", _parts("fft", x), n, axis, norm, False))


def ifft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The inverse of `fft`.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.ifft([4.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _whole(_transformed("ifft", _parts("ifft", x), n, axis, norm, True))


def fftn(x: ArrayLike, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward") -> Array:
    """`fft` along several axes, all of them without `axes`; s: points along each.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.fftn([[1.0, 0.0], [0.0, 0.0]]).tolist()
    [[(1+0j), (1+0j)], [(1+0j), (1+0j)]]
    """
    return _several("fftn", x, s, axes, norm, False)


def ifftn(x: ArrayLike, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward") -> Array:
    """The inverse of `fftn`.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.ifftn([[4.0, 0.0], [0.0, 0.0]]).tolist()
    [[(1+0j), (1+0j)], [(1+0j), (1+0j)]]
    """
    return _several("ifftn", x, s, axes, norm, True)


def fft2(x: ArrayLike, s: Sequence[int] | None = None, axes: Axes = (-2, -1), norm: Norm = "backward") -> Array:
    """`fftn` along two axes.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.fft2([[1.0, 0.0], [0.0, 0.0]]).shape
    (2, 2)
    """
    return _several("fft2", x, s, axes, norm, False)


def ifft2(x: ArrayLike, s: Sequence[int] | None = None, axes: Axes = (-2, -1), norm: Norm = "backward") -> Array:
    """The inverse of `fft2`.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.ifft2([[1.0, 0.0], [0.0, 0.0]]).shape
    (2, 2)
    """
    return _several("ifft2", x, s, axes, norm, True)


def rfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The first `n // 2 + 1` elements of the `fft` of real numbers; the others are their conjugates.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.rfft([1.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j)]
    """
    return _whole(_real("rfft", _parts("rfft", x, real_only=True), n, axis, norm))


def _real(name: str, x: Parts, n: int | None, axis: int, norm: Norm) -> Parts:
    position = movement.normal_axis(name, axis, len(x.re.shape))
    found = _transformed(name, x, n, position, norm, False)
    count = found.re.shape[position] // 2 + 1
    return _map(found, lambda a: movement.slice_axis(a, position, 0, count))


def irfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The inverse of `rfft`: n real numbers, without n twice as many as x has, less 2.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.irfft([1.0, 1.0, 1.0]).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    return _from_half("irfft", _parts("irfft", x), n, axis, norm)


def _from_half(name: str, x: Parts, n: int | None, axis: int, norm: Norm) -> Array:
    position = movement.normal_axis(name, axis, len(x.re.shape))
    count = 2 * (x.re.shape[position] - 1) if n is None else static_size(name, "n", n)
    if count < 1:
        raise ShapeError(with_line(f"{name}: a transform has at least one point, not {count}"))
    half = count // 2 + 1

    def mirrored(part: Array, negative: bool) -> Array:
        first = _resized(part, half, position)
        if count == half:
            return first
        other = shapes.flip(movement.slice_axis(first, position, 1, count - half + 1), position)
        return shapes.concatenate([first, bind1(ops.neg, other) if negative else other], position)

    whole = Parts(mirrored(x.re, False), None if x.im is None else mirrored(x.im, True))
    return _transformed(name, whole, None, position, norm, True).re


def rfftn(x: ArrayLike, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward") -> Array:
    """`rfft` along the last of the axes, then `fft` along the others.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.rfftn([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).shape
    (2, 2)
    """
    found = _parts("rfftn", x, real_only=True)
    *others, (last, n) = _axes("rfftn", found.re, s, axes)
    found = _real("rfftn", found, n, last, norm)
    for axis, count in reversed(others):
        found = _transformed("rfftn", found, count, axis, norm, False)
    return _whole(found)


def irfftn(x: ArrayLike, s: Sequence[int] | None = None, axes: Axes = None, norm: Norm = "backward") -> Array:
    """The inverse of `rfftn`.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.irfftn([[1.0, 1.0], [1.0, 1.0]]).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    found = _parts("irfftn", x)
    *others, (last, n) = _axes("irfftn", found.re, s, axes)
    for axis, count in others:
        found = _transformed("irfftn", found, count, axis, norm, True)
    return _from_half("irfftn", found, n, last, norm)


_OPPOSITE = {None: "forward", "backward": "forward", "forward": "backward"}


def hfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The `fft`, real numbers, of numbers whose second half are the conjugates of the first, which is given.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.hfft([1.0, 1.0]).tolist()
    [2.0, 0.0]
    """
    return irfft(conj(x), n, axis, _OPPOSITE.get(norm, norm))


def ihfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Array:
    """The inverse of `hfft`.

    >>> import graphc.numpy as gnp
    >>> gnp.real(gnp.fft.ihfft([2.0, 0.0])).tolist()
    [1.0, 1.0]
    """
    return conj(rfft(x, n, axis, _OPPOSITE.get(norm, norm)))


def fftfreq(n: int, d: float = 1.0, *, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """The frequency of each element of a transform of n points that are `d` apart.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.fftfreq(4).tolist()
    [0.0, 0.25, -0.5, -0.25]
    """
    check_device("fftfreq", device)
    n = static_size("fftfreq", "n", n, 1)
    return staged(np.fft.fftfreq(n, d).astype((DEFAULT_FLOAT if dtype is None else dtypes.dtype(dtype)).numpy))


def rfftfreq(n: int, d: float = 1.0, *, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """The frequency of each element of `rfft`.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.rfftfreq(4).tolist()
    [0.0, 0.25, 0.5]
    """
    check_device("rfftfreq", device)
    n = static_size("rfftfreq", "n", n, 1)
    return staged(np.fft.rfftfreq(n, d).astype((DEFAULT_FLOAT if dtype is None else dtypes.dtype(dtype)).numpy))


def _shifted(name: str, x: ArrayLike, axes: Axes, sign: int) -> Array:
    array = as_array(x)
    chosen = [axis for axis, _ in _axes(name, array, None, axes)]
    by = [sign * (array.shape[axis] // 2) for axis in chosen]
    return shapes.roll(array, by, chosen) if prod(array.shape) else array


def fftshift(x: ArrayLike, axes: Axes = None) -> Array:
    """Frequency 0 in the middle.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.fftshift([0, 1, -2, -1]).tolist()
    [-2, -1, 0, 1]
    """
    return _shifted("fftshift", x, axes, 1)


def ifftshift(x: ArrayLike, axes: Axes = None) -> Array:
    """The inverse of `fftshift`.

    >>> import graphc.numpy as gnp
    >>> gnp.fft.ifftshift([-2, -1, 0, 1]).tolist()
    [0, 1, -2, -1]
    """
    return _shifted("ifftshift", x, axes, -1)
