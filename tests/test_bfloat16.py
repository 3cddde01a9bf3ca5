"""bfloat16 through all layers: conversions, rounding of each op, the order of contractions, and training with it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.core import dtypes
from graphc.core.errors import DTypeError, UnsupportedError, VerifyError
from graphc.kernel import arith
from graphc.kernel.ir import Binary, Buffer, Const, DotPair, Kernel, Load, Param, Store, index
from graphc.kernel.text import parse_kernel, print_kernel
from graphc.kernel.verify import verify
from graphc.train import checkpoint
from graphc_llvm.host import has_dot_instruction
from tests.backends.llvm_kernels import run_interpreted, run_native

BF16 = np.dtype(ml_dtypes.bfloat16)
ROOT = Path(__file__).parent.parent


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((*shape, seed)).standard_normal(shape).astype(BF16)


def _run(
    function: Callable[..., object], *args: np.ndarray, backend: str = "cpu", threads: int | None = None
) -> list[np.ndarray]:
    specs = [gc.spec(x.shape, x.dtype) for x in args]
    exe = gc.compile(function, *specs, backend=backend, threads=threads)
    results = exe(*args)
    return [np.asarray(x) for x in (results if isinstance(results, tuple) else (results,))]


def _same(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape
    both_nan = (got != got) & (want != want)
    bits = f"u{got.dtype.itemsize}"
    assert np.all((got.view(bits) == want.view(bits)) | both_nan)


# ------------------------------------------------------------------------------------------------------- the dtype


def test_names_and_numpy_equality() -> None:
    assert gnp.bfloat16 == "bfloat16" == gnp.bfloat16
    assert gnp.bfloat16 == BF16 and hash(gnp.bfloat16) == hash(BF16)
    assert gnp.bfloat16 != np.dtype("uint16") and gnp.bfloat16 != "float32"
    assert dtypes.dtype("bf16") is dtypes.dtype(BF16) is dtypes.dtype(ml_dtypes.bfloat16) is gnp.bfloat16
    assert gnp.zeros((2,), "bfloat16").dtype == BF16
    assert float(gnp.finfo("bfloat16").eps) == 2.0**-7


def test_promotion() -> None:
    x = _normal(3)
    assert (gnp.asarray(x) + np.float32(1)).dtype == np.float32
    (kept,) = _run(lambda a: a * 2 + 1.5, x)
    assert kept.dtype == BF16
    (wide,) = _run(lambda a, b: a + b, x, np.ones(3, np.float32))
    assert wide.dtype == np.float32
    with pytest.raises(DTypeError, match="no promotion"):
        _run(lambda a, b: a + b, x, np.ones(3, np.int32))


def test_importing_graphc_does_not_import_ml_dtypes() -> None:
    script = "import sys, graphc, graphc.numpy; sys.exit('ml_dtypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_what_does_not_exist_says_so() -> None:
    with pytest.raises(UnsupportedError, match="float16 is not supported yet"):
        gc.spec((2,), "float16")
    with pytest.raises(UnsupportedError, match="draw float32 and cast"):
        gc.random.normal(gc.random.key(0), (2,), "bfloat16")
    with pytest.raises(DTypeError, match="is not added up in float64"):
        gc.parse(
            """graph f(%0: f32[2,2] x) { %1: f64[2,2] = dot_general(%0, %0)
            {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=(), dtype=f64} return %1 }"""
        )


# ----------------------------------------------------------------------------------------------------- conversions


def _all_bfloat16() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16).view(BF16)


def _floats() -> np.ndarray:
    """float32 of every exponent: the middles between two bfloat16, what lies beside them, and random ones."""
    high = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    rng = np.random.default_rng(0)
    more = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32)
    return np.concatenate([(high[:, None] | low).reshape(-1), more]).view(np.float32)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_casts_are_exact_and_round_to_nearest_even(backend: str) -> None:
    narrow, wide = _all_bfloat16(), _floats()
    up, down = _run(lambda a, b: (a.astype("float32"), b.astype("bfloat16")), narrow, wide, backend=backend)
    _same(up, narrow.astype(np.float32))
    with np.errstate(all="ignore"):
        _same(down, wide.astype(BF16))


def test_casts_do_not_flush_small_numbers() -> None:
    tiny = np.array([1e-40, -1e-40, 9.2e-41, 1.1754942e-38], np.float32)
    (down,) = _run(lambda x: x.astype("bfloat16"), tiny)
    assert np.all(down.astype(np.float32) != 0)


# ------------------------------------------------------------------------------------------------ rounding of ops


def _chain(x: gnp.Array, y: gnp.Array) -> tuple[gnp.Array, ...]:
    product = x * y
    total = product + x
    return total, total / (y * y + 1), gnp.sqrt(gnp.abs(total)) - y, gnp.maximum(product, total)


def test_each_op_rounds_whatever_it_is_fused_with() -> None:
    x, y = _normal(4, 37), _normal(4, 37, seed=1)
    f32 = np.float32

    def rounded(value: np.ndarray) -> np.ndarray:
        return value.astype(BF16).astype(f32)

    a, b = x.astype(f32), y.astype(f32)
    product = rounded(a * b)
    total = rounded(product + a)
    quotient = rounded(total / rounded(rounded(b * b) + 1))
    root = rounded(rounded(np.sqrt(np.abs(total))) - b)
    for got, want in zip(_run(_chain, x, y), (total, quotient, root, np.maximum(product, total)), strict=True):
        _same(got, want.astype(BF16))


def test_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    x, y = _normal(50, 33), _normal(50, 33, seed=1)
    left, right = (torch.from_numpy(v.astype(np.float32)).bfloat16() for v in (x, y))
    results = _run(lambda a, b: (a + b, a * b, a / b, gnp.tanh(a), gnp.exp(a), gnp.sum(a, axis=0)), x, y)
    others = (left + right, left * right, left / right, torch.tanh(left), torch.exp(left), left.sum(0))
    for got, want, ulps in zip(results, others, (0, 0, 0, 1, 1, 1), strict=True):
        bits = want.view(torch.int16).numpy().astype(np.int32)
        assert np.max(np.abs(got.view(np.int16).astype(np.int32) - bits)) <= ulps


def test_reductions_add_up_in_float32() -> None:
    x = np.ones((3, 5000), BF16)  # in bfloat16 1 + 1 + ... stays at 256
    total, mean, spread = _run(lambda a: (gnp.sum(a, axis=1), gnp.mean(a), gnp.std(a + 0.0)), x)
    assert np.all(total.astype(np.float64) == float(BF16.type(5000)))
    assert (float(mean), float(spread)) == (1.0, 0.0)
    (scattered,) = _run(
        lambda a, i, u: a.at[i].add(u), np.zeros(2, BF16), np.zeros(5000, np.int32), np.ones(5000, BF16)
    )
    assert float(scattered[0]) == float(BF16.type(5000))


# ----------------------------------------------------------------------------------------------------- contractions


def _by_definition(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` in float32: a sum of products where it has one row or one column and many terms, else chains."""
    return _summed(a, b) if 1 in (a.shape[0], b.shape[1]) and a.shape[1] >= 64 else _chained(a, b)


def _summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each element is a sum as reductions make it: 16 lanes in chunks of 1024, then trees. The products are exact."""
    terms = a.astype(np.float32)[:, :, None] * b.astype(np.float32)[None]
    chunks = []
    for begin in range(0, terms.shape[1], 1024):
        lanes = np.zeros((terms.shape[0], 16, terms.shape[2]), np.float32)
        for step in range(begin, min(begin + 1024, terms.shape[1]), 16):
            some = terms[:, step : min(step + 16, begin + 1024)]
            lanes[:, : some.shape[1]] += some
        for half in (8, 4, 2, 1):
            lanes = lanes[:, :half] + lanes[:, half : 2 * half]
        chunks.append(lanes[:, 0])
    while len(chunks) > 1:
        chunks = [sum(chunks[i + 1 : i + 2], chunks[i]) for i in range(0, len(chunks), 2)]
    return chunks[0]


def _chained(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Chains: of every pair of terms the odd one first."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    k = a.shape[1]
    parts = []
    for begin in range(0, k, 4096):
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        end = min(begin + 4096, k)
        order = [i for p in range(begin, end - 1, 2) for i in (p + 1, p)] + ([end - 1] if (end - begin) % 2 else [])
        for i in order:
            left, right = np.broadcast_arrays(a[:, i, None], b[None, i])
            total = arith.fma(left.reshape(-1), right.reshape(-1), total.reshape(-1)).reshape(total.shape)
        parts.append(total)
    while len(parts) > 1:
        parts = [sum(parts[i + 1 : i + 2], parts[i]) for i in range(0, len(parts), 2)]
    return parts[0]


def _product(how: str) -> Callable[..., object]:
    def product(a: gnp.Array, b: gnp.Array) -> object:
        x, y = (a.T if how[0] == "t" else a), (b.T if how[1] == "t" else b)
        return gnp.matmul(x, y, dtype="float32"), x @ y

    return product


SHAPES = (
    (1, 1, 1),
    (3, 5, 2),
    (4, 33, 7),
    (16, 48, 32),
    (33, 67, 65),
    (1, 64, 100),
    (65, 130, 1),
    (7, 8195, 3),
    (64, 96, 128),
)


@pytest.mark.parametrize("how", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_order_of_a_product(shape: tuple[int, int, int], how: str) -> None:
    m, k, n = shape
    a, b = _normal(m, k), _normal(k, n)
    given = [np.ascontiguousarray(x.T) if way == "t" else x for x, way in zip((a, b), how, strict=True)]
    want = _by_definition(a, b)
    for threads in (1, 3):
        wide, narrow = _run(_product(how), *given, threads=threads)
        _same(wide, want)
        _same(narrow, want.astype(BF16))


@pytest.mark.parametrize("seed", range(12))
def test_random_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, n = (int(x) for x in rng.choice([1, 2, 3, 15, 16, 17, 31, 50, 64, 100], 2))
    k = int(rng.choice([1, 2, 3, 16, 33, 64, 127, 200, 4097]))
    batch = int(rng.choice([1, 3]))
    a, b = _normal(batch, m, k, seed=seed), _normal(batch, k, n, seed=seed)
    given = [a, b]
    flipped = [bool(rng.integers(2)) for _ in given]
    given = [np.ascontiguousarray(np.swapaxes(x, 1, 2)) if flip else x for x, flip in zip(given, flipped, strict=True)]

    def product(x: gnp.Array, y: gnp.Array) -> object:
        x, y = (gnp.swapaxes(v, 1, 2) if flip else v for v, flip in zip((x, y), flipped, strict=True))
        return gnp.matmul(x, y, dtype="float32")

    (got,) = _run(product, *given, threads=1 + seed % 3)
    for i in range(batch):
        _same(got[i], _by_definition(a[i], b[i]))


def test_products_over_several_dims_and_batches() -> None:
    a, b = _normal(2, 5, 3, 7), _normal(2, 3, 7, 4)
    (got,) = _run(lambda x, y: gnp.einsum("bikl,bklj->bij", x, y), a, b)
    for i in range(2):
        _same(got[i], _chained(a[i].reshape(5, 21), b[i].reshape(21, 4)).astype(BF16))
    c = _normal(3, 6, 10)
    (got,) = _run(lambda x, y: gnp.einsum("kli,ljk->ij", x, y), c, _normal(6, 9, 3))
    want = np.einsum("kli,ljk->ij", c.astype(np.float64), _normal(6, 9, 3).astype(np.float64))
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=2.0**-8, atol=1e-4)


def test_a_fused_epilogue_changes_no_bits() -> None:
    a, b, c = _normal(40, 50), _normal(50, 60), _normal(60)
    (alone,) = _run(lambda x, y: gnp.matmul(x, y, dtype="float32"), a, b)
    (fused,) = _run(lambda x, y, z: gnp.maximum((x @ y) + z, 0.0), a, b, c)
    rounded = alone.astype(BF16).astype(np.float32)
    _same(fused, np.maximum((rounded + c.astype(np.float32)).astype(BF16), BF16.type(0)))


def test_operands_cast_on_the_way_in() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 48, 48)).astype(np.float32)
    (got,) = _run(lambda x, y: gnp.matmul(x.astype("bfloat16"), y.astype("bfloat16"), dtype="float32"), a, b)
    _same(got, _chained(a.astype(BF16), b.astype(BF16)))


def test_infinities_and_nan() -> None:
    a, b = _normal(20, 30), _normal(30, 40)
    a[0, 0], a[1, 1], b[2, 2], b[5, 6] = np.inf, np.nan, -np.inf, 0
    (got,) = _run(lambda x, y: gnp.matmul(x, y, dtype="float32"), a, b)
    with np.errstate(all="ignore"):
        _same(got, _chained(a, b))


_BITS = """
import sys
import numpy as np, ml_dtypes, graphc as gc, graphc.numpy as gnp
rng = np.random.default_rng(0)
for m, k, n in ((64, 96, 128), (33, 67, 65), (5, 4100, 17), (1, 100, 300), (40, 31, 1), (100, 512, 48)):
    x, y = (rng.standard_normal(s).astype(ml_dtypes.bfloat16) for s in ((m, k), (k, n)))
    f = gc.jit(lambda a, b: (a @ b, gnp.tanh(gnp.matmul(a, b, dtype="float32")), gnp.sum(a, axis=1), a * a + a))
    transposed = gc.jit(lambda a, b: (a.T @ b.T, a.T @ b.T + 1.0, b @ a))
    for result in (*f(x, y), *transposed(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T))):
        sys.stdout.buffer.write(np.asarray(result).tobytes())
"""


def test_the_same_bits_on_a_processor_without_the_instruction() -> None:
    def bits(cpu: str) -> bytes:
        environment = {**os.environ, "GRAPHC_CPU": cpu}
        return subprocess.run([sys.executable, "-c", _BITS], env=environment, capture_output=True, check=True).stdout

    import platform

    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("x86-64 only")
    assert bits("") == bits("x86-64-v3") != b""


@pytest.mark.parametrize(("how", "k"), [("nn", 96), ("nt", 96), ("tn", 96), ("nn", 97)])
def test_products_run_in_pairs(how: str, k: int) -> None:
    """The schedule takes two terms together, and reads pairs that lie side by side at once."""
    a, b = _normal(64, k), _normal(k, 128)
    a, b = (np.ascontiguousarray(x.T) if way == "t" else x for x, way in zip((a, b), how, strict=True))
    text = gc.compile(_product(how), gc.spec(a.shape, "bfloat16"), gc.spec(b.shape, "bfloat16")).text("loop")
    assert ("dot_pair(" in text) == has_dot_instruction(16)
    if not has_dot_instruction(16):
        return
    side_by_side = {"in0": how[0] == "n" and k % 2 == 0, "in1": how[1] == "t" and k % 2 == 0}
    for name, expected in side_by_side.items():
        assert (f"{name}:u32[" in text) == expected


# -------------------------------------------------------------------------------------------------------- loop IR


def _pair_kernel(lanes: int) -> tuple[Kernel, list[Buffer]]:
    u32, f32 = dtypes.uint32, dtypes.float32
    buffers = [Buffer("a", u32, (lanes,)), Buffer("b", u32, (lanes,)), Buffer("c", f32, (lanes,))]
    out = Buffer("out", f32, (lanes,))
    text = "\n".join(
        [
            "kernel pairs(",
            *(f"  in {b.name}: {b.dtype.short}[{lanes}]," for b in buffers),
            f"  out out: f32[{lanes}],",
            "):",
            f"  vector i in 0..{lanes}:",
            "    out[i] = dot_pair(a[i], b[i], c[i])",
        ]
    )
    return parse_kernel(text), [*buffers, out]


def _pair(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.astype(BF16)).view(np.uint32).reshape(-1)


@pytest.mark.parametrize("lanes", [1, 4, 16, 32])
def test_dot_pair_means_two_multiply_adds(lanes: int) -> None:
    kernel, _ = _pair_kernel(lanes)
    verify(kernel)
    assert parse_kernel(print_kernel(kernel)) == kernel
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, lanes, 2)).astype(BF16)
    c = rng.standard_normal(lanes).astype(np.float32)
    a, b = x.astype(np.float32), y.astype(np.float32)
    want = arith.fma(a[:, 0], b[:, 0], arith.fma(a[:, 1], b[:, 1], c))
    (out,) = run_native(kernel, [_pair(x), _pair(y), c])
    _same(out, want)


_VIEW = """
kernel view(
  in x: bf16[3, 8],
  out y: u32[3, 4],
):
  parallel i in 0..3:
    vector j in 0..4:
      y[i, j] = x:u32[i, j]
"""


def test_pairs_are_read_at_once() -> None:
    kernel = parse_kernel(_VIEW)
    verify(kernel)
    assert parse_kernel(print_kernel(kernel)) == kernel
    x = _normal(3, 8)
    for run in (run_native, run_interpreted):
        (got,) = run(kernel, [x])
        _same(got, np.ascontiguousarray(x).view(np.uint32))


def test_gathers_of_pairs_beside_gathers_of_integers() -> None:
    """Pairs are aligned like bfloat16, integers of the same width like themselves; the intrinsic is declared once."""
    kernel = parse_kernel("""
kernel gathers(
  in x: bf16[16, 8],
  in z: u32[16, 4],
  out y: u32[2, 16],
):
  vector i in 0..16:
    y[0, i] = x:u32[i, 2]
    y[1, i] = z[i, 3]
""")
    x, z = _normal(16, 8), np.arange(64, dtype=np.uint32).reshape(16, 4)
    for run in (run_native, run_interpreted):
        (got,) = run(kernel, [x, z])
        _same(got, np.stack([np.ascontiguousarray(x).view(np.uint32)[:, 2], z[:, 3]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_VIEW.replace("bf16[3, 8]", "bf16[3, 7]").replace("0..4", "0..3"), "no .* parameter of pairs"),
        (_VIEW.replace("bf16[3, 8]", "u16[3, 8]"), "no .* parameter of pairs"),
        (_VIEW.replace("in x", "inout x"), "no .* parameter of pairs"),
        (_VIEW.replace("x:u32[i, j]", "x:u32[i, j + 1]"), "out of bounds"),
    ],
    ids=["odd", "dtype", "written", "bounds"],
)
def test_pairs_are_read_of_what_is_only_read(text: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_kernel(text))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: Binary("add", x, x), "add of bfloat16; cast to float32"),
        (lambda x: DotPair(x, x, x), "dot_pair of bfloat16"),
    ],
    ids=["arithmetic", "pairs"],
)
def test_nothing_is_computed_in_bfloat16(value: Callable[[Load], object], message: str) -> None:
    x, y = Buffer("x", dtypes.bfloat16, (1,)), Buffer("y", dtypes.bfloat16, (1,))
    body = (Store(y, (index(0),), value(Load(x, (index(0),)))),)  # type: ignore[arg-type]
    with pytest.raises(VerifyError, match=message):
        verify(Kernel("k", (Param(x, "in"), Param(y, "out")), body))


# ------------------------------------------------------------------------------------------- gradients, training


def test_gradients_flow_through_casts() -> None:
    x, w = np.random.default_rng(0).standard_normal((2, 24, 24)).astype(np.float32)

    def loss(a: gnp.Array, b: gnp.Array) -> gnp.Array:
        return gnp.sum(gnp.matmul(a.astype("bfloat16"), b.astype("bfloat16"), dtype="float32") ** 2)

    def exact(a: gnp.Array, b: gnp.Array) -> gnp.Array:
        return gnp.sum((a @ b) ** 2)

    for got, want in zip(
        _run(gc.grad(loss, argnums=(0, 1)), x, w), _run(gc.grad(exact, argnums=(0, 1)), x, w), strict=True
    ):
        assert got.dtype == np.float32
        assert np.max(np.abs(got - want)) <= 0.02 * np.max(np.abs(want))


class _Mixed(nn.Module):
    """An MLP whose products are of bfloat16 while parameters and everything else are float32."""

    def __init__(self, sizes: Sequence[int], compute: str) -> None:
        self.layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        self.compute = compute

    def __call__(self, x: gnp.Array) -> gnp.Array:
        for number, layer in enumerate(self.layers):
            w = layer.weight.T.astype(self.compute)  # type: ignore[attr-defined]
            x = gnp.matmul(x.astype(self.compute), w, dtype="float32") + layer.bias
            x = gnp.maximum(x, 0) if number + 1 < len(self.layers) else x
        return x


def test_mixed_precision_trains_as_well_as_float32() -> None:
    rng = np.random.default_rng(0)
    centres = 1.2 * rng.standard_normal((4, 16))
    y = rng.integers(0, 4, 1024)
    x = (centres[y] + rng.standard_normal((1024, 16))).astype(np.float32)
    found = {}
    for compute in ("float32", "bfloat16"):
        nn.init.seed(0)
        job = train.compile(
            _Mixed((16, 64, 4), compute),
            loss="cross_entropy",
            optimizer=optim.adam(1e-2),
            data=data.arrays(x[:768], y[:768]),
            batch_size=64,
            metrics=("accuracy",),
        )
        job.fit(epochs=6)
        found[compute] = job.evaluate(x[768:], y[768:])["accuracy"]
        assert all(np.asarray(p).dtype == np.float32 for p in job.model.state_dict().values())
    assert found["float32"] > 0.9
    assert abs(found["bfloat16"] - found["float32"]) <= 0.02


def test_parameters_data_and_checkpoints_of_bfloat16(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    nn.init.seed(0)
    model = nn.Sequential(nn.Linear(8, 16, dtype="bfloat16"), nn.ReLU(), nn.Linear(16, 2, dtype="bfloat16"))
    job = train.compile(
        model, loss="cross_entropy", optimizer=optim.sgd(0.1), data=data.arrays(x.astype(BF16), y), batch_size=32
    )
    losses = job.fit(epochs=4)["loss"]
    assert losses[-1] < losses[0]
    checkpoint.write(tmp_path / "weights", job.model.state_dict(), {})
    for name, array in checkpoint.read(tmp_path / "weights").arrays.items():
        assert array.dtype == BF16
        _same(array, np.asarray(job.model.state_dict()[name]))


def test_constants_in_text() -> None:
    values = np.array([1.0, -0.0, 0.1, 3e38, 1e-40, np.inf, np.nan]).astype(BF16)
    graph = gc.trace(lambda x: x + values, gc.spec((7,), "bfloat16"))
    again = gc.parse(str(graph))
    kept = next(node.attrs.value for node in again.nodes if node.op.name == "constant")
    _same(kept, values)
    assert Const(1.5, dtypes.bfloat16).dtype.short == "bf16"
