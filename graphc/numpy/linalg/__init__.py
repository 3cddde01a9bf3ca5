"""Linear algebra: `import graphc.numpy as gnp`, then `gnp.linalg.solve(a, b)`.

Functions take matrices in the last two dims, and any dims before those. What has no answer (the factor of a matrix that
is not positive definite, the inverse of a singular one) is NaN or infinite where NumPy raises an error.
"""

from graphc.numpy.linalg.determinants import det, slogdet
from graphc.numpy.linalg.norms import cross, matrix_norm, multi_dot, norm, vector_norm
from graphc.numpy.linalg.ranks import cond, lstsq, matrix_rank, pinv
from graphc.numpy.linalg.solving import cholesky, inv, lu, matrix_power, solve, solve_triangular
from graphc.numpy.linalg.spectral import eigh, eigvalsh, qr, svd, svdvals
from graphc.numpy.matrices import diagonal, trace
from graphc.numpy.products import matmul, outer, tensordot, vecdot
from graphc.numpy.shapes import matrix_transpose

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "lu",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
