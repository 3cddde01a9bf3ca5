"""Slices, updates, and elements in another order."""

import numpy as np

from benchmarks.arrays.row import COLUMNS, ROWS, Array, ArrayOperation, Arrays, Compute, Named, matrix, numpy_into, one


def slices() -> Named:
    """Slices whose place is data: read, and written to a copy or in place."""
    import graphc.numpy as gnp

    yield (
        "dynamic_slice",
        ArrayOperation(
            lambda rng: [matrix(rng), np.array(123)],
            lambda x, start: gnp.dynamic_slice(x, [start, 0], [ROWS // 2, COLUMNS]),
            lambda x, start, out: numpy_into(out, x[int(start) : int(start) + ROWS // 2]),
            lambda x, start, out: out.copy_(x[int(start) : int(start) + ROWS // 2]),
        ),
    )

    def window(rng: np.random.Generator) -> Arrays:
        return [matrix(rng), matrix(rng, rows=10), np.array(123)]

    def update(x: Array, new: Array, start: Array) -> Array:
        return gnp.dynamic_update_slice(x, new, [start, 0])

    yield "dynamic_update_slice copy", ArrayOperation(window, update, _numpy_updated, _torch_updated)
    yield "dynamic_update_slice in place", ArrayOperation(window, update, _in_place, _in_place, state=True)


def _numpy_updated(x: Array, new: Array, start: Array, out: Array) -> Array:
    return _in_place(numpy_into(out, x), new, start, out)


def _torch_updated(x: Array, new: Array, start: Array, out: Array) -> Array:
    return _in_place(out.copy_(x), new, start, out)


def _in_place(x: Array, new: Array, start: Array, out: Array) -> Array:
    at = int(start)
    x[at : at + len(new)] = new
    return x


def movements() -> Named:
    """Elements in another order, more often, or with others."""
    import graphc.numpy as gnp

    for axis in (0, 1):
        yield f"flip axis {axis}", _flip(axis)
        yield f"roll axis {axis}", _roll(axis)
        yield f"concat axis {axis}", _concat(axis)
    yield (
        "pad",
        ArrayOperation(one(matrix), lambda x: gnp.pad(x, 3), lambda x, out: np.pad(x, 3), lambda x, out: _torch_pad(x)),
    )
    yield (
        "transpose",
        ArrayOperation(
            one(matrix),
            lambda x: gnp.transpose(x) + 0.0,
            lambda x, out: numpy_into(out, x.T),
            lambda x, out: out.copy_(x.T),
        ),
    )
    yield (
        "repeat",
        ArrayOperation(
            lambda rng: [matrix(rng, columns=250)],
            lambda x: gnp.repeat(x, 4, axis=1),
            lambda x, out: np.repeat(x, 4, axis=1),
            lambda x, out: x.repeat_interleave(4, 1),
        ),
    )


def _flip(axis: int) -> ArrayOperation:
    import graphc.numpy as gnp

    return ArrayOperation(
        one(matrix),
        lambda x: gnp.flip(x, axis),
        lambda x, out: numpy_into(out, np.flip(x, axis)),
        lambda x, out: _torch("flip")(x, (axis,)),
    )


def _roll(axis: int) -> ArrayOperation:
    import graphc.numpy as gnp

    return ArrayOperation(
        one(matrix),
        lambda x: gnp.roll(x, 123, axis),
        lambda x, out: np.roll(x, 123, axis),
        lambda x, out: _torch("roll")(x, 123, axis),
    )


def _concat(axis: int) -> ArrayOperation:
    import graphc.numpy as gnp

    return ArrayOperation(
        lambda rng: [matrix(rng, rows=500), matrix(rng, rows=500)],
        lambda x, y: gnp.concat([x, y], axis=axis),
        lambda x, y, out: np.concatenate([x, y], axis, out=out),
        lambda x, y, out: _torch("cat")([x, y], axis, out=out),
    )


def _torch(name: str) -> Compute:
    import torch

    function: Compute = getattr(torch, name)
    return function


def _torch_pad(x: Array) -> Array:
    import torch

    return torch.nn.functional.pad(x, (3, 3, 3, 3))
