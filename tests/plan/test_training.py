"""A training step made of real loop IR, planned and run by the interpreter in one arena, against NumPy."""

from collections.abc import Sequence

import numpy as np

from graphc.core.dtypes import float64
from graphc.kernel import interpret
from graphc.kernel.ir import (
    Accumulate,
    Binary,
    BinaryOp,
    Buffer,
    Const,
    Expr,
    For,
    Kernel,
    Load,
    Param,
    Store,
    Var,
    index,
)
from graphc.kernel.program import KernelCall, LoopProgram, Tensor
from graphc.plan.build import build
from graphc.plan.ir import Copy, Slot
from graphc.plan.verify import verify
from tests.plan.executor import Machine
from tests.plan.programs import Bytes

ROWS, COLS, RATE, DECAY = 6, 4, 0.05, 0.9
i, j = Var("i"), Var("j")


def buffer(name: str, *shape: int) -> Buffer:
    return Buffer(name, float64, shape)


def binary(op: BinaryOp, a: Expr, b: Expr) -> Expr:
    return Binary(op, a, b)


def constant(value: float) -> Expr:
    return Const(value, float64)


def reads(*buffers: Buffer) -> tuple[Param, ...]:
    return tuple(Param(b, "in") for b in buffers)


def loop(var: Var, extent: int, *body: object) -> For:
    return For(var, index(extent), "serial", body)  # type: ignore[arg-type]


x, w, pred, target = buffer("x", ROWS, COLS), buffer("w", COLS), buffer("pred", ROWS), buffer("target", ROWS)
diff, loss, grad, m = buffer("diff", ROWS), buffer("loss"), buffer("grad", COLS), buffer("m", COLS)
new_m, new_w = buffer("new_m", COLS), buffer("new_w", COLS)


def contraction(name: str, out: Buffer, over: tuple[Var, int], kept: tuple[Var, int], a: Expr, b: Expr) -> Kernel:
    """`out[kept] = sum over a * b`."""
    place = (kept[0],)
    add = Accumulate(((out, place),), (binary("mul", a, b),), "add")
    body = loop(kept[0], kept[1], Store(out, place, constant(0.0)), loop(over[0], over[1], add))
    assert isinstance(a, Load) and isinstance(b, Load)
    return Kernel(name, (*reads(a.buffer, b.buffer), Param(out, "out")), (body,))


PREDICT = contraction("predict", pred, (j, COLS), (i, ROWS), Load(x, (i, j)), Load(w, (j,)))
GRADIENT = contraction("gradient", grad, (i, ROWS), (j, COLS), Load(x, (i, j)), Load(diff, (i,)))
ERROR = Kernel(
    "error",
    (*reads(pred, target), Param(diff, "out", "", ("pred",)), Param(loss, "out")),
    (
        Store(loss, (), constant(0.0)),
        loop(
            i,
            ROWS,
            Store(diff, (i,), binary("sub", Load(pred, (i,)), Load(target, (i,)))),
            Accumulate(((loss, ()),), (binary("mul", Load(diff, (i,)), Load(diff, (i,))),), "add"),
        ),
    ),
)
UPDATE = Kernel(
    "update",
    (*reads(w, m, grad), Param(new_w, "out", "", ("w",)), Param(new_m, "out", "", ("m", "grad"))),
    (
        loop(
            j,
            COLS,
            Store(new_m, (j,), binary("add", binary("mul", Load(m, (j,)), constant(DECAY)), Load(grad, (j,)))),
            Store(new_w, (j,), binary("sub", Load(w, (j,)), binary("mul", Load(new_m, (j,)), constant(RATE)))),
        ),
    ),
)


def training_step() -> LoopProgram:
    sizes = {"x": ROWS * COLS, "target": ROWS, "w": COLS, "m": COLS, "pred": ROWS, "diff": ROWS, "loss": 1}
    sizes |= {"grad": COLS, "new_w": COLS, "new_m": COLS}
    roles = {"x": ("input", 0), "target": ("input", 1), "w": ("state", 0), "m": ("state", 1)}
    number = {name: k for k, name in enumerate(sizes)}
    tensors = {
        k: Tensor(k, 8 * sizes[name], *roles.get(name, ("temporary", -1)), label=name)  # type: ignore[arg-type]
        for name, k in number.items()
    }
    calls = tuple(
        KernelCall(kernel, tuple(number[param.buffer.name] for param in kernel.params))
        for kernel in (PREDICT, ERROR, GRADIENT, UPDATE)
    )
    updates = ((0, number["new_w"]), (1, number["new_m"]))
    return LoopProgram("train", tensors, calls, (number["x"], number["target"]), (number["loss"],), updates)


def interpreted(kernel: Kernel, args: Sequence[Bytes], scratch: Sequence[Bytes]) -> None:
    typed = [a.view(p.buffer.dtype.numpy).reshape(p.buffer.shape) for p, a in zip(kernel.params, args, strict=True)]
    interpret.run(kernel, typed)


def test_training_in_one_arena_matches_numpy() -> None:
    state = [Slot("w", float64, (COLS,)), Slot("m", float64, (COLS,))]
    ins = [Slot("x", float64, (ROWS, COLS)), Slot("target", float64, (ROWS,))]
    plan = build([training_step()], state, [ins], [[Slot("loss", float64, ())]])
    verify(plan)
    entry = plan.entries["train"]
    assert not any(isinstance(instruction, Copy) for instruction in entry.block.instructions)
    assert entry.arena_bytes == entry.lower_bound_bytes == 128

    rng = np.random.default_rng(0)
    weights, momentum = rng.normal(size=COLS), np.zeros(COLS)
    machine = Machine(plan, [weights.view(np.uint8), momentum.view(np.uint8)], interpreted)
    for _ in range(5):
        data, wanted = rng.normal(size=(ROWS, COLS)), rng.normal(size=ROWS)
        error = data @ weights - wanted
        momentum = DECAY * momentum + data.T @ error
        weights = weights - RATE * momentum
        (out,) = machine.call("train", [data.reshape(-1).view(np.uint8), wanted.view(np.uint8)])
        np.testing.assert_allclose(out.view(np.float64)[0], error @ error, rtol=1e-12)
        np.testing.assert_allclose(machine.state()[0].view(np.float64), weights, rtol=1e-12)
        np.testing.assert_allclose(machine.state()[1].view(np.float64), momentum, rtol=1e-12)
