"""Derivative rows of the sources: they depend on nothing that has a derivative."""

from graphc.graph.ir import Op
from graphc.graph.ops import source as ops
from graphc.transform.autodiff.rows import Row, Zero

ROWS: dict[Op, Row] = {op: Zero() for op in (ops.constant, ops.iota, ops.random_bits, ops.shuffle_index)}
