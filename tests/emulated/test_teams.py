"""How the threads of a block work together: who holds scratch, where they wait, and what happens when they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphc.core.errors import BackendError
from graphc.kernel.ir import Kernel
from graphc.kernel.parser import parse_kernel
from graphc.kernel.verify import verify
from graphc_cupy.phases import Phase, phases
from graphc_cupy.source import source_of
from tests.emulated.kernels import ORDERS, Cases, Library, interpreted, needs_compiler, needs_sanitizer, run, same_bits
from tests.emulated.sanitized import under_sanitizer

X = [np.random.default_rng(0).normal(size=(7, 64)).astype(np.float32)]

NEIGHBOURS = """kernel neighbours(
  in x: f32[7, 64],
  out y: f32[7, 64],
):
  block b in 0..7:
    alloc shared row: f32[64]
    thread t in 0..64:
      row[t] = x[b, t]
    serial turn in 0..3:
      thread t_2 in 0..32:
        row[t_2] = row[t_2] + row[t_2 + 32]
      thread t_3 in 0..32:
        row[63 - t_3] = row[31 - t_3] * 0.5:f32
    thread t_4 in 0..64:
      y[b, t_4] = row[t_4]
"""

TEAMS = """kernel teams(
  in x: f32[7, 64],
  out y: f32[7, 64],
):
  block b in 0..4:
    thread r in 0..2:
      if b * 2 + r < 7:
        alloc register acc: f32[16]
        alloc shared kept: f32[16]
        alloc register most: f32[]
        thread t in 0..16:
          acc[t] = x[b * 2 + r, t]
        serial c in 0..3:
          thread t_2 in 0..16:
            acc[t_2] max= x[b * 2 + r, c * 16 + 16 + t_2]
        thread t_3 in 0..8:
          acc[t_3] max= acc[t_3 + 8]
        let first: f32 = acc[0]
        most[] = first + acc[7]
        thread t_4 in 0..16:
          kept[15 - t_4] = acc[t_4] - most[]
        serial c_2 in 0..4:
          thread t_5 in 0..16:
            y[b * 2 + r, c_2 * 16 + t_5] = kept[t_5] + x[b * 2 + r, c_2 * 16 + t_5]
"""


SMALL = """kernel small(
  in x: f32[7, 64],
  out y: f32[64],
):
  alloc arena middle: f32[64]
  block b in 0..1:
    thread t in 0..64:
      middle[63 - t] = x[3, t]
  serial once in 0..1:
    alloc register last: f32[]
    last[] = middle[60] + middle[2]
    middle[40] = last[]
  block c in 0..1:
    thread t_2 in 0..64:
      y[t_2] = middle[t_2] * 2.0:f32
"""
NAMED = """kernel named_like_types(
  in x: f32[7, 64],
  out y: f32[64],
):
  block i8 in 0..1:
    alloc shared f16: f32[64]
    thread i32 in 0..64:
      let f32: f32 = x[3, i32] + x[i8, i32]
      f16[63 - i32] = f32
    thread u8 in 0..64:
      y[u8] = f16[u8] + 1.0:f32
"""
TEXTS = pytest.mark.parametrize(
    "text", [NEIGHBOURS, TEAMS, SMALL, NAMED], ids=["neighbours", "teams", "small phases", "names"]
)


def parsed(text: str) -> Kernel:
    kernel = parse_kernel(text)
    verify(kernel)
    return kernel


def results(kernel: Kernel, found: list[Phase], order: str) -> list[np.ndarray]:
    return run(Library(source_of(found), found), kernel, found, X, order)


@needs_compiler
@TEXTS
def test_threads_wait_where_they_have_to(text: str) -> None:
    cases = Cases()
    cases.add_scheduled(parsed(text), X)
    cases.check()


@pytest.mark.parametrize(("text", "barriers", "shuffles"), [(NEIGHBOURS, 3, 0), (TEAMS, 1, 3), (SMALL, 2, 0)])
def test_they_wait_nowhere_else(text: str, barriers: int, shuffles: int) -> None:
    (phase,) = phases(parsed(text))
    assert phase.text.count("__sync") == barriers
    assert phase.text.count("__shfl") == shuffles


def test_an_output_in_the_memory_of_an_input_is_waited_for() -> None:
    text = """kernel reverse(
  in x: f32[64],
  out y: f32[64]ALIAS,
):
  block b in 0..1:
    alloc register held: f32[64]
    thread t in 0..64:
      held[t] = x[63 - t]
    thread t_2 in 0..64:
      y[t_2] = held[t_2]
"""
    apart, in_place = (phases(parsed(text.replace("ALIAS", alias)))[0].text for alias in ("", " alias(x)"))
    assert apart.count("__syncthreads") == 0
    assert apart.count("__restrict__") == 2
    assert in_place.count("__syncthreads") == 1
    assert in_place.count("__restrict__") == 0


@needs_compiler
def test_a_block_may_have_one_thread() -> None:
    text = (
        SMALL.replace("64", "1").replace("63", "0").replace("[60]", "[0]").replace("[2]", "[0]").replace("[40]", "[0]")
    )
    cases = Cases()
    cases.add_scheduled(parsed(text), [X[0][:, :1]])
    cases.check()


@needs_compiler
@TEXTS
def test_every_missing_barrier_is_found(text: str) -> None:
    kernel = parsed(text)
    (phase,) = phases(kernel)
    wanted = interpreted(kernel, X)
    lines = phase.text.split("\n")
    barriers = [number for number, line in enumerate(lines) if line.strip().startswith("__sync")]
    for number in barriers:
        broken = replace(phase, text="\n".join(lines[:number] + lines[number + 1 :]))
        found = [results(kernel, [broken], order) for order in ORDERS]
        assert not all(same_bits(got[0], wanted[0]) for got in found), lines[number - 2 : number + 2]


@needs_compiler
def test_a_barrier_that_not_all_reach_is_found() -> None:
    kernel = parsed(NEIGHBOURS)
    (phase,) = phases(kernel)
    text = phase.text.replace(
        "__syncthreads();", "if (gc_thread != 5) __syncthreads(); else __syncwarp(0xffffffffu);", 1
    )
    broken = replace(phase, text=text)
    with pytest.raises(AssertionError, match="wait for others"):
        results(kernel, [broken], "forward")


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("y[b * 64 + t_4] = ", "y[b * 64] = "),  # the last thread of a block wins
        (
            "y[b * 64 + t_4] = ",
            "y[b * 64 + t_4] = (b < 6 ? y[b * 64 + t_4 + 64] : 0.0f) + ",
        ),  # the block after comes first
    ],
    ids=["threads", "blocks"],
)
def test_what_depends_on_the_order_is_found(old: str, new: str) -> None:
    """Of threads of a block and of blocks: orders disagree with each other, so one disagrees with the interpreter."""
    kernel = parsed(NEIGHBOURS)
    (phase,) = phases(kernel)
    assert phase.text.count(old) == 1, phase.text
    broken = replace(phase, text=phase.text.replace(old, new))
    found = [results(kernel, [broken], order)[0].tobytes() for order in ORDERS]
    assert len(set(found)) == len(ORDERS)


@needs_sanitizer
def test_an_index_out_of_bounds_is_found(tmp_path: Path) -> None:
    """In memory of the device and in shared memory. The address sanitizer has to be there before Python is."""
    for old, new in (("y[b * 64 + t_4]", "y[b * 64 + t_4 + 1]"), ("row[t_4]", "row[t_4 + 1]")):
        for is_broken in (False, True):
            program = tmp_path / "program.py"
            program.write_text(SANITIZED.format(old=old, new=new if is_broken else old))
            done = under_sanitizer(str(program))
            assert (done.returncode != 0) == is_broken, done.stderr[-2000:]
            assert ("AddressSanitizer" in done.stderr) == is_broken, done.stderr[-2000:]


SANITIZED = """\
import sys
sys.path.insert(0, "")
from graphc_cupy.source import source_of
from graphc_cupy.phases import phases
from dataclasses import replace
from tests.emulated.kernels import Library, run
from tests.emulated.test_teams import NEIGHBOURS, X, parsed

kernel = parsed(NEIGHBOURS)
(phase,) = phases(kernel)
old, new = {old!r}, {new!r}
assert old in phase.text, phase.text
phase = replace(phase, text=phase.text.replace(old, new))
run(Library(source_of([phase]), [phase], sanitize=True), kernel, [phase], X, "forward")
"""


def test_what_threads_cannot_do_is_said() -> None:
    handed_over = NEIGHBOURS.replace("shared", "register")
    with pytest.raises(BackendError, match="row: register scratch is handed from thread to thread"):
        phases(parsed(handed_over))
    wide = TEAMS.replace("in 0..16", "in 0..64").replace("[16]", "[64]").replace("in 0..3", "in 0..0")
    with pytest.raises(BackendError, match="a team has at most 32 threads"):
        phases(parse_kernel(wide))
