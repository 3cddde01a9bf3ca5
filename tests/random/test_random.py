"""Keys, bits, distributions; traced and eager agree bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats

import graphc as gc
import graphc.numpy as gnp
from graphc import random
from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.random.antilogarithm import exp_below_one
from graphc.random.gamma_slope import log_slope
from graphc.random.logarithm import log
from graphc.random.normal_quantile import normal_quantile
from graphc.tracing import spec, trace
from tests.evaluate import through_graph

KEY = np.asarray(random.key(7))

WEIGHTS = np.array([0.1, 0.0, 0.3, 0.25, 0.25, 0.1], np.float32)

DRAWS: dict[str, Callable[[object], object]] = {
    "bits": lambda key: random.bits(key, (5, 3)),
    "uniform": lambda key: random.uniform(key, (50,), low=-2.0, high=3.0),
    "uniform64": lambda key: random.uniform(key, (50,), "float64"),
    "normal": lambda key: random.normal(key, (64,)),
    "normal64": lambda key: random.normal(key, (7, 3), "float64"),
    "truncated_normal": lambda key: random.truncated_normal(key, -1.0, 0.5, (50,)),
    "exponential": lambda key: random.exponential(key, (50,)),
    "gumbel": lambda key: random.gumbel(key, (50,), "float64"),
    "laplace": lambda key: random.laplace(key, (50,)),
    "logistic": lambda key: random.logistic(key, (50,), "float64"),
    "uniform_half": lambda key: random.uniform(key, (50,), "bfloat16", low=-2.0, high=3.0),
    "normal_half": lambda key: random.normal(key, (50,), "bfloat16"),
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (50,)),
    "randint": lambda key: random.randint(key, (50,), -5, 100),
    "categorical": lambda key: random.categorical(key, np.zeros((5, 4), np.float32)),
    "split": lambda key: random.split(key, 3),
    "fold_in": lambda key: random.fold_in(key, 3, "layer"),
    "choice": lambda key: random.choice(key, 9, (4, 3)),
    "choice_weighted": lambda key: random.choice(key, np.arange(6.0), (30,), p=WEIGHTS),
    "choice_in_turn": lambda key: random.choice(key, 6, (2, 2), replace=False, p=WEIGHTS),
    "choice_without": lambda key: random.choice(key, np.arange(12).reshape(3, 4), (3,), replace=False, axis=1),
    "gamma": lambda key: random.gamma(key, np.array([0.3, 1.0, 4.5]), (20, 3)),
    "gamma_small": lambda key: random.gamma(key, 0.05, (30,), "float64"),
    "beta": lambda key: random.beta(key, 0.3, np.array([2.0, 0.1]), (20, 2)),
    "dirichlet": lambda key: random.dirichlet(key, [0.2, 1.0, 5.0], (10, 3)),
    "poisson": lambda key: random.poisson(key, np.array([0.0, 0.4, 9.5, 10.0, 1e6]), (10, 5)),
    "permutation": lambda key: random.permutation(key, 20),
    "permutation_of_rows": lambda key: random.permutation(key, np.arange(12.0).reshape(4, 3)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_traced_and_eager_draws_are_the_same_bits(name: str) -> None:
    eager = np.asarray(DRAWS[name](KEY))
    (traced,) = through_graph(DRAWS[name], KEY)
    assert eager.dtype == traced.dtype
    assert eager.tobytes() == traced.tobytes()


EXACT = ["uniform", "normal", "normal64", "truncated_normal", "exponential", "gumbel", "laplace", "logistic"]
EXACT += ["gamma", "gamma_small", "beta", "dirichlet", "poisson"]


@pytest.mark.parametrize("name", EXACT)
def test_only_exact_operations(name: str) -> None:
    exact = {"add", "sub", "mul", "div", "sqrt", "neg", "abs", "floor", "cast", "bitcast", "select", "max", "min"}
    exact |= {"and", "or", "xor", "shift_left", "shift_right", "eq", "ne", "lt", "le", "gt", "ge"}
    exact |= {"pad", "reduce_max", "not", "stop_gradient"}
    exact |= {"argmax", "round", "iota", "reduce_sum"}  # the sum is of one term and zeros
    exact |= {"constant", "broadcast", "random_bits", "reshape", "slice", "concatenate"}
    graph = trace(DRAWS[name], [spec((2,), "uint32")]).graph
    assert {node.op.name for node in graph.nodes} <= exact


def test_golden_values() -> None:
    """What a seed means does not change between versions."""
    assert KEY.tolist() == GOLDEN_KEY
    assert np.asarray(random.bits(KEY, (4,))).tolist() == GOLDEN_BITS
    assert [float(v).hex() for v in np.asarray(random.normal(KEY, (3,)))] == GOLDEN_NORMAL
    assert np.asarray(random.fold_in(KEY, 1, "a")).tolist() == GOLDEN_FOLDED
    assert np.asarray(random.permutation(KEY, 8)).tolist() == GOLDEN_PERMUTATION


GOLDEN_KEY: list[int] = [2397192818, 2423016745]
GOLDEN_BITS: list[int] = [4086293864, 1821563444, 472471505, 219439780]
GOLDEN_NORMAL: list[str] = ["0x1.f324ec0000000p-5", "0x1.993dfe0000000p-1", "-0x1.9921720000000p+0"]
GOLDEN_FOLDED: list[int] = [4144071036, 267180800]
GOLDEN_PERMUTATION: list[int] = [4, 1, 2, 6, 3, 7, 0, 5]


def test_keys_are_distinct() -> None:
    keys = [random.key(s) for s in (0, 1, -1, 2**32, 2**63)]
    keys += [random.fold_in(KEY, i) for i in range(3)] + [random.fold_in(random.key(1), 0), random.fold_in(KEY, "a")]
    keys += [random.fold_in(KEY, 1, 2), random.fold_in(KEY, 2, 1), KEY, *np.asarray(random.split(KEY, 4))]
    keys += [np.asarray(random.bits(KEY, (2,)))]
    assert len({np.asarray(key).tobytes() for key in keys}) == len(keys)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint8"])
def test_traced_seeds_and_steps_mean_the_same_as_python_ints(dtype: str) -> None:
    values = [0, 3, 200] if dtype.startswith("u") else [0, 3, -2]
    for value in values:
        step = np.array(value, dtype)
        (folded,) = through_graph(lambda i: random.fold_in(KEY, i), step)
        assert folded.tolist() == np.asarray(random.fold_in(KEY, value)).tolist()
        (made,) = through_graph(random.key, step)
        assert made.tolist() == np.asarray(random.key(value)).tolist()


NUMBER = 50_000
DISTRIBUTIONS: list[tuple[str, Callable[[str], object], Callable[[np.ndarray], np.ndarray]]] = [
    ("uniform", lambda t: random.uniform(KEY, (NUMBER,), t), stats.uniform().cdf),
    ("scaled", lambda t: random.uniform(KEY, (NUMBER,), t, 2.0, 5.0), stats.uniform(2, 3).cdf),
    ("normal", lambda t: random.normal(KEY, (NUMBER,), t), stats.norm().cdf),
    ("truncated", lambda t: random.truncated_normal(KEY, -1, 2.5, (NUMBER,), t), stats.truncnorm(-1, 2.5).cdf),
    ("exponential", lambda t: random.exponential(KEY, (NUMBER,), t), stats.expon().cdf),
    ("gumbel", lambda t: random.gumbel(KEY, (NUMBER,), t), stats.gumbel_r().cdf),
    ("laplace", lambda t: random.laplace(KEY, (NUMBER,), t), stats.laplace().cdf),
    ("logistic", lambda t: random.logistic(KEY, (NUMBER,), t), stats.logistic().cdf),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("position", range(len(DISTRIBUTIONS)))
def test_distributions(position: int, dtype: str) -> None:
    _, draw, distribution = DISTRIBUTIONS[position]
    sample = np.asarray(draw(dtype))
    assert sample.dtype == dtype
    assert np.isfinite(sample).all()
    assert stats.kstest(sample, distribution).pvalue > 0.01


@pytest.mark.parametrize("name", [name for name, _, _ in DISTRIBUTIONS])
def test_half_types_are_float32_rounded_once(name: str) -> None:
    """But for the uniform ones, which have the bits that the dtype holds, so that they stay below the upper end."""
    _, draw, distribution = next(row for row in DISTRIBUTIONS if row[0] == name)
    half = np.asarray(draw("bfloat16"))
    assert half.dtype == dtypes.bfloat16
    if name in ("uniform", "scaled"):
        assert np.abs(distribution(half.astype(np.float64)).mean() - 0.5) < 0.01
        assert half.max() < {"uniform": 1, "scaled": 5}[name]
        assert len(np.unique(half.astype(np.float32))) > 100
    else:
        assert half.tobytes() == np.asarray(draw("float32")).astype(half.dtype).tobytes()


def test_uniform_stays_below_high() -> None:
    sample = np.asarray(random.uniform(KEY, (200_000,), "float32", 1.0, 1.0 + 2.0**-20))
    assert sample.min() >= 1
    assert sample.max() < np.float32(1.0 + 2.0**-20)


@pytest.mark.parametrize(("dtype", "smallest", "limit"), [("float32", 2.0**-33, 6e-7), ("float64", 2.0**-65, 2e-15)])
def test_normal_quantile(dtype: str, smallest: float, limit: float) -> None:
    p = np.concatenate([np.geomspace(smallest, 0.49, 5000), np.linspace(0.05, 0.4999, 5000)]).astype(dtype)
    got = np.asarray(normal_quantile(p, dtypes.dtype(dtype), smallest), np.float64)
    want = -special.ndtri(p.astype(np.float64))
    assert np.max(np.abs(got - want) / np.maximum(want, 1e-2)) < limit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithm(dtype: str) -> None:
    x = np.concatenate([np.geomspace(1e-37, 1e30, 5000), np.linspace(0.5, 2, 5001)]).astype(dtype)
    got, want = np.asarray(log(x, dtypes.dtype(dtype))), np.log(x.astype(np.longdouble))
    assert np.max(np.abs(got - want) / np.maximum(np.abs(want), 1e-30)) < 2 * np.finfo(dtype).eps


def test_bernoulli_and_randint_frequencies() -> None:
    assert abs(np.mean(random.bernoulli(KEY, 0.3, (NUMBER,))) - 0.3) < 0.01
    rolled = np.asarray(random.randint(KEY, (60_000,), 1, 7))
    assert rolled.dtype == np.int32
    assert stats.chisquare(np.bincount(rolled, minlength=7)[1:]).pvalue > 0.01
    wide = np.asarray(random.randint(KEY, (1000,), -(2**31), 2**31, "int64"))
    assert wide.min() < -(2**30) and wide.max() > 2**30
    edges = np.asarray(random.randint(KEY, (100,), 2**64 - 2, 2**64, "uint64"))
    assert set(edges.tolist()) == {2**64 - 2, 2**64 - 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [0.1, 0.7, 1.0, 2.5, 300.0])
def test_gamma(alpha: float, dtype: str) -> None:
    sample = np.asarray(gc.compile(lambda key: random.gamma(key, alpha, (NUMBER,), dtype), KEY)(KEY))
    assert sample.dtype == dtype and np.isfinite(sample).all() and (sample >= 0).all()
    assert stats.kstest(sample.astype(np.float64), stats.gamma(alpha).cdf).pvalue > 0.01


def test_gamma_of_what_it_does_not_take() -> None:
    for alpha in (0.0, -1.0, [1.0, np.nan]):
        with pytest.raises(ArgumentError, match="alpha must be above 0"):
            random.gamma(KEY, alpha)
    with pytest.raises(ArgumentError, match=r"alpha of shape \[2\] for draws of \[3, 1\]"):
        random.gamma(KEY, [1.0, 2.0], (3, 1))
    got = gc.jit(lambda alpha: random.gamma(KEY, alpha))(np.array([-1.0, np.nan, np.inf, 0.0, 2.0]))
    assert np.isnan(got).tolist() == [True, True, True, True, False]
    with pytest.raises(DTypeError, match="gamma: alpha holds floats or whole numbers, not bool"):
        random.gamma(KEY, True)


PARAMETERS = np.array([0.01, 0.3, 0.99, 1.0, 1.7, 5.0, 40.0, 1e4])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_traced_parameters_give_the_bits_of_known_ones(dtype: str) -> None:
    for draw in (
        lambda a: random.gamma(KEY, a, (5, 8), dtype),
        lambda a: random.beta(KEY, a, a[::-1], (5, 8), dtype),
        lambda a: random.dirichlet(KEY, a, (5, 8), dtype),
        lambda a: random.poisson(KEY, a, (5, 8)),
    ):
        for values in (PARAMETERS, PARAMETERS[3:7].repeat(2)):
            assert np.asarray(gc.jit(draw)(values)).tobytes() == np.asarray(draw(values)).tobytes()


def test_the_slope_of_gamma_is_that_of_its_quantiles() -> None:
    a = np.repeat(PARAMETERS, 40)
    u = np.tile(np.concatenate([np.linspace(0.02, 0.98, 34), [1e-6, 1e-4, 1e-3, 0.999, 1 - 1e-4, 1 - 1e-6]]), 8)
    x = special.gammaincinv(a, u)
    keep = x > 1e-200
    a, u, x = a[keep], u[keep], x[keep]
    step = 1e-4 * a
    want = np.log(special.gammaincinv(a + step, u) / special.gammaincinv(a - step, u)) / (2 * step)
    np.testing.assert_allclose(log_slope(a, np.log(x)), want, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gamma_is_differentiated_by_its_parameter(dtype: str) -> None:
    """The slope of single draws, and with it of expectations: E[x] is alpha and E[x^2] is alpha (alpha + 1)."""
    alpha = np.array([0.4, 2.5, 30.0])
    draw = gc.jit(lambda a: random.gamma(KEY, a, (20_000, 3), dtype))
    moved = gc.jit(lambda a: gc.jvp(lambda a: random.gamma(KEY, a, (20_000, 3), dtype), (a,), (np.ones(3),))[1])
    x, slope = np.asarray(draw(alpha), np.float64), np.asarray(moved(alpha), np.float64)
    np.testing.assert_allclose(slope.mean(axis=0), 1, atol=0.05)
    np.testing.assert_allclose((2 * x * slope).mean(axis=0) / (2 * alpha + 1), 1, atol=0.1)
    torch = pytest.importorskip("torch")
    wide = np.broadcast_to(alpha, x.shape).copy()
    known = torch._standard_gamma_grad(torch.tensor(wide), torch.tensor(x)).numpy()
    close = x > 1e-3  # below, the draw has been rounded
    np.testing.assert_allclose(slope[close], known[close], rtol=3e-3)


def test_means_are_differentiated_in_both_modes() -> None:
    def mean_of_beta(a: object, b: object) -> object:
        return gnp.mean(random.beta(KEY, a, b, (20_000,), "float64"))

    a, b = np.float64(0.6), np.float64(3.0)
    found = gc.jit(gc.grad(mean_of_beta, argnums=(0, 1)))(a, b)
    np.testing.assert_allclose(found, [b / (a + b) ** 2, -a / (a + b) ** 2], rtol=0.05)
    alpha = np.array([0.5, 2.0, 4.0])
    jacobian = gc.jit(gc.jacobian(lambda a: gnp.mean(random.dirichlet(KEY, a, (20_000, 3), "float64"), axis=0)))(alpha)
    total = alpha.sum()
    np.testing.assert_allclose(jacobian, (np.eye(3) * total - alpha[:, None]) / total**2, atol=0.005)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("a", "b"), [(0.05, 0.05), (0.5, 3.0), (2.0, 2.0), (500.0, 30.0)])
def test_beta(a: float, b: float, dtype: str) -> None:
    key = np.asarray(random.key(3))
    sample = np.asarray(gc.compile(lambda key: random.beta(key, a, b, (NUMBER,), dtype), key)(key))
    assert sample.dtype == dtype and ((sample >= 0) & (sample <= 1)).all()
    inner = (sample > 1e-30) & (sample < 1 - 1e-6)  # the rest is rounded to 0 and 1
    low, high = stats.beta(a, b).cdf([1e-30, 1 - 1e-6])
    assert abs(inner.mean() - (high - low)) < 0.01
    uniform = (stats.beta(a, b).cdf(sample[inner].astype(np.float64)) - low) / (high - low)
    assert stats.kstest(uniform, stats.uniform().cdf).pvalue > 0.01


def test_dirichlet() -> None:
    alpha = np.array([0.3, 1.0, 4.0])
    sample = np.asarray(gc.compile(lambda key: random.dirichlet(key, alpha, (NUMBER, 3), "float64"), KEY)(KEY))
    np.testing.assert_allclose(sample.sum(axis=1), 1, rtol=1e-12)
    for column, own in zip(sample.T, alpha, strict=True):
        assert stats.kstest(column, stats.beta(own, alpha.sum() - own).cdf).pvalue > 0.01
    tiny = np.asarray(random.dirichlet(KEY, np.full(4, 1e-3), (100, 4)))
    assert np.isfinite(tiny).all()
    np.testing.assert_allclose(tiny.sum(axis=1), 1, rtol=1e-6)
    with pytest.raises(ArgumentError, match="dirichlet: alpha of shape"):
        random.dirichlet(KEY, [1.0], (4, 3))


@pytest.mark.parametrize("mean", [0.02, 1.0, 9.99, 10.0, 37.5, 4e3])
def test_poisson(mean: float) -> None:
    sample = np.asarray(gc.compile(lambda key: random.poisson(key, mean, (NUMBER,)), KEY)(KEY))
    assert sample.dtype == np.int32 and sample.min() >= 0
    law = stats.poisson(mean)
    edges = np.unique(law.ppf(np.linspace(0.001, 0.999, 40)))
    expected = np.diff(np.concatenate([[0], law.cdf(edges), [1]])) * NUMBER
    counts = np.bincount(np.searchsorted(edges, sample), minlength=len(edges) + 1)
    kept = expected > 4
    assert stats.chisquare(counts[kept], expected[kept] * counts[kept].sum() / expected[kept].sum()).pvalue > 0.01


def test_poisson_at_the_ends() -> None:
    assert np.asarray(random.poisson(KEY, 0.0, (100,))).max() == 0
    assert (np.asarray(random.poisson(KEY, 1e12, (10,))) == 2**31 - 1).all()
    large = np.asarray(random.poisson(KEY, 1e12, (1000,), "int64"))
    assert abs(large.mean() - 1e12) < 5e6 / 1000**0.5 and 0.8e6 < large.std() < 1.2e6
    got = gc.jit(lambda mean: random.poisson(KEY, mean))(np.array([-1.0, np.nan, 3.0]))
    assert got[0] == got[1] == 0
    for mean in (-1.0, np.nan, 1e30):
        with pytest.raises(ArgumentError, match="poisson: the mean must not be below 0"):
            random.poisson(KEY, mean)
    with pytest.raises(DTypeError, match="draws whole numbers, not float32"):
        random.poisson(KEY, 1.0, (2,), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponential_function(dtype: str) -> None:
    x = -np.concatenate([np.geomspace(1e-30, 700 if dtype == "float64" else 87, 5000), np.linspace(0, 60, 5001)])
    x = x.astype(dtype)
    got, want = np.asarray(exp_below_one(x, dtypes.dtype(dtype))), np.exp(x.astype(np.longdouble))
    assert np.max(np.abs(got - want) / want) < 3 * np.finfo(dtype).eps
    ends = np.array([-0.0, -100.0, -103.0, -1e30, -np.inf], np.float32)
    ends = ends if dtype == "float32" else np.array([0.0, -740.0, -745.0, -1e300, -np.inf])
    np.testing.assert_allclose(exp_below_one(ends, dtypes.dtype(dtype)), np.exp(ends), rtol=1e-5, atol=3e-45)


def test_choice_has_the_frequencies_asked_for() -> None:
    even = np.asarray(random.choice(KEY, 5, (60_000,)))
    assert even.dtype == np.int64
    assert stats.chisquare(np.bincount(even, minlength=5)).pvalue > 0.01
    draw = gc.jit(lambda p: random.choice(KEY, 6, (60_000,), p=p))  # a traced p need not add up to 1
    for weights in (WEIGHTS, WEIGHTS * 700, WEIGHTS.astype(np.float64) * 1e-200):
        counts = np.bincount(np.asarray(draw(weights)), minlength=6)
        assert counts[1] == 0
        kept = weights.astype(np.float64)[[0, 2, 3, 4, 5]]
        assert stats.chisquare(counts[[0, 2, 3, 4, 5]], kept / kept.sum() * 60_000).pvalue > 0.01


def test_choice_without_replacement() -> None:
    keys = np.asarray(random.split(KEY, 4000))
    draw = gc.vmap(lambda key: random.choice(key, 3, (2,), replace=False, p=[0.5, 0.3, 0.2]))
    pairs = np.asarray(gc.compile(draw, keys)(keys))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    p = np.array([0.5, 0.3, 0.2])
    expected = [p[i] * p[j] / (1 - p[i]) for i in range(3) for j in range(3) if i != j]
    counts = [np.sum((pairs == (i, j)).all(axis=1)) for i in range(3) for j in range(3) if i != j]
    assert stats.chisquare(counts, np.array(expected) * len(keys)).pvalue > 0.01
    assert sorted(np.asarray(random.choice(KEY, 50, (5, 10), replace=False)).ravel().tolist()) == list(range(50))
    assert 1 not in np.asarray(random.choice(KEY, 6, (5,), replace=False, p=WEIGHTS))
    assert np.asarray(random.choice(KEY, 5, (0,), replace=False)).shape == (0,)
    rows = np.asarray(random.choice(KEY, np.arange(12).reshape(3, 4), (2,), replace=False, axis=1))
    assert rows.shape == (3, 2) and (rows % 4 == rows[0] % 4).all()


def test_choices_that_cannot_be_made() -> None:
    for arguments, message in (
        ({"x": 3, "shape": (4,), "replace": False}, "4 draws out of 3 without replacement"),
        ({"x": 0, "shape": (1,)}, "1 draws out of 0"),
        ({"x": 2, "shape": (1,), "p": [-1.0, 2.0]}, "negative or not finite"),
        ({"x": 2, "shape": (1,), "p": [0.0, 0.0]}, "0 elements of p are above 0"),
        ({"x": 3, "shape": (2,), "p": [0.0, 0.0, 1.0], "replace": False}, "1 elements of p are above 0, 2 are needed"),
        ({"x": 2, "p": [0.5, 0.9]}, r"p adds up to 1\.4, not to 1.*test_random\.py:\d+"),
        ({"x": 2, "p": WEIGHTS[2:4]}, r"p adds up to 0\.55, not to 1"),
        ({"x": 3, "p": [0.5, 0.5]}, r"p of shape \[2\] for 3 elements"),
    ):
        with pytest.raises((ArgumentError, ShapeError), match=message):
            random.choice(KEY, **arguments)
    with pytest.raises(DTypeError, match="p holds floats"):
        random.choice(KEY, 2, p=[1, 1])


def test_permutations_are_permutations_and_differ() -> None:
    for n in (1, 2, 10, 1000):
        assert sorted(np.asarray(random.permutation(KEY, n)).tolist()) == list(range(n))
    first, second = (np.asarray(random.permutation(random.key(s), 100)) for s in (0, 1))
    assert (first != second).sum() > 80
    part = random.shuffle(KEY, np.array([3, 5], np.int32), 10)
    assert np.asarray(part).tolist() == np.asarray(random.permutation(KEY, 10))[[3, 5]].tolist()


def test_normal_draws_of_both_precisions_agree() -> None:
    narrow, wide = random.normal(KEY, (100,)), random.normal(KEY, (100,), "float64")
    assert np.asarray(wide).shape == np.asarray(narrow).shape == (100,)
    assert np.asarray(random.normal(KEY)).shape == ()


def test_errors() -> None:
    with pytest.raises(DTypeError, match=r"random\.normal: a key is uint32\[2\].*got int64\[\].*test_random\.py:\d+"):
        random.normal(3, (2,))
    with pytest.raises(DTypeError, match="draws floats, not int32"):
        random.uniform(KEY, (2,), "int32")
    with pytest.raises(ArgumentError, match="is empty"):
        random.randint(KEY, (2,), 3, 3)
    with pytest.raises(ArgumentError, match="not below"):
        random.truncated_normal(KEY, 1.0, 1.0)
    with pytest.raises(DTypeError, match="a seed is one whole number"):
        random.key(1.5)
    with pytest.raises(ArgumentError, match=r"randint: low is an int, got 0\.5"):
        random.randint(KEY, (2,), 0.5, 3)
    with pytest.raises(ArgumentError, match=r"random\.split: n is an int of at least 0, got -2"):
        random.split(KEY, -2)
    for p in (1.5, -0.5, np.array([0.5, np.nan])):
        with pytest.raises(ArgumentError, match=r"bernoulli: p is in \[0, 1\], got .*test_random\.py:\d+"):
            random.bernoulli(KEY, p)
    with pytest.raises(ArgumentError, match=r"truncated_normal: lower must be a Python number, .*static=.*:\d+\)"):
        gc.jit(lambda low: random.truncated_normal(KEY, low, 1.0))(np.float32(0))


@pytest.mark.parametrize("name", ["uniform", "normal", "laplace", "logistic", "exponential", "gumbel", "bits"])
def test_a_shape_has_no_negative_extents(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"{name}: .*not negative, got \[2, -1\] \(test_random\.py:\d+\)"):
        getattr(random, name)(KEY, (2, -1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: random.randint(KEY, (-1,), 0, 3),
        lambda: random.bernoulli(KEY, 0.5, (-1,)),
        lambda: random.truncated_normal(KEY, -1.0, 1.0, (-1,)),
        lambda: random.choice(KEY, 3, (-1,)),
        lambda: random.poisson(KEY, 3.0, (-1,)),
        lambda: random.gamma(KEY, 3.0, (-1,)),
    ],
)
def test_nor_where_other_arguments_come_first(make: Callable[[], object]) -> None:
    with pytest.raises(ArgumentError, match=r"not negative, got \[-1\] \(test_random\.py:\d+\)"):
        make()
