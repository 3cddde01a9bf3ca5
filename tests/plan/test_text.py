"""The text of a plan and the memory report."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from graphc.core.dtypes import float32, uint8
from graphc.core.errors import ArgumentError
from graphc.plan.build import build
from graphc.plan.ir import Block, Branch, Copy, Entry, Plan, Ref, Repeat, Slot
from graphc.plan.report import memory_report
from graphc.plan.text import print_plan
from tests.plan.executor import plan_of
from tests.plan.programs import Builder, slots


def two_entries() -> Plan:
    train = Builder((256, 64))
    x, scale = train.input(512), train.constant(np.array([2.0], np.float32))
    hidden, act, grad, new = train.temp(512), train.temp(512), train.temp(256), train.temp(256)
    loss = train.temp(4)
    train.call([x, train.states[0]], [hidden], scratch=[128], name="dense")
    train.call([hidden, scale], [act], {0: [0]}, name="tanh")
    train.call([act, x], [grad, loss], name="backward")
    train.call([train.states[0], grad], [new], {0: [0, 1]}, name="sgd")
    evaluate = Builder((256, 64))
    x = evaluate.input(512)
    y, moved = evaluate.temp(512), evaluate.view(evaluate.states[0], 64, 64)
    evaluate.call([x, evaluate.states[0]], [y], name="dense")
    programs = [train.program([loss], [(0, new)], "train"), evaluate.program([y], [(1, moved)], "evaluate")]
    ins = [[Slot("x", float32, (8, 16))]] * 2
    outs = [[Slot("loss", float32, ())], [Slot("y", float32, (8, 16))]]
    return build(programs, [Slot("w", float32, (8, 8)), Slot("b", float32, (16,))], ins, outs)


def test_plan_text(golden: Callable[[str, str], None]) -> None:
    golden("plan", print_plan(two_entries()))


def test_nested_blocks_are_indented() -> None:
    body = Block((Copy(Ref("input", 0, 16, 0, (16,)), Ref("output", 0, 16, 0, (16,))),))
    block = Block((Branch(Ref("state", 64, 4), (Block((Repeat(4, body),)), body, body)),))
    slot = Slot("x", uint8, (64,))
    text = print_plan(Plan((), 0, (), 0, {"main": Entry("main", (slot,), (slot,), block, 0, (), 0)}))
    assert text.split("lower bound 0\n")[1] == (
        "     0  branch state[64:68]:\n"
        "          repeat i0 < 4:\n"
        "            copy output 0[0:16 + 16*i0] <- input 0[0:16 + 16*i0]\n"
        "        or at 1:\n"
        "          copy output 0[0:16 + 16*i0] <- input 0[0:16 + 16*i0]\n"
        "        or, from 2 on:\n"
        "          copy output 0[0:16 + 16*i0] <- input 0[0:16 + 16*i0]\n"
    )


def test_memory_report_of_an_entry() -> None:
    report = memory_report(two_entries(), "train")
    assert (report.moment.instruction, report.moment.kernel) == (2, "backward")
    assert [(t.nbytes, t.source) for t in report.tensors] == [(512, "net.py:5"), (256, "net.py:6")]
    assert report.arena_bytes == report.lower_bound_bytes == 768
    assert (report.state_bytes, report.constant_bytes) == (320, 64)
    assert (report.input_bytes, report.output_bytes) == (512, 4)
    assert report.peak_bytes == 768 + 320 + 64 + 512 + 4


def test_memory_report_of_the_whole_program(golden: Callable[[str, str], None]) -> None:
    report = memory_report(two_entries())
    assert (report.arena_bytes, report.input_bytes, report.output_bytes) == (768, 512, 512)
    golden("memory_report", str(report))


def test_live_tensors_add_up_to_the_lower_bound() -> None:
    b = Builder()
    temps = [b.temp(64 * (k + 1)) for k in range(4)]
    b.call([], [temps[0]])
    for before, after in pairwise(temps):
        b.call([before], [after], scratch=[64])
    report = memory_report(plan_of([b.program()], []))
    assert sum(tensor.nbytes for tensor in report.tensors) == report.lower_bound_bytes


def test_an_empty_arena_has_a_report() -> None:
    b = Builder((8,))
    report = memory_report(plan_of([b.program()], slots("s", (8,))))
    assert (report.arena_bytes, report.tensors, report.moment.kernel) == (0, (), "nothing")


def test_unknown_entries_are_named() -> None:
    with pytest.raises(ArgumentError, match="no entry 'fit'; entries: train, evaluate"):
        memory_report(two_entries(), "fit")
