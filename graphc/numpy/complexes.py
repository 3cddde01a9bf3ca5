"""Complex numbers: their parts, conjugate and angle, and numbers made of parts."""

from graphc.core.errors import DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import zeros_like
from graphc.numpy.inverse import atan2
from graphc.tracing.bind import as_array, bind1, dtype_of
from graphc.tracing.context import Array, ArrayLike, with_line


def complex(real: ArrayLike, imag: ArrayLike) -> Array:
    """Complex numbers of these real and imaginary parts, float32 or float64.

    >>> import graphc.numpy as gnp
    >>> gnp.complex([1.0, 2.0], 0.5).tolist()
    [(1+0.5j), (2+0.5j)]
    """
    return bind1(ops.complex_, real, imag)


def real(x: ArrayLike) -> Array:
    """The real part; of real numbers themselves.

    >>> import graphc.numpy as gnp
    >>> gnp.real([1.0 + 2.0j]).tolist()
    [1.0]
    """
    array = as_array(x)
    return bind1(ops.real, array) if dtype_of(array).is_complex else array


def imag(x: ArrayLike) -> Array:
    """The imaginary part; of real numbers 0.

    >>> import graphc.numpy as gnp
    >>> gnp.imag([1.0 + 2.0j]).tolist()
    [2.0]
    """
    array = as_array(x)
    return bind1(ops.imag, array) if dtype_of(array).is_complex else zeros_like(array)


def conj(x: ArrayLike) -> Array:
    """The complex conjugate; of real numbers themselves.

    >>> import graphc.numpy as gnp
    >>> gnp.conj([1.0 + 2.0j]).tolist()
    [(1-2j)]
    """
    array = as_array(x)
    return complex(real(array), bind1(ops.neg, imag(array))) if dtype_of(array).is_complex else array


def angle(x: ArrayLike) -> Array:
    """The angle of complex numbers in the plane, in (-pi, pi]; of negative numbers pi.

    >>> import graphc.numpy as gnp
    >>> gnp.angle([2.0, 0.0 + 0.0j]).tolist()
    [0.0, 0.0]
    """
    array = as_array(x)
    if not dtype_of(array).is_inexact:
        raise DTypeError(with_line(f"angle: {dtype_of(array)} is not accepted, cast with .astype(...)"))
    return atan2(imag(array), real(array))


def isreal(x: ArrayLike) -> Array:
    """Where the imaginary part is 0.

    >>> import graphc.numpy as gnp
    >>> gnp.isreal([1.0, 2.0j]).tolist()
    [True, False]
    """
    return bind1(ops.eq, imag(x), 0)


conjugate = conj
