"""Random bits: one evaluation of the generator serves four neighbours, and every bit is that of the definition."""

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel.ir import Kernel, Store, walk
from graphc.kernel.text import parse_kernel
from graphc.kernel.verify import verify
from graphc_llvm.recipes import schedule
from tests.backends.llvm_kernels import run_interpreted, run_native, same_bits

KEY = np.array([12345, 678], np.uint32)
Program = Callable[..., object]


@pytest.mark.parametrize("shape", [(64,), (1000,), (3, 64), (5, 100), (7, 10), (40_003,), (2, 3, 32)])
def test_bits_are_those_of_the_generator(shape: tuple[int, ...]) -> None:
    def program(key):
        return gc.random.bits(key, shape)

    spec = gc.spec((2,), "uint32")
    assert np.array_equal(gc.compile(program, spec)(KEY), gc.compile(program, spec, backend="reference")(KEY))


def _dropped_rows(key, x):
    kept = gnp.where(gc.random.uniform(key, (9, 132)) < 0.75, x, 0.0)
    return kept - gnp.max(kept, axis=1, keepdims=True), gnp.min(kept, axis=1)


def _two_draws(key, x):
    return gc.random.uniform(key, (9, 132), dtype="float64") + gc.random.uniform(gc.random.fold_in(key, 1), (9, 132))


@pytest.mark.parametrize("program", [_dropped_rows, _two_draws])
def test_rows_and_several_draws(program: Program) -> None:
    x = np.random.default_rng(0).normal(size=(9, 132)).astype(np.float32)
    specs = (gc.spec((2,), "uint32"), gc.spec(x.shape, "float32"))
    got = gc.compile(program, *specs)(KEY, x)
    want = gc.compile(program, *specs, backend="reference")(KEY, x)
    for a, b in zip(got, want, strict=True):
        assert np.array_equal(a, b)


def _kernel(begin: int, extent: int, rounds: int) -> Kernel:
    """Words mixed from the quotient of begin + i, and one of them chosen by the remainder."""
    mixing = "\n".join(f"    let m{n + 1}: u64 = m{n} * 6364136223846793005:u64 + {n + 1}:u64" for n in range(rounds))
    return parse_kernel(f"""kernel mix(
  out out0: u64[{extent}] "",
) flops 0:
  parallel i in 0..{extent}:
    let flat: i64 = i + {begin}
    let m0: u64 = u64(flat / 4)
{mixing}
    let which: i64 = flat % 4
    let w1: u64 = m{rounds} >> 7:u64
    let w2: u64 = m{rounds} >> 13:u64
    let w3: u64 = m{rounds} >> 21:u64
    let word: u64 = select(which == 0, m{rounds}, select(which == 1, w1, select(which == 2, w2, w3)))
    out0[i] = word
""")


def _shares(kernel: Kernel) -> bool:
    scratch = {s.buffer for s in walk(kernel.body) if isinstance(s, Store) and s.buffer.name.startswith("words")}
    return bool(scratch)


@pytest.mark.parametrize(("begin", "rounds", "shares"), [(0, 30, True), (8, 30, True), (2, 30, False), (0, 3, False)])
@pytest.mark.parametrize("extent", [64, 256, 300])
def test_a_block_begins_where_a_group_begins(begin: int, rounds: int, shares: bool, extent: int) -> None:
    kernel = _kernel(begin, extent, rounds)
    verify(kernel)
    scheduled = schedule(kernel).kernel  # sums no products: nothing is packed
    verify(scheduled)
    assert _shares(scheduled) == shares
    (want,) = run_interpreted(kernel, [])
    for form in (kernel, scheduled):
        (got,) = run_native(form, [])
        assert same_bits(got, want)


def test_interleaved_stores_go_where_single_stores_go() -> None:
    kernel = parse_kernel("""kernel weave(
  in in0: f32[32] "",
  out out0: f32[64] "",
) flops 0:
  serial i in 0..2:
    vector lane in 0..16:
      let a: f32 = in0[i * 16 + lane]
      let b: f32 = a * 2.0:f32
      out0[i * 32 + lane * 2] = a
      out0[i * 32 + lane * 2 + 1] = b
""")
    verify(kernel)
    x = np.arange(32, dtype=np.float32)
    (got,) = run_native(kernel, [x])
    assert np.array_equal(got, np.stack([x, 2 * x], axis=1).reshape(-1))
