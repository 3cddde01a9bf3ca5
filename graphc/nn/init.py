"""Initial values of parameters, as functions of a shape. Formulas and defaults are PyTorch's (`torch.nn.init`).

Random values come from `key`; without one they come from the generator of this module: a seed and a counter, like
`torch.manual_seed`. It starts at seed 0, so a script that builds its models in the same order gets the same weights
each time, on every machine. The streams are graphc's own, not PyTorch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

import graphc.api as gc
import graphc.numpy as gnp
from graphc.api import ArgumentError, Array

Shape = tuple[int, ...]

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4.0,
}


@dataclass(slots=True)
class _Generator:
    seed: int = 0
    drawn: int = 0


_GENERATOR = _Generator()


def seed(value: int) -> None:
    """Start the generator of initial values again at `value`.

    >>> from graphc import nn
    >>> nn.init.seed(0)
    >>> first = nn.Linear(2, 2)
    >>> nn.init.seed(0)
    >>> bool((first.weight == nn.Linear(2, 2).weight).all())
    True
    """
    _GENERATOR.seed, _GENERATOR.drawn = int(value), 0


def next_key() -> Array:
    """The next key of the generator: what an initialiser draws from when no key is given.

    >>> from graphc import nn
    >>> nn.init.next_key().shape
    (2,)
    """
    key = gc.random.fold_in(gc.random.key(_GENERATOR.seed), _GENERATOR.drawn)
    _GENERATOR.drawn += 1
    return key


def gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, undone by the initialisers (He et al. 2015).

    >>> gain("relu") ** 2
    2.0000000000000004
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ArgumentError(f"gain: unknown nonlinearity {nonlinearity!r}; known: leaky_relu, {', '.join(_GAINS)}")
    return _GAINS[nonlinearity]


def fans(shape: Shape) -> tuple[int, int]:
    """fan_in and fan_out of a weight laid out [out, in, *kernel].

    >>> fans((64, 16, 3, 3))
    (144, 576)
    """
    if len(shape) < 2:
        raise ArgumentError(f"fan in and fan out need at least two dims, got {list(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def zeros(shape: Shape, dtype: str = "float32") -> np.ndarray:
    """All zero.

    >>> from graphc import nn
    >>> nn.init.zeros((2,)).tolist()
    [0.0, 0.0]
    """
    return np.zeros(shape, _numpy(dtype))


def ones(shape: Shape, dtype: str = "float32") -> np.ndarray:
    """All one.

    >>> from graphc import nn
    >>> nn.init.ones((2,)).tolist()
    [1.0, 1.0]
    """
    return np.ones(shape, _numpy(dtype))


def constant(shape: Shape, value: float, dtype: str = "float32") -> np.ndarray:
    """All `value`.

    >>> from graphc import nn
    >>> nn.init.constant((2,), 0.5).tolist()
    [0.5, 0.5]
    """
    return np.full(shape, value, _numpy(dtype))


def uniform(
    shape: Shape, low: float = 0.0, high: float = 1.0, *, key: Array | None = None, dtype: str = "float32"
) -> np.ndarray:
    """Uniform on [low, high).

    >>> from graphc import nn
    >>> bool(abs(nn.init.uniform((100,), -0.5, 0.5)).max() <= 0.5)
    True
    """
    wide = _drawn_in(dtype)
    drawn = gc.random.uniform(next_key() if key is None else key, shape, wide)
    return _rounded(drawn * np.asarray(high - low, wide) + np.asarray(low, wide), dtype)


def _drawn_in(dtype: str) -> str:
    """Half types are drawn in float32 and rounded."""
    return "float32" if dtype in (gnp.bfloat16, gnp.float16) else dtype


def _rounded(drawn: Array, dtype: str) -> np.ndarray:
    return np.asarray(drawn).astype(_numpy(dtype), copy=False)


def _numpy(dtype: str) -> np.dtype[np.generic]:
    return gnp.bfloat16.numpy if gnp.bfloat16 == dtype else np.dtype(dtype)


def normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, *, key: Array | None = None, dtype: str = "float32"
) -> np.ndarray:
    """Normal with this mean and standard deviation.

    >>> from graphc import nn
    >>> nn.init.normal((3, 4), std=0.02).shape
    (3, 4)
    """
    wide = _drawn_in(dtype)
    drawn = gc.random.normal(next_key() if key is None else key, shape, wide)
    return _rounded(drawn * np.asarray(std, wide) + np.asarray(mean, wide), dtype)


def xavier_uniform(shape: Shape, gain: float = 1.0, *, key: Array | None = None, dtype: str = "float32") -> np.ndarray:
    """Uniform with variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio 2010).

    >>> from graphc import nn
    >>> bool(abs(nn.init.xavier_uniform((3, 3))).max() <= 1.0)
    True
    """
    bound = gain * math.sqrt(6.0 / sum(fans(shape)))
    return uniform(shape, -bound, bound, key=key, dtype=dtype)


def xavier_normal(shape: Shape, gain: float = 1.0, *, key: Array | None = None, dtype: str = "float32") -> np.ndarray:
    """Normal with variance gain^2 * 2 / (fan_in + fan_out).

    >>> from graphc import nn
    >>> nn.init.xavier_normal((3, 4)).shape
    (3, 4)
    """
    return normal(shape, 0.0, gain * math.sqrt(2.0 / sum(fans(shape))), key=key, dtype=dtype)


def kaiming_uniform(
    shape: Shape,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    key: Array | None = None,
    dtype: str = "float32",
) -> np.ndarray:
    """Uniform with variance gain^2 / fan (He et al. 2015); `a` is the slope of the leaky ReLU.

    Raises `ArgumentError` for another mode.

    >>> from graphc import nn
    >>> bool(abs(nn.init.kaiming_uniform((8, 6))).max() <= 1.0)
    True
    """
    bound = math.sqrt(3.0) * _kaiming_std(shape, a, mode, nonlinearity)
    return uniform(shape, -bound, bound, key=key, dtype=dtype)


def kaiming_normal(
    shape: Shape,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    key: Array | None = None,
    dtype: str = "float32",
) -> np.ndarray:
    """Normal with variance gain^2 / fan.

    Raises `ArgumentError` for another mode.

    >>> from graphc import nn
    >>> nn.init.kaiming_normal((3, 4)).shape
    (3, 4)
    """
    return normal(shape, 0.0, _kaiming_std(shape, a, mode, nonlinearity), key=key, dtype=dtype)


def _kaiming_std(shape: Shape, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode={mode!r}: use 'fan_in' or 'fan_out'")
    fan = fans(shape)[mode == "fan_out"]
    return gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def split_key(key: Array | None) -> tuple[Array | None, Array | None]:
    """Two keys from one; None stays None, the generator of this module.

    >>> from graphc import nn
    >>> nn.init.split_key(None)
    (None, None)
    """
    if key is None:
        return None, None
    return gc.random.fold_in(key, 0), gc.random.fold_in(key, 1)
