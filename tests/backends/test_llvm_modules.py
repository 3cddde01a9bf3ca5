"""What is compiled: equal phases once, in any number of kernels, entries and programs."""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core import config
from graphc.core.errors import BackendError
from graphc_llvm import codegen, host, unlocked
from graphc_llvm.background import Background
from graphc_llvm.executable import CpuExecutable


def layers(x: gnp.Array, weights: list[gnp.Array]) -> gnp.Array:
    for weight in weights:
        x = gnp.tanh(x @ weight)
    return x


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[codegen.Module]:
    """The modules that went through LLVM."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    codegen.runtime()
    seen: list[codegen.Module] = []
    optimise = codegen.optimise

    def spy(module, target):
        seen.append(module)
        return optimise(module, target)

    monkeypatch.setattr(codegen, "optimise", spy)
    return seen


def test_equal_kernels_are_compiled_once(compiled: list[codegen.Module]) -> None:
    x, weights = np.ones((4, 16), np.float32), [np.eye(16, dtype=np.float32)] * 12
    gc.compile(layers, x, weights[:2])
    first = [module for module in compiled if not module.plain]
    compiled.clear()
    gc.compile(layers, x, weights)
    assert len(first) < 4  # not one for each of two layers
    assert [module.plain for module in compiled] == [True]  # twelve layers need no new phase, only their driver


def test_kernels_compiled_while_others_are_scheduled_are_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    x, weights = np.ones((64, 48), np.float32), [np.ones((48, 48), np.float32), np.ones((48, 17), np.float32)]
    ahead = gc.compile(layers, x, weights)
    began = [module for module in code_of(ahead)._program.modules if module.is_large and not module.plain]
    assert began  # there was something to begin with
    monkeypatch.setattr("graphc.compilation.EagerBackend", str)  # which no backend is
    after = gc.compile(layers, x, weights)
    assert code_of(ahead).code == code_of(after).code
    assert np.array_equal(ahead(x, weights), after(x, weights))


def code_of(compiled: gc.CompiledFunction) -> CpuExecutable:
    executable = compiled.compilation.executable
    assert isinstance(executable, CpuExecutable)
    return executable


def test_small_modules_are_compiled_together_and_large_ones_alone(compiled: list[codegen.Module]) -> None:
    def module(name: str, size: int, plain: bool = False) -> codegen.Module:
        body = "  call void @other()\n" * (size // 21)
        return codegen.Module(f"define void @{name}() {{\n{body}  ret void\n}}", ("declare void @other()",), plain)

    small = [module(f"small{n}", 10_000) for n in range(9)]
    large, driver = module("large", 2 * codegen.LARGE), module("driver", 100, plain=True)
    begun = codegen.Begun(host.host())
    for each in (small[0], large, small[0], small[1]):
        begun.add(each)
    made = begun.objects([large, *small, driver])
    assert [module.functions.count("define") for module in compiled if module.plain] == [1]
    joined = [module.functions.count("define") for module in compiled if not module.plain]
    assert sorted(joined) == [1, 1, 2, 2, 2, 2] and len(made) == 7
    assert len(codegen.Begun(host.host()).objects([*small, large])) == 6


def test_what_a_module_calls_that_nobody_asked_for_comes_with_it() -> None:
    """A kernel that was begun and is not in the program after all, compiled together with one that is."""
    helper = codegen.Module("define void @help() {\n  ret void\n}", shared=True)
    dropped = codegen.Module("define void @dropped() {\n  call void @help()\n  ret void\n}", ("declare void @help()",))
    wanted = codegen.Module("define void @wanted() {\n  ret void\n}")
    begun = codegen.Begun(host.host())
    for module in (helper, dropped, wanted):
        begun.add(module)
    objects = begun.objects([wanted])
    assert len(objects) == 2
    assert codegen.link(objects, ["wanted"]).addresses["wanted"]


def test_an_error_in_the_background_is_raised_where_the_result_is_wanted() -> None:
    good = codegen.begin(codegen.Module("define void @f() {\n  ret void\n}"), target=host.host())
    bad = codegen.begin(codegen.Module("define nonsense"), target=host.host())
    assert good.result()
    with pytest.raises(BackendError, match="rejects the generated text"):
        bad.result()


def rest(background: Background) -> None:
    for thread in list(background._threads):
        thread.join(10)


def test_the_interpreter_switches_threads_as_before_when_the_background_rests() -> None:
    rest(codegen._background)
    before = sys.getswitchinterval()
    background = Background()
    release = threading.Event()
    first, second = background.submit(lambda: b"1" if release.wait(5) else b""), background.submit(lambda: b"2")
    assert sys.getswitchinterval() < before
    release.set()
    assert (first.result(), second.result()) == (b"1", b"2")
    rest(background)
    assert sys.getswitchinterval() == before
    assert background.submit(lambda: b"3").result() == b"3"


def test_several_modules_are_compiled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "available_cores", lambda: 2)
    background, both = Background(), threading.Barrier(2, timeout=20)

    def meet() -> bytes:
        both.wait()  # breaks unless two threads are here at the same time
        return b"met"

    pending = [background.submit(meet) for _ in range(6)]
    assert [each.result() for each in pending] == [b"met"] * 6
    assert len(background._threads) <= 2


def test_code_does_not_depend_on_who_compiles_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    text = "define float @f(float %x) {{\n  %y = fmul float %x, {}.0\n  ret float %y\n}}\n"
    modules = [codegen.Module(text.format(number)) for number in range(2, 42)]
    alone = [codegen.object_code(module, host.host()) for module in modules]
    pending = [codegen.begin(module, target=host.host()) for module in modules]
    assert [each.result() for each in pending] == alone
    monkeypatch.setattr(unlocked, "_emit", lambda: None)  # an llvmlite that is built in another way
    assert [codegen.object_code(module, host.host()) for module in modules] == alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_background_of_its_own() -> None:
    background = Background()
    release = threading.Event()
    pending = background.submit(lambda: b"parent" if release.wait(10) else b"")
    child = os.fork()
    if child == 0:
        os._exit(0 if background.submit(lambda: b"child").result() == b"child" else 1)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pending.result() == b"parent"


def test_calls_of_one_intrinsic_may_differ_in_alignment() -> None:
    """The declaration, of which a module has one, says nothing about it."""
    from graphc_llvm.builder import Builder

    b = Builder(set())
    for align in (4, 64):
        mask = ("<8 x i1>", "splat (i1 true)")
        places = (f"<8 x ptr> align {align}", "%places")
        b.call("llvm.masked.gather.v8i32.v8p0", "<8 x i32>", [places, mask, ("<8 x i32>", "zeroinitializer")])
        b.call("llvm.masked.load.v8i32.p0", "<8 x i32>", [(f"ptr align {align}", "%place"), mask, mask])
    assert len(b.declarations) == 2 and not any("align" in text for text in b.declarations)
    assert sum("align 64" in line for line in b.lines) == 2
