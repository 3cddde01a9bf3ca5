"""Derivative rows of loops and branches; `loops`, `loop_residuals` and `branches` have the rules."""

from graphc.graph.ir import Op
from graphc.graph.ops import control as ops
from graphc.transform.autodiff import branches, loop_residuals, loops
from graphc.transform.autodiff.rows import Region, Row

_LOOP = Region(loops.jvp, loop_residuals.linearise, loops.transpose)

ROWS: dict[Op, Row] = {
    ops.scan: _LOOP,
    ops.while_: _LOOP,
    ops.branch: Region(branches.jvp, branches.linearise, branches.transpose),
}
