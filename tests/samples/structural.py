"""Ops that hold graphs, but for control flow."""

from collections.abc import Iterator

import numpy as np

from graphc.core import dtypes
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import TensorType
from graphc.graph.ops.custom import CheckpointAttrs, CustomJvpAttrs, CustomVjpAttrs, LinearCallAttrs
from graphc.graph.ops.structural import CallAttrs, FusionAttrs
from graphc.graph.registry import lookup
from graphc.transform import autodiff
from tests.samples.arrays import generator, random_array
from tests.samples.sample import Sample


def structural() -> Iterator[Sample]:
    builder = GraphBuilder("body")
    x = builder.input(TensorType((3,), dtypes.float64), "x")
    y = builder.add1(lookup("tanh"), [x])
    body = builder.build([y, builder.add1(lookup("mul"), [x, y])])
    inputs = (np.array([0.5, -1.0, 2.0]),)
    yield Sample("call", "two-results", inputs, CallAttrs(body), ulp=4, differentiate=(0,))
    yield Sample("fusion", "two-results", inputs, FusionAttrs(body, "map"), ulp=4)
    forward, linear = autodiff.linearize(body, [True])
    residuals = len(linear.inputs) - 1
    backward = autodiff.transpose(linear, [False] * residuals + [True])
    rule = autodiff.jvp(body, [True])
    for name, rules in (
        ("custom_jvp", CustomJvpAttrs(body, rule, 0)),
        ("custom_vjp", CustomVjpAttrs(body, forward, backward, 0)),
        ("checkpoint", CheckpointAttrs(body, (False,))),
    ):
        yield Sample(name, "two-results", inputs, rules, ulp=4, differentiate=(0,))
    yield Sample("custom_jvp", "no rule", inputs, CustomJvpAttrs(body, None, 0), ulp=4)
    rng = generator("custom")
    arrays = tuple(random_array(rng, (3,), dtypes.float64, -2, 2) for _ in range(residuals + 1))
    every = tuple(range(residuals + 1))
    yield Sample(
        "linear_call", "both", arrays, LinearCallAttrs(linear, backward, residuals), ulp=4, differentiate=every
    )
    late = tuple(i < residuals for i in every)
    yield Sample("checkpoint", "late", arrays, CheckpointAttrs(linear, late), ulp=4, differentiate=every)
    for dtype in (dtypes.float64, dtypes.int32):
        arrays = tuple(random_array(rng, shape, dtype, -3, 3) for shape in ((3, 5), (7,), ()))
        chosen = (0,) if dtype.is_float else ()
        yield Sample("barrier", dtype.short, arrays, differentiate=chosen)
