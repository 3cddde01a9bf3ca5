"""Packs are shared where all that is between allows it: the memory, and what is written there."""

from dataclasses import replace

from graphc.kernel.program import KernelCall, LoopProgram
from graphc.plan.build import arena_needs
from graphc.plan.memory import pack
from graphc.plan.packs import share_packs
from tests.plan.programs import Builder


def packed_product(b: Builder, x: int, w: int, name: str = "pack") -> tuple[int, int]:
    """A product of `x` and `w`, which is packed for it: the packed tensor and the result."""
    packed, result = b.temp(512), b.temp(64)
    b.call([w], [packed], name=name)
    b.call([x, packed], [result])
    return packed, result


def shared(b: Builder, outputs: list[int], packed: tuple[int, ...]) -> LoopProgram:
    program = LoopProgram("main", b.tensors, tuple(b.calls), tuple(b.inputs), tuple(outputs))
    result = share_packs(program, frozenset(packed))
    assert pack(arena_needs(result)).peak <= pack(arena_needs(program)).peak
    return result


def packs(program: LoopProgram) -> int:
    return sum(call.kernel.name.startswith("pack") for call in program.calls)


def test_equal_packs_are_one() -> None:
    b = Builder()
    x, y, w = b.input(64), b.input(64), b.input(512)
    found = [packed_product(b, each, w) for each in (x, y, x)]
    program = shared(b, [result for _, result in found], tuple(packed for packed, _ in found))
    assert packs(program) == 1
    assert {call.args[1] for call in program.calls[1:]} == {found[0][0]} and len(program.tensors) == len(b.tensors) - 2


def test_other_operands_and_other_kernels_are_not() -> None:
    b = Builder()
    x, w, v = b.input(64), b.input(512), b.input(512)
    found = [packed_product(b, x, w), packed_product(b, x, v), packed_product(b, x, w, "pack_1")]
    assert packs(shared(b, [result for _, result in found], tuple(packed for packed, _ in found))) == 3


def test_a_reader_whose_last_argument_is_packed_is_no_pack() -> None:
    b = Builder()
    x, w = b.input(64), b.input(512)
    (p, first), (q, second) = packed_product(b, x, w), packed_product(b, x, w)
    for number in (1, 3):  # as the compiler calls them: what is packed comes last
        call = b.calls[number]
        x_param, packed, result = call.kernel.params
        kernel = replace(call.kernel, params=(x_param, result, packed))
        b.calls[number] = KernelCall(kernel, (call.args[0], call.args[2], call.args[1]))
    program = shared(b, [first, second], (p, q))
    assert packs(program) == 1 and len(program.calls) == 3


def test_an_operand_that_is_written_in_between_is_packed_again() -> None:
    b = Builder()
    x, given = b.input(64), b.input(512)
    w = b.temp(512)
    b.call([given], [w])
    p, first = packed_product(b, x, w)
    b.call([first], [], inouts=[w])
    q, second = packed_product(b, x, w)
    assert packs(shared(b, [first, second], (p, q))) == 2


def test_nothing_is_kept_where_memory_is_short() -> None:
    """A large tensor in between: the packed operand would lie beside it. With a larger one elsewhere there is room."""
    for elsewhere, wanted in ((0, 2), (8192, 1)):
        b = Builder()
        x, w = b.input(64), b.input(512)
        p, first = packed_product(b, x, w)
        large, small = b.temp(4096), b.temp(64)
        b.call([first], [large])
        b.call([large], [small])
        q, second = packed_product(b, small, w)
        more, last = b.temp(elsewhere), b.temp(64)
        b.call([second], [more])
        b.call([more], [last])
        assert packs(shared(b, [first, last], (p, q))) == wanted
