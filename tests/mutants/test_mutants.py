"""Planted compiler bugs. Each check passes as things are and must fail while the bug is in: else it proves nothing.

Mutants of the memory planner are in `tests/plan/test_execute.py`.
"""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
from graphc.core.dtypes import int64
from graphc.core.errors import GraphcError
from graphc.graph.ir import Graph
from graphc.graph.ops import elementwise
from graphc.graph.registry import all_ops
from graphc.kernel import ir
from graphc.kernel.lower import contractions, cumulative, lanes, movement, scatter, sorting, windows
from graphc.kernel.schedule.rewrite import Substitution, plus
from graphc.passes import cse, dce, stabilise
from graphc.plan import build, packs, place
from graphc.transform.autodiff import backward, table
from graphc.transform.autodiff.rows import Partials
from graphc_llvm import arithmetic, operations, recipes, streams, tables, transpose
from graphc_llvm.contraction import jam, packing, roles
from graphc_llvm.contraction import schedule as tiled
from tests.backends.test_contraction_strides import kernels_of
from tests.backends.test_contractions import check as same_as_loops
from tests.backends.test_llvm_schedule import matmul
from tests.kernel.lower.test_rounding import test_products_are_chains_of_4096 as products
from tests.mutants import language
from tests.mutants.checks import (
    RNG,
    agrees,
    changed_weight,
    gradients,
    product,
    rounding,
    samples,
    saturation,
    stable,
    sums_in_step,
    swap,
    unused_results,
)
from tests.mutants.planting import Mutant, Planting

# ----------------------------------------------------------------------------------------------------------- mutants


def drop_the_tail(patch: Planting) -> None:
    strips = recipes.strips

    def mutant(var, extent, begin, width, body, names):
        return strips(var, max(extent - extent % width, width), begin, width, body, names)[: 1 if extent > width else 2]

    patch.setattr(recipes, "strips", mutant)


def repeat_the_first_step(patch: Planting) -> None:
    index = streams.index
    patch.setattr(streams, "index", lambda value: index(value if value != 1 else 0))


def swap_operand_dims(patch: Planting) -> None:
    operand_place = contractions._Contraction._operand_place
    patch.setattr(contractions._Contraction, "_operand_place", lambda *args: operand_place(*args)[::-1])


def forget_earlier_cotangents(patch: Planting) -> None:
    class Forgetful(backward.Compose):
        def add(self, lhs, rhs):
            return rhs

    patch.setattr(backward, "Compose", Forgetful)


def add_in_another_order(patch: Planting) -> None:
    def serial(self, parts, count, idx):
        for there in range(1, count):
            for reducer, buffers in zip(self.reducers, parts, strict=True):
                source = (ir.index(there), *idx)
                self.emitter.append(lanes._combine(reducer, buffers, (ir.index(0), *idx), source))
        return [self.emitter.let(ir.Load(buffers[-1], (ir.index(0), *idx)), "r") for buffers in parts]

    patch.setattr(lanes.Lanes, "tree", serial)


def combine_a_part_with_itself(patch: Planting) -> None:
    combine = lanes._combine
    patch.setattr(lanes, "_combine", lambda reducer, buffers, here, there: combine(reducer, buffers, here, here))


def lose_nan(patch: Planting) -> None:
    patch.setitem(tables.BINARY, "max", {**tables.BINARY["max"], "float": "llvm.maxnum"})
    patch.setattr(
        arithmetic,
        "extremum",
        lambda b, op, dtype, lanes, x, y: operations._apply(b, "llvm.maxnum", dtype, lanes, [x, y]),
    )


def compare_wrongly(patch: Planting) -> None:
    patch.setitem(tables.COMPARE, "lt", tables.COMPARE["le"])


def round_towards_minus_infinity(patch: Planting) -> None:
    patch.setitem(tables.ROUNDING, "trunc", tables.ROUNDING["floor"])


def merge_different_attributes(patch: Planting) -> None:
    patch.setattr(cse, "attrs_key", lambda attrs: ())


def share_constants_by_size(patch: Planting) -> None:
    add = build._ConstantPool.add

    def mutant(self: build._ConstantPool, array: np.ndarray) -> int:
        for offset, known in self.items:
            if known.nbytes == array.nbytes:
                return offset
        return add(self, array)

    patch.setattr(build._ConstantPool, "add", mutant)


def overwrite_state_before_its_last_read(patch: Planting) -> None:
    patch.setattr(place, "may_overwrite", lambda *args: True)


def gather_elsewhere(patch: Planting) -> None:
    patch.setattr(movement, "nearest", lambda position, extent: ir.index(0))


def leave_fragile_forms(patch: Planting) -> None:
    patch.setattr(stabilise.Stabilise, "run", lambda self, graph: graph)


def swap_key_halves(patch: Planting) -> None:
    philox = movement.philox
    patch.setattr(movement, "philox", lambda lo, hi, k0, k1, emit: philox(lo, hi, k1, k0, emit))


def cancel_in_the_derivative_of_sigmoid(patch: Planting) -> None:
    wrong = Partials((lambda c, t, z, x: c.mul(t, c.mul(z, c.sub(c.like(z, 1), z))),))  # s (1 - s)
    patch.setitem(table.ROWS, elementwise.sigmoid, wrong)
    patch.setenv("GRAPHC_STABILISE", "0")  # or 1 - s(x) becomes s(-x) again


def derive_tanh_wrongly(patch: Planting) -> None:
    wrong = Partials((lambda c, t, z, x: c.mul(t, c.sub(c.like(z, 1), z)),))
    patch.setitem(table.ROWS, elementwise.tanh, wrong)


def take_every_op_for_commutative(patch: Planting) -> None:
    patch.setattr(cse, "COMMUTATIVE", frozenset(all_ops()))


def mix_up_the_results_of_calls(patch: Planting) -> None:
    smaller = dce._smaller

    def mutant(*args):
        graph, read = smaller(*args)
        return Graph(graph.name, graph.inputs, graph.nodes, graph.outputs[::-1]), read

    patch.setattr(dce, "_smaller", mutant)


def round_products(patch: Planting) -> None:
    patch.setattr(contractions, "Fma", lambda a, b, c: ir.Binary("add", ir.Binary("mul", a, b), c))


def never_cut_a_product(patch: Planting) -> None:
    patch.setattr(contractions, "CHAIN", 1 << 40)


def cut_sums_elsewhere(patch: Planting) -> None:
    patch.setattr(lanes, "CHUNK", 2048)


def scatter_outside(patch: Planting) -> None:
    patch.setattr(scatter, "_inside", lambda position, extent: ir.Compare("eq", position, position))


def keep_the_last_update(patch: Planting) -> None:
    patch.setitem(scatter._COMBINE, "scatter_add", None)


def begin_every_window_at_0(patch: Planting) -> None:
    patch.setattr(windows, "nearest", lambda position, extent: ir.index(0))


def forget_the_chunks_before(patch: Planting) -> None:
    chunk = cumulative._Chunks._chunk
    patch.setattr(
        cumulative._Chunks,
        "_chunk",
        lambda self, at, base, count, before, stored: chunk(self, at, base, count, None, stored),
    )


def compare_floats_by_their_bits(patch: Planting) -> None:
    patch.setattr(sorting.Keys, "_same_order", lambda self, bits: bits)


def drop_the_last_rows_of_a_product(patch: Planting) -> None:
    strips = tiled.strips
    patch.setattr(tiled, "strips", lambda rows, most: strips(rows, most)[:1])


def drop_the_last_columns_of_a_panel(patch: Planting) -> None:
    copied = packing._Source.copied

    def mutant(self, start, place, vectors, lanes):
        return copied(self, start, place, vectors, lanes) if lanes == 16 else ()

    patch.setattr(packing._Source, "copied", mutant)


def transpose_wrongly(patch: Planting) -> None:
    pick = transpose._pick
    patch.patch.setattr(transpose, "_square_function", transpose._square_function.__wrapped__)  # it remembers its texts
    patch.setattr(
        transpose, "_pick", lambda lane, shift, distance, lanes: pick(lane, distance - shift, distance, lanes)
    )


def drop_the_last_terms_when_packing(patch: Planting) -> None:
    transposed = packing._Source.transposed

    def mutant(self, *args):
        *outer, (name, extent) = self.loops
        return transposed(replace(self, loops=(*outer, (name, extent - extent % 16))), *args)

    patch.setattr(packing._Source, "transposed", mutant)


def read_the_panel_of_other_columns(patch: Planting) -> None:
    pack = tiled.pack_columns

    def mutant(found, each, operand, lane, tile, panels, first, *rest):
        return pack(found, each, operand, lane, tile, panels, ir.index(0), *rest)

    patch.setattr(tiled, "pack_columns", mutant)


def read_the_rows_of_another_tile(patch: Planting) -> None:
    pack = tiled.pack_rows

    def mutant(*args):
        return tuple(
            replace(packed, load=replace(packed.load, index=(ir.index(0), *packed.load.index[1:])))
            for packed in pack(*args)
        )

    patch.setattr(tiled, "pack_rows", mutant)
    patch.setattr(roles, "NEAR_BYTES", 0)  # else rows as few as these are read where they lie


def drop_the_last_steps_of_a_sum(patch: Planting) -> None:
    summed = jam._Body._summed

    def mutant(self, statement, outer, lets):
        extent = int(statement.extent.value)
        return summed(self, replace(statement, extent=ir.index(extent - extent % 2)), outer, lets)

    patch.setattr(jam._Body, "_summed", mutant)


def drop_the_last_step_of_the_last_part(patch: Planting) -> None:
    """Of a sum of several parts: parts are as long as a chain may be, the last one is shorter."""
    summed = jam._Body._summed

    def mutant(self, statement, outer, lets):
        extent = int(statement.extent.value)
        return summed(self, replace(statement, extent=ir.index(extent - (extent < 4096))), outer, lets)

    patch.setattr(jam._Body, "_summed", mutant)


def apply_what_follows_before_the_last_step(patch: Planting) -> None:
    """As if the sum went on in a block of its own, from what was stored for the blocks before it."""
    leaf = tiled._Writer._leaf

    def mutant(self, *packed):
        allocate, clear, sum_of, *after, last = leaf(self, *packed)
        steps = int(sum_of.extent.value)
        early = replace(sum_of, extent=ir.index(steps - 1))
        counter = replace(sum_of.var, name="late")
        later = Substitution(self.outer.names, {sum_of.var.name: plus(counter, ir.index(steps - 1))})
        final = replace(sum_of, var=counter, extent=ir.index(1), body=later.block(sum_of.body))
        total = ir.Load(clear.buffer, ())
        between = replace(clear, value=last.value)
        return (allocate, clear, early, *after, between, final, replace(last, value=total))

    patch.setattr(tiled._Writer, "_leaf", mutant)


def read_what_was_packed_before(patch: Planting) -> None:
    """As if a weight that has changed were the same."""
    patch.setattr(packs, "_key", lambda call: call.kernel.name)
    patch.setattr(packs, "_changed", lambda *args: False)


def wrap_instead_of_saturating(patch: Planting) -> None:
    cast = arithmetic.cast

    def mutant(builder, source, target, width, x):
        if source.is_float and target.is_integer and target.bits < 64:
            x, source = cast(builder, source, int64, width, x), int64
        return cast(builder, source, target, width, x)

    for module in [m for name, m in sys.modules.items() if name.startswith("graphc_llvm")]:
        if vars(module).get("cast") is cast:
            patch.setattr(module, "cast", mutant)


MATMUL = matmul(34, 50, 37, "nn")
LONG = kernels_of(lambda x, y: x @ y, gc.spec((3, 9001), "float32"), gc.spec((9001, 18), "float32"))
SQUARE = RNG.standard_normal((17, 17)).astype(np.float32)
TABLES = (np.arange(100, dtype=np.float32), np.arange(100, dtype=np.float32)[::-1].copy())

MUTANTS = (
    Mutant("the tail of a vector loop is dropped", drop_the_tail, samples("add")),
    Mutant("one step of a sum is added twice, another never", repeat_the_first_step, sums_in_step),
    Mutant("an operand of a product is transposed", swap_operand_dims, samples("dot_general")),
    Mutant("only the last cotangent of a value counts", forget_earlier_cotangents, gradients),
    Mutant("chunks are added in another order", add_in_another_order, rounding),
    Mutant("a part is combined with itself", combine_a_part_with_itself, samples("reduce_sum")),
    Mutant("max loses NaN", lose_nan, samples("max")),
    Mutant("lt is le", compare_wrongly, samples("lt")),
    Mutant("trunc is floor", round_towards_minus_infinity, samples("trunc")),
    Mutant("cse ignores attributes", merge_different_attributes, agrees(lambda x: x.sum(0) - x.sum(1), SQUARE)),
    Mutant(
        "constants of one size are one",
        share_constants_by_size,
        agrees(lambda x: x * TABLES[0] + TABLES[1], np.ones(100, np.float32)),
    ),
    Mutant("new state is written before the old is read", overwrite_state_before_its_last_read, swap),
    Mutant("gather looks elsewhere", gather_elsewhere, samples("gather")),
    Mutant("fragile forms stay", leave_fragile_forms, stable),
    Mutant("the derivative of sigmoid cancels", cancel_in_the_derivative_of_sigmoid, saturation),
    Mutant("the derivative of tanh is wrong", derive_tanh_wrongly, gradients),
    Mutant(
        "every op is commutative", take_every_op_for_commutative, agrees(lambda x: (x - x.T) * (x.T - x) + x.T, SQUARE)
    ),
    Mutant("results of a call are mixed up", mix_up_the_results_of_calls, unused_results),
    Mutant("a product is rounded before it is added", round_products, lambda: products(300)),
    Mutant("a long product is one chain", never_cut_a_product, lambda: products(9000)),
    Mutant("sums are cut elsewhere", cut_sums_elsewhere, rounding),
    Mutant("scatter writes outside", scatter_outside, samples("scatter_add")),
    Mutant("only the last update of an element counts", keep_the_last_update, samples("scatter_add")),
    Mutant("windows are not moved", begin_every_window_at_0, samples("dynamic_slice")),
    Mutant("a chunk does not know those before it", forget_the_chunks_before, samples("cumsum")),
    Mutant("negative floats are sorted backwards", compare_floats_by_their_bits, samples("sort")),
    Mutant("the last rows of a product are dropped", drop_the_last_rows_of_a_product, samples("dot_general")),
    Mutant("the last columns of a panel are dropped", drop_the_last_columns_of_a_panel, product("tn")),
    Mutant("squares are transposed wrongly", transpose_wrongly, product("nt")),
    Mutant("the last terms are not packed", drop_the_last_terms_when_packing, product("nt")),
    Mutant("a panel holds other columns", read_the_panel_of_other_columns, product("nt", 150)),
    Mutant("a packed weight is stale", read_what_was_packed_before, changed_weight),
    Mutant("a tile reads the rows of another", read_the_rows_of_another_tile, product("tn", 45, 150)),
    Mutant("the last steps of a sum are dropped", drop_the_last_steps_of_a_sum, product("nn")),
    Mutant("the last part of a sum lacks a step", drop_the_last_step_of_the_last_part, lambda: same_as_loops(*LONG)),
    Mutant(
        "what follows a sum runs before its last step",
        apply_what_follows_before_the_last_step,
        lambda: same_as_loops(MATMUL),
    ),
    Mutant("casts wrap", wrap_instead_of_saturating, samples("cast")),
    Mutant("the halves of the key are swapped", swap_key_halves, samples("random_bits")),
)


def fails(check: Callable[[], None]) -> bool:
    try:
        check()
    except (AssertionError, GraphcError):
        return True
    return False


@pytest.mark.parametrize("mutant", (*MUTANTS, *language.MUTANTS), ids=lambda mutant: mutant.name)
def test_the_bug_is_noticed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.check()
    with monkeypatch.context() as patch:
        planting = Planting(patch)
        mutant.plant(planting)
        noticed = fails(mutant.check)
    never_run = [function.__qualname__ for function, calls in planting.calls.items() if not calls]
    assert not never_run, "the check does not run what was mutated"
    assert noticed
    mutant.check()
