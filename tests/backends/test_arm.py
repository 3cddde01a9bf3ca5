"""Code for 64-bit ARM, made on any machine: contractions become NEON multiply-adds and call nothing.

Where an emulator and a cross compiler are installed (Debian: qemu-user-static, gcc-aarch64-linux-gnu), the code also
runs, and has the bits of this machine's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.dtypes import float64
from graphc.kernel.ir import Alloc, Kernel
from graphc.kernel.program import Scheduled
from graphc.kernel.verify import verify
from graphc_llvm import codegen, host, recipes
from graphc_llvm.contraction import tiles
from graphc_llvm.executable import CpuExecutable
from graphc_llvm.kernels import compile_kernel
from graphc_llvm.program import phase_module, phase_name
from tests.backends.llvm_kernels import plan_of, same_bits
from tests.backends.test_contraction_strides import kernels_of
from tests.backends.test_contractions import FORMS, gathered, given, updated
from tests.backends.test_llvm_schedule import batched, matmul

ARM = host.Host("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon")
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


@contextmanager
def arm() -> Iterator[None]:
    """The compiler takes the machine for an ARM processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "host", lambda: ARM)
        yield


def products() -> list[Kernel]:
    """Products in all forms, dtypes, with what is computed before and after, in one chain and in several."""
    kernels = [matmul(33, 50, 37, form) for form in FORMS] + [
        matmul(29, 43, 21, form, float64) for form in ("nt", "tn")
    ]
    kernels += [matmul(257, 200, 64, "nt"), matmul(1, 300, 90, "nt"), matmul(70, 3, 65, "tn"), batched(3, 20, 24, 11)]
    kernels += [gathered(40, 50, 37), gathered(100, 9, 20, float64), updated(70, 45, 32)]
    for dtype in ("float32", "bfloat16"):
        kernels += kernels_of(lambda x, y: x.T @ y, gc.spec((9001, 9), dtype), gc.spec((9001, 20), dtype))
        kernels += kernels_of(lambda x, y: gnp.tanh(x @ y.T), gc.spec((31, 64), dtype), gc.spec((50, 64), dtype))
    return kernels


def phases(kernel: Kernel) -> list[tuple[str, codegen.Module, int]]:
    """Name, text and iterations of each phase."""
    return [(phase_name(p), phase_module(p, phase_name(p)), p.extent) for p in compile_kernel(kernel).phases]


def parts(scheduled: Scheduled) -> tuple[Kernel, ...]:
    return (*(pack.kernel for pack in scheduled.packs), scheduled.kernel)


@arm()
def test_sizes_follow_from_neon() -> None:
    assert tiles.machine(16, 4).pieces == 4 and tiles.machine(16, 4).registers == 32


@arm()
def test_contractions_are_multiply_adds_of_vectors() -> None:
    for kernel in products():
        scheduled = recipes.schedule(kernel)
        for part in parts(scheduled):
            verify(part)
            text = "".join(codegen.assembly(module, ARM) for _, module, _ in phases(part))
            called = set(re.findall(r"\bblr?\s+(\S+)", text))
            assert called <= {"memset", "memcpy"}, f"{part.name} calls {called}"
        assert re.search(r"\bfmla\s+v\d+\.[42][sd]", text), kernel.name


def c_program(kernels: Sequence[Scheduled]) -> str:
    """Reads all inputs, runs all kernels, writes all outputs."""
    lines = ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    names = {name for each in kernels for part in parts(each) for name, _, _ in phases(part)}
    lines += [f"void {name}(void **args, long begin, long end, void *scratch);" for name in sorted(names)]
    lines += ["static void *room(size_t n) { return aligned_alloc(64, (n + 127) / 64 * 64); }", "int main(void) {"]
    for each in kernels:
        kernel, own = each.kernel, len(each.kernel.params) - len(each.packs)
        scratch = max(compile_kernel(part).scratch_bytes for part in parts(each))
        lines += ["{", f"void *scratch = room({scratch}), *args[{len(kernel.params) + len(kernel.body)}];"]
        arena = [s.buffer for s in kernel.body if isinstance(s, Alloc) and s.buffer.space == "arena"]
        for n, buffer in enumerate([p.buffer for p in kernel.params] + arena):
            lines.append(f"args[{n}] = room({buffer.nbytes}); memset(args[{n}], 0, {buffer.nbytes});")
        for n, param in enumerate(kernel.params[:own]):
            if param.mode == "in":
                lines.append(
                    f"if (fread(args[{n}], 1, {param.buffer.nbytes}, stdin) != {param.buffer.nbytes}) return 1;"
                )
        for n, pack in enumerate(each.packs):
            places = ", ".join(f"args[{place}]" for place in (*pack.reads, own + n))
            lines += ["{", f"void *packed[] = {{{places}}};"]
            lines += [f"{name}(packed, 0, {extent}, scratch);" for name, _, extent in phases(pack.kernel)]
            lines.append("}")
        lines += [f"{name}(args, 0, {extent}, scratch);" for name, _, extent in phases(kernel)]
        for n, param in enumerate(kernel.params[:own]):
            if param.mode != "in":
                lines.append(f"fwrite(args[{n}], 1, {param.buffer.nbytes}, stdout);")
        lines.append("}")
    return "\n".join([*lines, "return 0;", "}"])


@pytest.mark.skipif(not (COMPILER and EMULATOR), reason="no cross compiler or emulator for ARM")
def test_the_code_has_the_bits_of_this_machine(tmp_path: Path) -> None:
    kernels = products()
    inputs = [given(kernel) for kernel in kernels]
    answer = run_on_arm(kernels, inputs, tmp_path)
    native, at = CpuExecutable(plan_of(*kernels), 2), 0
    for number, (kernel, arrays) in enumerate(zip(kernels, inputs, strict=True)):
        for wanted in native.call(str(number), arrays):
            got = np.frombuffer(answer, wanted.dtype, wanted.size, at).reshape(wanted.shape)
            assert same_bits(got, wanted), kernel.name
            at += wanted.nbytes
    assert at == len(answer)


@arm()
def run_on_arm(kernels: Sequence[Kernel], inputs: Sequence[Sequence[np.ndarray]], folder: Path) -> bytes:
    """What the emulated program answers: the outputs of all kernels, in order."""
    assert COMPILER is not None and EMULATOR is not None
    scheduled = [recipes.schedule(kernel) for kernel in kernels]
    modules = {name: module for each in scheduled for part in parts(each) for name, module, _ in phases(part)}
    files = [folder / "main.c"]
    files[0].write_text(c_program(scheduled))
    for name, module in modules.items():
        files.append(folder / f"{name}.o")
        files[-1].write_bytes(codegen.object_code(module, ARM))
    program = str(folder / "program")
    subprocess.run([COMPILER, "-O1", "-static", "-o", program, *map(str, files), "-lm"], check=True)
    sent = b"".join(x.tobytes() for each in inputs for x in each)
    return subprocess.run([EMULATOR, program], input=sent, capture_output=True, check=True).stdout
