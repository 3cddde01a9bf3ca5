"""Complex matrices as real ones of twice the extents: A + iB is [[A, -B], [B, A]].

Sums, products, inverses and pseudo-inverses of such matrices are again of this form. Singular values, and eigenvalues
of Hermitian matrices, are those of the complex matrix, each twice.
"""

from graphc.graph.ops import elementwise
from graphc.numpy import shapes
from graphc.numpy.complexes import complex, imag, real
from graphc.tracing.bind import bind1
from graphc.tracing.context import Array


def embedded(z: Array) -> Array:
    """The real matrix."""
    a, b = real(z), imag(z)
    upper = shapes.concatenate([a, bind1(elementwise.neg, b)], axis=-1)
    return shapes.concatenate([upper, shapes.concatenate([b, a], axis=-1)], axis=-2)


def stacked(z: Array) -> Array:
    """The first columns of the real matrix: what it is multiplied with to multiply with z."""
    return shapes.concatenate([real(z), imag(z)], axis=-2)


def unstacked(x: Array) -> Array:
    """The complex matrix of the first columns of a real one."""
    half = x.shape[-2] // 2
    return complex(x[..., :half, :], x[..., half:, :])


def first_of_each_pair(values: Array) -> Array:
    """Values in order, each of which is there twice."""
    return values[..., ::2]
