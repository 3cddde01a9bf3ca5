"""Short rows in lanes: squares are read and written as rows, exactly the elements that are stored."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel.text import parse_kernel
from graphc.kernel.verify import verify
from graphc_llvm import host
from graphc_llvm.kernels import compile_kernel
from graphc_llvm.program import program_text
from tests.backends.llvm_kernels import Cases, agree, plan_of, run_interpreted, run_native, same_bits

DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", [4, 11, 16, 27])
@pytest.mark.parametrize("steps", [3, 10, 16])
def test_stores_of_a_square(dtype: str, lanes: int, steps: int) -> None:
    two = "2" if dtype == "i32" else "2.0"
    kernel = parse_kernel(f"""kernel square(
  in in0: {dtype}[40, {steps}] "",
  out out0: {dtype}[40, {steps + 2}] "",
  out out1: bool[{steps}, 40] "",
  out out2: bool[40, {steps}] "",
) flops 0:
  serial r in 0..40:
    serial c in 0..{steps + 2}:
      out0[r, c] = {two}:{dtype}
    serial d in 0..{steps}:
      out1[d, r] = false
      out2[r, d] = true
  vector lane in 0..{lanes}:
    unroll j in 0..{steps}:
      let x: {dtype} = in0[lane + 5, j]
      let twice: {dtype} = x * {two}:{dtype}
      out0[lane + 3, j + 1] = twice
      out1[j, lane] = x < twice
      out2[39 - lane, j] = x < twice
""")
    verify(kernel)
    x = np.random.default_rng(0).normal(scale=9, size=(40, steps)).astype(DTYPES[dtype])
    for got, want in zip(run_native(kernel, [x]), run_interpreted(kernel, [x]), strict=True):
        assert same_bits(got, want)  # nothing beside the square is touched


def test_what_the_loop_reads_back_is_stored_at_once() -> None:
    kernel = parse_kernel("""kernel sums(
  in in0: f32[16, 8] "",
  inout out0: f32[16, 9] "",
) flops 0:
  serial r in 0..16:
    serial c in 0..9:
      out0[r, c] = 1.0:f32
  vector lane in 0..16:
    unroll j in 0..8:
      let before: f32 = out0[lane, j]
      let x: f32 = in0[lane, j]
      out0[lane, j + 1] = before + x
""")
    verify(kernel)
    x = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    for got, want in zip(run_native(kernel, [x]), run_interpreted(kernel, [x]), strict=True):
        assert same_bits(got, want)


@pytest.mark.parametrize("cpu", ["", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("squares", [1, 2, 5])
@pytest.mark.parametrize("dtype", ["f32", "f64", "bool"])
def test_several_squares_are_transposed_by_a_function(
    dtype: str, squares: int, cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cpu and not host.host().triple.startswith("x86_64"):
        pytest.skip("the host is no x86-64")
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    reads = "".join(
        f"""
    unroll j{n} in 0..8:
      out0[{8 * n} + j{n}, lane] = in0[lane, {8 * n} + j{n}]"""
        for n in range(squares)
    )
    kernel = parse_kernel(f"""kernel squares(
  in in0: {dtype}[8, 40] "",
  out out0: {dtype}[{8 * squares}, 8] "",
) flops 0:
  vector lane in 0..8:{reads}
""")
    verify(kernel)
    x = np.random.default_rng(0).normal(size=(8, 40))
    x = x > 0 if dtype == "bool" else x.astype(DTYPES[dtype])
    agree(kernel, [x])
    (phase,) = compile_kernel(kernel).phases
    called = phase.body.count("call x86_regcallcc")
    width = {"f32": 256, "f64": 512, "bool": 64}[dtype]
    in_registers = host.host().triple.startswith("x86_64") and 128 <= width <= host.host().vector_bits
    assert called == (squares if in_registers else 0)
    assert len(phase.helpers) == min(called, 1)


def test_phases_of_a_program_share_the_function_of_their_squares() -> None:
    if not host.passes_in_registers(8, 256):
        pytest.skip("squares are transposed where they are read")
    text = """kernel squares{n}(
  in in0: f32[{rows}, 8] "",
  out out0: f32[8, 8] "",
) flops 0:
  vector lane in 0..8:
    unroll j in 0..8:
      out0[j, lane] = in0[{n} + lane, j]
"""
    kernels = [parse_kernel(text.format(n=n, rows=8 + n)) for n in range(3)]
    modules = program_text(plan_of(*kernels)).modules
    assert [module.functions.count("define x86_regcallcc") for module in modules] == [1, 0, 0, 0, 0]
    cases = Cases()
    for kernel in kernels:
        cases.add(kernel, [np.random.default_rng(0).normal(size=kernel.params[0].buffer.shape).astype(np.float32)])
    cases.check()


def test_what_was_read_is_read_again_after_a_store_that_may_lie_there() -> None:
    kernel = parse_kernel("""kernel again(
  in in0: f32[16] "",
  out out0: f32[16] "",
  out out1: f32[16] "" alias(in0),
  out out2: f32[16] "",
) flops 0:
  vector lane in 0..16:
    alloc register kept: f32[4]
    kept[0] = in0[lane]
    kept[1] = kept[0] + in0[lane]
    out0[lane] = kept[1]
    out1[lane] = kept[0] * 3.0:f32
    kept[0] = kept[1] * 2.0:f32
    out2[lane] = kept[0] + kept[1]
""")
    verify(kernel)
    (phase,) = compile_kernel(kernel).phases
    assert phase.body.count(" load <16 x float>") == 1  # what is kept is known
    x = np.random.default_rng(0).normal(size=16).astype(np.float32)
    agree(kernel, [x])
    agree(
        parse_kernel("""kernel moving(
  in in0: i64[4] "",
  out out0: f32[4] "",
) flops 0:
  alloc worker kept: f32[4]
  serial k in 0..4:
    kept[k] = 1.0:f32
    kept[in0[k]] = 2.0:f32
    out0[k] = kept[k]
"""),
        [np.array([0, 3, 2, 0], np.int64)],
    )


def _classify(x):
    shifted = x - gnp.max(x, axis=1, keepdims=True)
    powers = gnp.exp(shifted)
    return powers / gnp.sum(powers, axis=1, keepdims=True), gnp.argmax(x, axis=1), shifted == 0


@pytest.mark.parametrize("columns", [2, 3, 10, 16, 17])
@pytest.mark.parametrize("rows", [5, 16, 37, 3001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_any_length_have_the_same_bits(rows: int, columns: int, dtype: str) -> None:
    x = np.random.default_rng(rows + columns).normal(size=(rows, columns)).astype(dtype)
    whole = gc.compile(_classify, x, threads=2)(x)
    first = gc.compile(_classify, x[:3])(x[:3])  # too few rows for lanes
    for all_rows, few in zip(whole, first, strict=True):
        assert np.array_equal(all_rows[:3], few)
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    assert np.allclose(whole[0], powers / powers.sum(axis=1, keepdims=True), rtol=1e-6)
    assert np.array_equal(whole[1], x.argmax(axis=1))


@pytest.mark.parametrize(("columns", "across_rows"), [(10, True), (512, False)])
def test_long_rows_keep_lanes_inside(columns: int, across_rows: bool) -> None:
    exe = gc.compile(lambda x: gnp.sum(x, axis=1), gc.spec((128, columns), "float32"))
    inside = [line for line in str(exe.text("loop")).splitlines() if "vector lane" in line]
    assert bool(inside)
    assert ("in0[i0, " not in str(exe.text("loop"))) == across_rows
