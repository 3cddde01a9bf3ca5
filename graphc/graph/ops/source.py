"""Primitives that make values: constant, iota, random bits, and the index shuffle of the data loader."""

import numpy as np

from graphc.core import dtypes
from graphc.core.counter_rng import philox4x32
from graphc.core.counter_rng import shuffle_index as shuffle_meaning
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.ops.movement import ShapeAttrs
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True, eq=False)
class ConstantAttrs(Attrs):
    """A dense array; never written to."""

    value: np.ndarray


def _infer_constant(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ConstantAttrs)
    return (TensorType(attrs.value.shape, dtypes.dtype(attrs.value.dtype)),)


constant = register("constant", "source", _infer_constant, lambda a: (a.value,), ConstantAttrs)


@dataclass(frozen=True, slots=True)
class IotaAttrs(Attrs):
    """Each element is its own index along `axis`."""

    shape: tuple[int, ...]
    dtype: DType
    axis: int


def _infer_iota(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, IotaAttrs)
    if not 0 <= attrs.axis < len(attrs.shape):
        raise ShapeError(f"iota: axis {attrs.axis} is outside shape {list(attrs.shape)}")
    if attrs.dtype.is_bool:
        raise DTypeError("iota: bool is not accepted")
    return (TensorType(attrs.shape, attrs.dtype),)


def _iota(attrs: IotaAttrs) -> tuple[np.ndarray, ...]:
    aligned = [1] * len(attrs.shape)
    aligned[attrs.axis] = attrs.shape[attrs.axis]
    line = np.arange(attrs.shape[attrs.axis]).astype(attrs.dtype.numpy).reshape(aligned)
    return (np.broadcast_to(line, attrs.shape),)


iota = register("iota", "source", _infer_iota, _iota, IotaAttrs)


def _infer_random_bits(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ShapeAttrs)
    (key,) = types
    if key.dtype is not dtypes.uint32 or key.shape[-1:] != (2,):
        raise DTypeError(f"random_bits: a key must be u32[2], got {key}")
    if attrs.shape[: key.rank - 1] != key.shape[:-1]:
        raise ShapeError(f"random_bits: keys {key} do not fit {list(attrs.shape)}")
    return (TensorType(attrs.shape, dtypes.uint32),)


def _random_bits(attrs: ShapeAttrs, key: np.ndarray) -> tuple[np.ndarray, ...]:
    size = int(np.prod(attrs.shape[key.ndim - 1 :], dtype=np.int64))  # drawn from one key
    block = np.arange(-(-size // 4), dtype=np.uint64)
    counter = np.zeros((block.size, 4), np.uint32)
    counter[:, 0] = block & np.uint64(0xFFFFFFFF)
    counter[:, 1] = block >> np.uint64(32)
    words = philox4x32(counter, np.asarray(key, np.uint32)[..., np.newaxis, :])
    return (words.reshape(*key.shape[:-1], -1)[..., :size].reshape(attrs.shape),)


# Element i is word i % 4 of Philox 4x32-10 at counter (i // 4, 0) under the key (low and high half, 32 bits each).
# Several keys, u32[.., 2], give one such row each: the dims before the last are the first of the result.
random_bits = register("random_bits", "source", _infer_random_bits, _random_bits, ShapeAttrs)


@dataclass(frozen=True, slots=True)
class ShuffleAttrs(Attrs):
    """The size of the set that is permuted."""

    n: int


def _infer_shuffle(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ShuffleAttrs)
    indices, keys = types
    if indices.dtype is not dtypes.uint32 or keys.dtype is not dtypes.uint32:
        raise DTypeError(f"shuffle_index: indices and round keys must be uint32, got {indices} and {keys}")
    if keys.rank < 2 or keys.shape[-1] != 2 or keys.shape[-2] == 0:
        raise ShapeError(f"shuffle_index: round keys must be [rounds, 2], got {keys}")
    if indices.shape[: keys.rank - 2] != keys.shape[:-2]:
        raise ShapeError(f"shuffle_index: round keys {keys} do not fit indices {indices}")
    if not 1 <= attrs.n < 2**31:
        raise ShapeError(f"shuffle_index: n must be in [1, 2**31), got {attrs.n}")
    return (indices,)


# Where each index in [0, n) goes under a keyed permutation (swap-or-not, Hoang, Morris and Rogaway 2012): shuffling
# needs no memory, and any position of any epoch can be computed on its own. Round keys u32[.., rounds, 2] are one
# permutation for each of the first dims, which the indices have too.
shuffle_index = register(
    "shuffle_index",
    "index",
    _infer_shuffle,
    lambda a, indices, keys: (shuffle_meaning(indices, keys, a.n),),
    ShuffleAttrs,
)
