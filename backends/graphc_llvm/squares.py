"""Short loops that run along memory which the lanes do not are unrolled: they read and write squares of it.

In: the body of a loop that will run in lanes. Out: the body with those loops of kind "unroll", of which the emitter
makes rows that are transposed in registers (`transpose`).
"""

from dataclasses import replace

from graphc.kernel.affine import Facts, stride_of
from graphc.kernel.ir import For, Stmt, Var, While, walk
from graphc.kernel.schedule.nests import extent_of
from graphc_llvm.axes import LANES, Axis, Touch, accesses


def in_squares(statements: tuple[Stmt, ...], along: Axis, known: Facts) -> tuple[Stmt, ...]:
    """The statements of a body whose counter `along` runs in lanes."""
    result: list[Stmt] = []
    for statement in statements:
        if isinstance(statement, For):
            extent = extent_of(statement)
            has_loops = any(isinstance(inner, For | While) for inner in walk(statement.body))
            is_short = statement.kind == "serial" and extent is not None and 2 <= extent <= LANES
            if has_loops or not is_short:
                statement = replace(statement, body=in_squares(statement.body, along, known))
            elif any(_is_across(touch, statement.var, along, known) for touch in accesses(statement.body)):
                statement = replace(statement, kind="unroll")
        result.append(statement)
    return tuple(result)


def _is_across(touch: Touch, step: Var, along: Axis, known: Facts) -> bool:
    """Whether an access moves by one element with the step, and by another constant number with the lanes."""
    of_step, of_lanes = (stride_of(touch.buffer, touch.index, var, known) for var in (step, along.var))
    return of_step == 1 and of_lanes not in (None, 0, 1)
