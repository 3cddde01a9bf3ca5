"""Activation functions on arrays of any shape, elementwise unless an axis is named.

Ordinary compositions: none has a derivative rule of its own. Each is written so that neither it nor the derivative of
what is written overflows, cancels or divides 0 by 0 on the way.
"""

from __future__ import annotations

import math
from typing import cast

import graphc.api as gc
import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, with_line


def relu(x: Array) -> Array:
    """max(x, 0); the derivative at 0 is 0, and NaN stays NaN.

    Any shape; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.relu(np.array([-1.0, 0.0, 2.0], np.float32)).tolist()
    [0.0, 0.0, 2.0]
    """
    return gnp.where(x <= 0, gnp.zeros_like(x), x)


def leaky_relu(x: Array, negative_slope: float | Array = 0.01) -> Array:
    """where(x > 0, x, slope * x), so that a learned slope may pass 1.

    Any shape; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.leaky_relu(np.array([-1.0, 0.0, 2.0], np.float32), 0.5).tolist()
    [-0.5, 0.0, 2.0]
    """
    return gnp.where(x > 0, x, x * negative_slope)


def gelu(x: Array, approximate: str = "none") -> Array:
    """x * Phi(x), the normal distribution function exact ("none") or by tanh ("tanh") (Hendrycks and Gimpel 2016).

    The exact form is x * erfc(-x / sqrt(2)) / 2, which keeps its relative precision far to the left, where
    1 + erf(x / sqrt(2)) has cancelled to nothing.

    Any shape; floats. Raises `ArgumentError` for another `approximate`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> np.round(F.gelu(np.array([-1.0, 0.0, 2.0], np.float32)).astype(float), 4).tolist()
    [-0.1587, 0.0, 1.9545]
    """
    if approximate == "none":
        return (x * 0.5) * gnp.erfc(x * -math.sqrt(0.5))
    if approximate == "tanh":
        inner = (x + (x * x * x) * 0.044715) * math.sqrt(2.0 / math.pi)
        return (x * 0.5) * (gnp.tanh(inner) + 1.0)
    raise ArgumentError(with_line(f"gelu: approximate={approximate!r}; use 'none' or 'tanh'"))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), a primitive; its derivative is s(x) * s(-x), which does not underflow for large x.

    Any shape; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.sigmoid(np.array([0.0, -1e9], np.float32)).tolist()
    [0.5, 0.0]
    """
    return gnp.sigmoid(x)


def silu(x: Array, alpha: float | Array = 1.0) -> Array:
    """x * sigmoid(alpha * x), also called Swish.

    Any shape; floats (Elfwing, Uchibe and Doya 2018; Ramachandran, Zoph and Le 2017).

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.silu(np.array([0.0, 100.0], np.float32)).tolist()
    [0.0, 100.0]
    """
    is_plain = isinstance(alpha, int | float) and alpha == 1.0
    return x * gnp.sigmoid(x if is_plain else x * alpha)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent.

    Any shape; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.tanh(np.array([0.0, 100.0], np.float32)).tolist()
    [0.0, 1.0]
    """
    return gnp.tanh(x)


def softplus_pair(x: Array) -> tuple[Array, Array]:
    """softplus(x) and softplus(-x): log(1 + exp(x)) and log(1 + exp(-x)), sharing one exp and one log1p.

    Branches on the sign rather than using abs, so that the derivative at 0 is 1/2 and -1/2 as it should be.
    """
    positive = x > 0
    zero = gnp.zeros_like(x)
    rest = gnp.log1p(gnp.exp(gnp.where(positive, -x, x)))  # of -abs(x): at most log(2)
    return gnp.where(positive, x, zero) + rest, gnp.where(positive, zero, -x) + rest


def softplus(x: Array, beta: float = 1.0) -> Array:
    """log(1 + exp(beta * x)) / beta without overflow. PyTorch's threshold, above which it returns x, is not needed.

    Any shape; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.softplus(np.array([-1e9, 1e9], np.float32)).tolist()
    [0.0, 1000000000.0]
    """
    if beta == 1.0:
        return softplus_pair(x)[0]
    return softplus_pair(x * beta)[0] / beta


def detached(x: Array) -> Array:
    """x as a constant to differentiation."""
    return cast("Array", gc.stop_gradient(x))


def _shifted(x: Array, axis: int) -> Array:
    return x - detached(gnp.max(x, axis=axis, keepdims=True))


def logsumexp(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) along an axis, with the maximum taken out first.

    Where all elements are -inf the result is -inf.

    The axis goes, or stays with extent 1 when `keepdims`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.logsumexp(np.array([[1000.0, -np.inf]], np.float32)).tolist()
    [1000.0]
    """
    top = detached(gnp.max(x, axis=axis, keepdims=True))
    top = gnp.where(gnp.isfinite(top), top, gnp.zeros_like(top))
    result = gnp.log(gnp.sum(gnp.exp(x - top), axis=axis, keepdims=True)) + top
    return result if keepdims else gnp.squeeze(result, axis=axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x - logsumexp(x): the logarithm of `softmax`, exact also where that underflows.

    The shape of x; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.log_softmax(np.array([0.0, 1000.0], np.float32)).tolist()
    [-1000.0, 0.0]
    """
    shifted = _shifted(x, axis)
    return shifted - gnp.log(gnp.sum(gnp.exp(shifted), axis=axis, keepdims=True))


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along an axis, with the maximum taken out first.

    The shape of x; floats.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.softmax(np.array([1000.0, 1000.0], np.float32)).tolist()
    [0.5, 0.5]
    """
    exponent = gnp.exp(_shifted(x, axis))
    return exponent / gnp.sum(exponent, axis=axis, keepdims=True)
