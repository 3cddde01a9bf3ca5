"""`sanitize=True`: what first makes a NaN or infinity, and indices that lie outside, are named; nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.nn import functional as F

BACKENDS = ("cpu", "reference")
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def sanitized(fn: Callable[..., object], backend: str = "cpu") -> Callable[..., object]:
    return gc.jit(fn, backend=backend, sanitize=True)


def log_of_square_root(x):
    inner = gnp.sqrt(x)  # the line of the square root
    return gnp.log(inner)  # the line of the logarithm


def line_of(comment: str) -> str:
    with open(__file__) as source:
        lines = [number for number, text in enumerate(source, 1) if comment in text]
    return f"test_sanitize.py:{lines[0]}"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("value", "op", "said", "line"),
    [
        (-4.0, "sqrt", "sqrt of -4 made NaN", "the line of the square root"),
        (0.0, "log", "log of 0 made -Inf", "the line of the logarithm"),
    ],
)
def test_the_first_operation_is_named(backend, value, op, said, line):
    x = np.array([[1, 2, 3], [1, value, 3]], np.float32)
    with pytest.raises(gc.NonFiniteError) as raised:
        sanitized(log_of_square_root, backend)(x)
    error = raised.value
    assert (error.op, error.element, error.source, error.is_backward) == (op, (1, 1), line_of(line), False)
    assert f"{said} at [1, 1] of f32[2,3]" in str(error)
    assert isinstance(error, FloatingPointError) and isinstance(error, gc.SanitizeError)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backward_pass_is_told_from_the_forward_pass(backend):
    with pytest.raises(gc.NonFiniteError, match=r"div of 1 and 0 made Inf .*backward pass, gradient of") as raised:
        sanitized(gc.grad(lambda x: gnp.sqrt(x).sum()), backend)(np.array([1, 0], np.float32))
    assert raised.value.is_backward


AROUND = (0, -0.0, 1, -1, 1j, -1j, 2, -3, 0.5j, 1 + 1j, 1e-30, 1e-30j, 1e30, 1e30 + 1e30j, 20, 40 + 40j)
OF_COMPLEX = ("abs", "sign", "sqrt", "exp", "log", "log1p", "sin", "tan", "asin", "acos", "atan", "tanh", "reciprocal")


@pytest.mark.parametrize("name", OF_COMPLEX)
def test_what_formulas_make_on_the_way_is_no_fault(name):
    """Of finite numbers only a result that is not finite is reported, as that of the function the user called."""
    fn, like = getattr(gnp, name), np.zeros(1, np.complex64)
    plain, checked = gc.compile(fn, like, backend="reference"), gc.compile(fn, like, backend="reference", sanitize=True)
    for number in AROUND:
        x = np.full(1, number, np.complex64)
        if np.isfinite(plain(x)).all():
            np.testing.assert_array_equal(checked(x), plain(x))
            continue
        with pytest.raises(gc.NonFiniteError, match=r"made (NaN|-?Inf) at \[0\]") as raised:
            checked(x)
        assert raised.value.op == {"reciprocal": "div", "tan": "div"}.get(name, name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_follows_a_formula_hides_no_fault(backend):
    z = np.array([1, 0], np.complex64)
    with pytest.raises(gc.NonFiniteError, match=r"sanitize: log made -Inf at \[1\]") as raised:
        sanitized(lambda z: gnp.tanh(gnp.log(z)), backend)(z)
    assert (raised.value.op, raised.value.element, raised.value.is_backward) == ("log", (1,), False)
    infinite = np.array([np.inf, 1], np.complex64)  # is passed on
    np.testing.assert_array_equal(sanitized(gnp.sqrt, backend)(infinite), [np.inf, 1])
    np.testing.assert_array_equal(sanitized(lambda z: gnp.where(gnp.abs(z) > 0, z, 1), backend)(z), [1, 1])


@pytest.mark.parametrize(
    "backward",
    [
        lambda x, ct: (ct / x,),
        lambda x, ct: (gc.scan(lambda c, _: (c / x, None), ct, length=2)[0],),
        lambda x, ct: (gc.jit(lambda x, ct: ct / x)(x, ct),),
    ],
    ids=["itself", "loop", "call"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backward_rule_of_the_users_is_the_backward_pass(backend, backward):
    fn = gc.custom_vjp(lambda x: x * x)
    fn.defvjp(lambda x: (x * x, x), backward)
    x = np.array([1, 0], np.float32)
    with pytest.raises(gc.NonFiniteError, match=r"div of 1 and 0 made Inf .*\(backward pass") as raised:
        sanitized(gc.grad(lambda x: fn(x).sum()), backend)(x)
    assert raised.value.is_backward
    with pytest.raises(gc.NonFiniteError, match=r"\(forward pass") as raised:  # of what the rule is given
        sanitized(gc.grad(lambda x: fn(1 / x).sum()), backend)(x)
    assert not raised.value.is_backward


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("fn", "x", "op"),
    [
        pytest.param(lambda x: x @ x, np.full((2, 2), 1e30, np.float32), "dot_general", id="product"),
        pytest.param(lambda x: gnp.sum(x, axis=1), np.full((2, 2), 3e38, np.float32), "reduce_sum", id="sum"),
        pytest.param(gnp.cumsum, np.full(3, 3e38, np.float32), "cumsum", id="cumsum"),
        pytest.param(lambda x: x.astype("float16"), np.full(3, 1e5, np.float32), "cast", id="cast"),
        pytest.param(lambda x: gnp.exp(x) - x, np.full(3, np.inf, np.float32), "sub", id="infinity less infinity"),
        pytest.param(lambda x: gnp.linalg.cholesky(x), -np.eye(2, dtype=np.float32), "cholesky", id="cholesky"),
        pytest.param(lambda x: x * 3, np.full(3, 3e38 + 0j, np.complex64), "mul", id="complex"),
    ],
)
def test_overflow_and_invalid_operations(backend, fn, x, op):
    with pytest.raises(gc.NonFiniteError) as raised:
        sanitized(fn, backend)(x)
    assert raised.value.op == op


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("fn", "args"),
    [
        pytest.param(lambda x: F.softmax(gnp.where(x > 2, x, -np.inf), axis=1), (X + 1,), id="masked scores"),
        pytest.param(
            lambda x, mask: F.softmax(x @ x.T + mask, axis=1),
            (X, np.triu(np.full((3, 3), -np.inf, np.float32), 1)),
            id="mask as an argument",
        ),
        pytest.param(gnp.max, (X,), id="maximum"),
        pytest.param(lambda x: gnp.exp(x), (np.array([-np.inf, 0], np.float32),), id="exp of -inf"),
        pytest.param(lambda x: 1 / x, (np.array([np.inf], np.float32),), id="one over infinity"),
        pytest.param(lambda x: gnp.minimum(x, np.inf) + 1, (X,), id="constant"),
        pytest.param(gc.grad(lambda x: F.cross_entropy(x * 100, np.array([0, 1, 2]))), (X,), id="cross entropy"),
        pytest.param(lambda x: gnp.sum(x[1:1]), (X,), id="nothing"),
    ],
)
def test_infinities_on_purpose_are_no_fault(backend, fn, args):
    found, wanted = sanitized(fn, backend)(*args), gc.jit(fn, backend=backend)(*args)
    assert np.array_equal(np.asarray(found), np.asarray(wanted))


def test_an_infinite_element_excuses_no_other():
    mask = np.array([[-np.inf, 3e38], [0, 0]], np.float32)
    with pytest.raises(gc.NonFiniteError, match=r"add of 3e\+38 and 3e\+38 made Inf at \[0, 1\]"):
        sanitized(lambda x, mask: x + mask)(np.full((2, 2), 3e38, np.float32), mask)
    with pytest.raises(gc.NonFiniteError, match=r"reduce_sum made Inf at \[1\]"):
        sanitized(lambda x: gnp.sum(x, axis=1))(np.array([[np.inf, 1], [3e38, 3e38]], np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_in_an_argument_is_named_as_the_origin(backend):
    x = np.array([1, np.nan], np.float32)
    with pytest.raises(gc.NonFiniteError, match=r"argument weight\.w holds NaN at \[1\]") as raised:
        sanitized(lambda weight: weight["w"] * 2, backend)({"w": x})
    assert (raised.value.argument, raised.value.element) == ("weight.w", (1,))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("fn", "args", "element", "said"),
    [
        (lambda x, i: x[i], (X, np.array([0, -3, 3])), (2,), "index 3 at [2] of i64[3] is outside -3..2"),
        (lambda x, i: x[:, i], (X, np.int32(-5)), (), "indexing axis 1: index -5 of i32[] is outside -4..3"),
        (lambda x, i: x[i, i], (X, np.array([0, 3])), (1,), "indexing axis 0: index 3 at [1]"),
        (lambda x, i: x.at[i].set(0), (X, np.int64(5)), (), "index 5 of i64[] is outside -3..2"),
        (lambda x, i: x.at[i, i].add(1), (X, np.array([1, 3])), (1,), "index 3 at [1]"),
        (lambda x, i: gnp.take(x, i, axis=1), (X, np.array([1, 9], np.uint8)), (1,), "indexing axis 1: index 9"),
        (lambda x, i: gnp.dynamic_slice(x, [i, 0], [2, 4]), (X, np.int32(2)), (), "dynamic_slice: index 2 of i32[]"),
        (lambda x, i: gnp.segment_sum(x, i, 2), (X, np.array([0, 1, -1])), (2,), "scatter_add: index -1 at [2]"),
        (F.cross_entropy, (X, np.array([0, 4, 1])), (1,), "class label: index 4 at [1] of i64[3] is outside 0..3"),
        (gc.grad(F.cross_entropy), (X, np.array([0, -1, 1])), (1,), "class label: index -1 at [1]"),
        (gc.vmap(lambda x, i: x[i]), (X, np.array([0, 1, 4])), (2,), "index 4 at [2]"),
    ],
)
def test_indices_outside(backend, fn, args, element, said):
    with pytest.raises(gc.IndexRangeError, match=re.escape(said)) as raised:
        sanitized(fn, backend)(*args)
    error = raised.value
    assert error.element == element and error.source.startswith("test_sanitize.py:") and isinstance(error, IndexError)


def test_indices_that_are_clamped_or_ignored_on_purpose():
    assert sanitized(gnp.searchsorted)(np.arange(5.0), np.array([-1, 2.5, 9])).tolist() == [0, 3, 5]
    assert sanitized(lambda x, i: x[gnp.clip(i, 0, 2), 0])(X, np.array([-8, 9])).tolist() == [0, 8]
    labels = np.array([0, -100, 1])
    assert sanitized(F.cross_entropy)(X, labels) == gc.jit(F.cross_entropy)(X, labels)
    assert sanitized(lambda i: gnp.one_hot(i, 2))(np.array([5])).tolist() == [[0, 0]]


# ------------------------------------------------------------------------------------------------------------- control


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_iteration_of_a_loop_is_named(backend):
    def running(xs):
        return gc.scan(lambda c, x: (c * x, gnp.log(c)), np.float32(1), xs)

    with pytest.raises(gc.NonFiniteError, match=r"log of 0 made -Inf .*, in iteration 2 of scan") as raised:
        sanitized(running, backend)(np.array([1, 0, 3, 4], np.float32))
    assert raised.value.iterations == (2,)


@pytest.mark.parametrize("backend", BACKENDS)
def test_loops_inside_loops(backend):
    def table(xs):
        def row(c, x):
            return c, gc.fori_loop(0, 3, lambda i, t: t + gnp.sqrt(x - gnp.astype(i, np.float32)), x)

        return gc.scan(row, np.float32(0), xs)[1]

    with pytest.raises(gc.NonFiniteError, match="sqrt of -1 made NaN") as raised:
        sanitized(table, backend)(np.array([5, 4, 1], np.float32))
    assert raised.value.iterations == (2, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_while_loop_ends_when_something_failed(backend):
    never_ends = sanitized(lambda x: gc.while_loop(lambda v: ~(v > 100), lambda v: v / (v - v), x), backend)
    with pytest.raises(gc.NonFiniteError, match=r"div of 3 and 0 made Inf .* in iteration 0 of while"):
        never_ends(np.float32(3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_condition_of_a_loop_is_checked(backend):
    doubled = sanitized(lambda x: gc.while_loop(lambda v: gnp.log(v) < 3, lambda v: v * 2, x), backend)
    assert doubled(np.float32(3)) == 24
    with pytest.raises(gc.NonFiniteError, match="log of -3 made NaN"):
        doubled(np.float32(-3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_branch_that_runs_is_checked(backend):
    choose = sanitized(lambda x: gc.cond(x > 0, gnp.sqrt, gnp.log, -x), backend)
    with pytest.raises(gc.NonFiniteError, match="sqrt of -3"):
        choose(np.float32(3))
    assert choose(np.float32(-1)) == 0


# ------------------------------------------------------------------------------------------------------------ programs


def descend(state, x, step):
    gradient = gc.grad(lambda w: gnp.sum(gnp.sqrt(w * x)))(state["w"])
    return {"w": state["w"] - 0.1 * gradient, "n": state["n"] + 1}, gradient.sum()


def descending(backend: str, sanitize: bool = True) -> gc.Program:
    state = {"w": np.ones(3, np.float32), "n": np.int64(0)}
    return gc.program(state, {"train": descend}, backend=backend, sanitize=sanitize)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_names_the_step_and_keeps_the_state_before_it(backend):
    x = np.array([1, 2, 3], np.float32)
    program, usual = descending(backend), descending(backend, sanitize=False)
    seen = []
    with pytest.raises(gc.NonFiniteError, match=r"step 9: sqrt of .* made NaN at \[2\] .* before step 9") as raised:
        program.run("train", x, n=100_000, poll=lambda progress, _: seen.append(progress.done))
    assert raised.value.step == 9 and max(seen, default=0) <= 9
    usual.run("train", x, n=9)
    for name in ("w", "n"):
        assert np.array_equal(program.state[name], usual.state[name])
    with pytest.raises(gc.NonFiniteError, match="step 9: "):  # again, from the state as it is
        program.run("train", x, first=9, n=5)
    program.state = {"w": np.ones(3, np.float32), "n": np.int64(0)}
    assert program.run("train", x, n=5)[0] == 5  # nothing of the fault is left


def test_nan_in_the_state_is_named():
    program = descending("cpu")
    program.state = {"w": np.array([1, np.nan, 1], np.float32), "n": np.int64(0)}
    with pytest.raises(gc.NonFiniteError, match=r"step 4: state.w holds NaN at \[1\]"):
        program.run("train", np.ones(3, np.float32), first=4, n=5)


def test_what_is_checked_keeps_its_bits():
    x = np.array([1, 2, 3], np.float32)
    (_, found), (_, wanted) = (descending("cpu", sanitize).run("train", x, n=8) for sanitize in (True, False))
    assert np.array_equal(found, wanted)


# ------------------------------------------------------------------------------------------------------- entry points


def test_other_programs_are_what_they_were():
    def text(sanitize: bool) -> str:
        return gc.compile(lambda x: gnp.log(x)[0], gc.spec((3,), "float32"), sanitize=sanitize).text("loop")

    before = text(False)
    assert "within" not in before and text(True) != before and text(False) == before


def test_a_part_that_asks_is_enough():
    inner = gc.jit(lambda x, i: gnp.sqrt(x[i]), sanitize=True)
    with pytest.raises(gc.NonFiniteError, match="backward"):
        gc.grad(inner)(np.zeros(2, np.float32), np.int64(1))
    with pytest.raises(gc.IndexRangeError, match="index 2"):
        gc.jit(lambda x, i: inner(x, i) + 1)(np.zeros(2, np.float32), np.int64(2))
    program = gc.program((), {"f": lambda s, x, step: (s, inner(x, 0))}, {"f": gc.spec((2,), "float32")})
    with pytest.raises(gc.NonFiniteError, match="step 7: sqrt of -1"):
        program.call("f", np.array([-1, 1], np.float32), step=7)


def test_found_in_the_cache_it_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    monkeypatch.setenv("GRAPHC_VERIFY", "")
    said = []
    for _ in range(2):
        exe = gc.compile(log_of_square_root, gc.spec((2,), "float32"), sanitize=True)
        with pytest.raises(gc.NonFiniteError) as raised:
            exe(np.array([1, -2], np.float32))
        said.append(str(raised.value))
    assert said[0] == said[1] and any(timing.stage == "cache: hit" for timing in exe.timings)
