"""Bugs in loops, scatters, batching, windows and orders, and functions whose results are known by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

import graphc as gc
import graphc.numpy as gnp
from graphc.core.dtypes import int32
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph
from graphc.graph.ops import movement
from graphc.kernel import ir
from graphc.kernel.lower import cumulative, scatter, sorting, windows
from graphc.nn import functional as F
from graphc.passes import control
from graphc.passes import windows as windows_pass
from graphc.plan import instructions
from graphc.transform.autodiff import indexing as derivatives_of_indexing
from graphc.transform.autodiff import loop_residuals, loops
from graphc.transform.batching import control as batched_control
from graphc.transform.batching import indexing as batched_indexing
from graphc.transform.batching import rows
from graphc_llvm import driver
from tests.mutants.planting import Mutant, Planting

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [3.0, -2.0, 1.0]], np.float32)


def gives(
    fn: Callable[..., object],
    wanted: object,
    *args: np.ndarray,
    by: Callable[[Callable[..., object]], Callable[..., object]] = lambda fn: fn,
) -> Callable[[], None]:
    """A function, transformed by `by`, on the cpu backend against what it gives by hand."""

    def check() -> None:
        transformed = by(lambda *given: fn(*given))  # a function of its own each time: what is derived is remembered
        found = gc.compile(transformed, *args)(*args)
        np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-5, atol=1e-6)

    return check


# -------------------------------------------------------------------------------------------------------------- loops


def leave_out_the_last_iteration(patch: Planting) -> None:
    repeat = instructions.Repeat
    patch.setattr(instructions, "Repeat", lambda count, *rest: repeat(count - 1, *rest))


def run_once_too_often(patch: Planting) -> None:
    repeat = instructions.Repeat
    patch.setattr(instructions, "Repeat", lambda count, *rest: repeat(count + 1, *rest))


def stack_in_the_order_of_time(patch: Planting) -> None:
    """As if a scan in reverse wrote its first result first."""
    row = instructions._Addresses._row

    def mutant(self, call, whole, *rest):
        return row(self, replace(call, reverse=False) if whole.segment == "output" else call, whole, *rest)

    patch.setattr(instructions._Addresses, "_row", mutant)


def ask_after_the_body(patch: Planting) -> None:
    ask = driver._EntryEmitter._while

    def mutant(self, loop):
        self.block(loop.body)
        ask(self, loop)

    patch.setattr(driver._EntryEmitter, "_while", mutant)


def take_a_carry_for_a_constant(patch: Planting) -> None:
    """What follows from its first value then moves out of the loop."""
    fixed = control._fixed_carries

    def mutant(builder, node, attrs):
        body = attrs.body
        if attrs.num_carries < 2:
            return None
        outputs = (body.inputs[attrs.num_captures], *body.outputs[1:])
        stays = Graph(body.name, body.inputs, body.nodes, outputs)
        return fixed(builder, node, replace(attrs, body=stays))

    patch.setattr(control, "_fixed_carries", mutant)


def keep_residuals_backwards(patch: Planting) -> None:
    found = loop_residuals.Residuals._found

    def mutant(self, c, results):
        fixed, stacked = found(self, c, results)
        return fixed, [c(movement.reverse, x, attrs=movement.AxesAttrs((0,))) for x in stacked]

    patch.setattr(loop_residuals.Residuals, "_found", mutant)


def forget_cotangents_of_earlier_iterations(patch: Planting) -> None:
    class Forgetful(Compose):
        def add(self, lhs, rhs):
            return rhs

    patch.setattr(loops, "Compose", Forgetful)


def power_by_scan(x):
    """x ** 5, one factor at a time; the first power is a carry too."""
    return gc.scan(lambda carry, _: ((carry[0] * x, carry[1] + carry[0]), None), (x, x), None, length=4)[0]


def running_products(w, xs):
    """Products with the rows from the last to the first, stacked."""
    return gc.scan(lambda h, x: (h * x * w, h * x * w), gnp.ones_like(w), xs, reverse=True)[1]


def last_product(w, xs):
    return gnp.sum(gc.scan(lambda h, x: (h * x * w, None), gnp.ones_like(w), xs)[0])


def halvings(n, x):
    return gc.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] / 2), (np.array(0), x))[1]


W = np.array([2.0, -1.0, 0.5], np.float32)
STACKED = np.stack([W**3 * X[0] * X[1] * X[2], W**2 * X[1] * X[2], W * X[2]])
POWERS = np.stack([X[0] ** 5, X[0] + X[0] + X[0] ** 2 + X[0] ** 3 + X[0] ** 4])
LOOPS = (
    Mutant(
        "the last iteration is left out",
        leave_out_the_last_iteration,
        gives(lambda x: gnp.stack(list(power_by_scan(x))), POWERS, X[0]),
    ),
    Mutant(
        "the body runs once too often",
        run_once_too_often,
        gives(lambda x: gnp.stack(list(power_by_scan(x))), POWERS, X[0]),
    ),
    Mutant("a scan in reverse stacks forwards", stack_in_the_order_of_time, gives(running_products, STACKED, W, X)),
    Mutant("while asks after the body", ask_after_the_body, gives(halvings, X[0], np.array(0), X[0])),
    Mutant(
        "a carry is taken for a constant",
        take_a_carry_for_a_constant,
        gives(lambda x: gnp.stack(list(power_by_scan(x))), POWERS, X[0]),
    ),
    Mutant(
        "residuals of a scan are in another order",
        keep_residuals_backwards,
        gives(last_product, W**3 * np.prod(X, 0) / X, W, X, by=partial(gc.grad, argnums=1)),
    ),
    Mutant(
        "only the last iteration has a cotangent for a capture",
        forget_cotangents_of_earlier_iterations,
        gives(last_product, 3 * W**2 * np.prod(X, 0), W, X, by=gc.grad),
    ),
)

# ----------------------------------------------------------------------------------------------------------- scatters


def drop_updates_of_the_last_place(patch: Planting) -> None:
    inside = scatter._inside
    patch.setattr(scatter, "_inside", lambda position, extent: inside(position, extent - 1))


def scatter_every_row_like_the_first(patch: Planting) -> None:
    update = scatter._Scatter._update

    def mutant(self, counters, target):
        update(self, (ir.index(0), *counters[1:]) if self.batch else counters, target)

    patch.setattr(scatter._Scatter, "_update", mutant)


def drop_cotangents_from_outside(patch: Planting) -> None:
    """Gather reads the nearest element for an index outside."""
    patch.setattr(derivatives_of_indexing, "_clamped", lambda c, indices, extent: indices)


def give_cotangents_to_dropped_updates(patch: Planting) -> None:
    patch.setattr(derivatives_of_indexing, "_inside", lambda c, indices, extent: None)


def scattered(x, indices, updates):
    return x.at[indices].add(updates)


def scattered_rows(x, indices, updates):
    return gc.vmap(scattered)(x, indices, updates)


def _by_hand(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    found = x.copy()
    np.add.at(found, indices, updates)
    return found


PLACES = np.array([[2, 2, 0], [1, 0, 1], [0, 2, 2]])
ROWS = np.stack([_by_hand(X[k], PLACES[k], W) for k in range(3)])
SCATTERS = (
    Mutant(
        "updates of the last place are dropped",
        drop_updates_of_the_last_place,
        gives(scattered, _by_hand(X[0], PLACES[0], W), X[0], PLACES[0], W),
    ),
    Mutant(
        "every row is scattered like the first",
        scatter_every_row_like_the_first,
        gives(scattered_rows, ROWS, X, PLACES, np.stack([W] * 3)),
    ),
    Mutant(
        "cotangents of what was read from outside are dropped",
        drop_cotangents_from_outside,
        gives(lambda x, i: gnp.sum(gnp.take(x, i)), [0.0, 1.0, 2.0], W, np.array([9, 1, 9]), by=gc.grad),
    ),
    Mutant(
        "dropped updates have cotangents",
        give_cotangents_to_dropped_updates,
        gives(lambda u, i: gnp.sum(scattered(u * 0, i, u)), [0.0, 1.0, 1.0], W, np.array([9, 1, 0]), by=gc.grad),
    ),
)

# ----------------------------------------------------------------------------------------------------------- batching


def put_the_batch_dim_last(patch: Planting) -> None:
    """As where an operand that all examples share is spread over them."""

    def mutant(c, value, is_batched, size):
        return value if is_batched else c.broadcast(value, (*value.shape, size), tuple(range(value.type.rank)))

    patch.setattr(rows, "with_batch", mutant)


def leave_the_batch_dim_where_it_is(patch: Planting) -> None:
    patch.setattr(batched_indexing, "move_to_front", lambda c, x, dim: x)


def forget_the_batch_dim_of_a_carry(patch: Planting) -> None:
    def mutant(batcher, body, captures, carries, xs):
        found = batcher.batch(body, [*captures, *carries, *xs])
        return found.graph, list(carries), list(found.outputs[len(carries) :])

    patch.setattr(batched_control, "_settled", mutant)


def leave_rows_and_examples_as_they_are(patch: Planting) -> None:
    patch.setattr(batched_control, "_swapped", lambda c, x: x)


def let_examples_run_on(patch: Planting) -> None:
    """Until the last of them is done."""
    patch.setattr(batched_control, "_per_example", lambda c, flags, on_true, on_false: on_true)


COUNTS = np.array([0, 3, 1])
BATCHES = (
    Mutant(
        "what examples share is spread along another dim",
        put_the_batch_dim_last,
        gives(lambda x, y: x - y, X - W, X, W, by=partial(gc.vmap, in_axes=(0, None))),
    ),
    Mutant(
        "the batch dim of a gather is left where it is",
        leave_the_batch_dim_where_it_is,
        gives(
            lambda x, i: gnp.take(x, i, axis=1),
            X[:, PLACES].swapaxes(0, 1),
            X,
            PLACES,
            by=partial(gc.vmap, in_axes=(None, 0)),
        ),
    ),
    Mutant(
        "a carry lacks its batch dim",
        forget_the_batch_dim_of_a_carry,
        gives(lambda x: gc.scan(lambda h, row: (h + row, None), np.float32(0), x)[0], X.sum(1), X, by=gc.vmap),
    ),
    Mutant(
        "rows are taken for examples",
        leave_rows_and_examples_as_they_are,
        gives(lambda x: gc.scan(lambda h, row: (h + row, h + row), np.float32(0), x)[1], X.cumsum(1), X, by=gc.vmap),
    ),
    Mutant(
        "examples go on when they are done",
        let_examples_run_on,
        gives(halvings, X[0] / 2.0**COUNTS, COUNTS, X[0], by=gc.vmap),
    ),
)

# ------------------------------------------------------------------------------------------------- windows and orders


def count_starts_from_the_end(patch: Planting) -> None:
    first = windows.first_of

    def mutant(emitter, start, extent, size):
        negative = ir.Compare("lt", start, ir.Const(0, start.dtype))
        return first(
            emitter, ir.Select(negative, ir.Binary("add", start, ir.Const(extent, start.dtype)), start), extent, size
        )

    patch.setattr(windows, "first_of", mutant)


def sort_equal_ones_backwards(patch: Planting) -> None:
    compare = sorting.Compare

    def mutant(op, a, b):
        return compare(op, b, a) if op == "lt" and b.dtype is int32 else compare(op, a, b)

    patch.setattr(sorting, "Compare", mutant)


def run_forwards(patch: Planting) -> None:
    place = cumulative._Rows.place

    def mutant(self, counters, lane, position):
        last = ir.index(self.length - 1)
        return place(self, counters, lane, ir.Binary("sub", last, position) if self.attrs.reverse else position)

    patch.setattr(cumulative._Rows, "place", mutant)


def pad_with_zeros(patch: Planting) -> None:
    padded = windows_pass.padded
    patch.setattr(windows_pass, "padded", lambda c, x, dims, sliding, fill: padded(c, x, dims, sliding, 0))


def pad_at_the_other_end(patch: Planting) -> None:
    padded = windows_pass.padded

    def mutant(c, x, dims, sliding, fill):
        turned = tuple(replace(each, low=each.high, high=each.low) for each in sliding)
        return padded(c, x, dims, turned, fill)

    patch.setattr(windows_pass, "padded", mutant)


def pooled(x):
    return F.max_pool1d(x[None, None], 3, stride=1, padding=1)[0, 0]


TIES = np.array([3, 1, 3, 1, 1, 2, 3], np.uint8)
ORDERS = (
    Mutant(
        "a negative start counts from the end",
        count_starts_from_the_end,
        gives(lambda x, i: gnp.dynamic_slice(x, [i], [2]), X[0, :2], X[0], np.array(-1)),
    ),
    Mutant(
        "equal ones are sorted backwards", sort_equal_ones_backwards, gives(gnp.argsort, [1, 3, 4, 5, 0, 2, 6], TIES)
    ),
    Mutant(
        "cumulative ops in reverse run forwards",
        run_forwards,
        gives(lambda x: gnp.sum(gnp.cumsum(x) * W), W[::-1].cumsum()[::-1], X[0], by=gc.grad),
    ),
    Mutant(
        "windows are padded with zeros",
        pad_with_zeros,
        gives(pooled, [-1.0, -1.0, -2.0, -2.0], np.array([-1, -3, -2, -4], np.float32)),
    ),
    Mutant(
        "windows are padded at the other end",
        pad_at_the_other_end,
        gives(
            lambda x, w: F.conv1d(x[None, None], w[None, None], padding="same")[0, 0],
            [X[0, 0] * 2 - X[0, 1], X[0, 1] * 2 - X[0, 2], X[0, 2] * 2],
            X[0],
            W[:2],
        ),
    ),
)

MUTANTS = (*LOOPS, *SCATTERS, *BATCHES, *ORDERS)
