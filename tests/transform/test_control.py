"""Loops and branches against loops written by hand: values, both modes of differentiation, second order, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.api import ArgumentError, BoundError, DTypeError, GradientError, ShapeError, TraceError

RNG = np.random.default_rng(11)
W, X = RNG.normal(size=(3, 3)), RNG.normal(size=(6, 3))
D_W, D_X = RNG.normal(size=W.shape), RNG.normal(size=X.shape)


def close(got: Any, wanted: Any) -> None:
    for a, b in zip(gc.pytree.flatten(got)[0], gc.pytree.flatten(wanted)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def step(w: Any, h: Any, x: Any) -> tuple[Any, Any]:
    new = gnp.tanh(w @ h + x)
    return new, {"twice": 2 * new, "old": h}


def looped(w: Any, x: Any, reverse: bool) -> Any:
    last, ys = gc.scan(lambda h, row: step(w, h, row), 0.1 + gnp.zeros(3, "float64"), x, reverse=reverse)
    return last, ys["twice"], ys["old"]


def written_out(w: Any, x: Any, reverse: bool) -> Any:
    h = 0.1 + gnp.zeros(3, "float64")
    rows: list[Any] = [None] * x.shape[0]
    for t in reversed(range(x.shape[0])) if reverse else range(x.shape[0]):
        h, rows[t] = step(w, h, x[t])
    if not rows:
        return h, gnp.zeros((0, 3), "float64"), gnp.zeros((0, 3), "float64")
    return h, gnp.stack([row["twice"] for row in rows]), gnp.stack([row["old"] for row in rows])


def number(fn: Callable[..., Any]) -> Callable[..., Any]:
    def value(*args: Any) -> Any:
        last, twice, old = fn(*args)
        return gnp.sum(last * last) + gnp.sum(gnp.sin(twice)) + gnp.sum(old * twice)

    return value


TRANSFORMED: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "value": lambda f: f,
    "grad": lambda f: gc.grad(f, (0, 1)),
    "jvp": lambda f: lambda w, x: gc.jvp(f, (w, x), (D_W, D_X[: x.shape[0]])),
    "grad of grad": lambda f: gc.grad(lambda w, x: gnp.sum(gc.grad(f)(w, x) ** 2), (0, 1)),
    "grad of jvp": lambda f: gc.grad(lambda w, x: gc.jvp(f, (w, x), (D_W, D_X[: x.shape[0]]))[1], (0, 1)),
    "jvp of grad": lambda f: lambda w, x: gc.jvp(gc.grad(f), (w, x), (D_W, D_X[: x.shape[0]])),
}


@pytest.mark.parametrize("length", [6, 1, 0])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("transformed", TRANSFORMED)
def test_scan(transformed: str, reverse: bool, length: int) -> None:
    make = TRANSFORMED[transformed]
    got = make(number(lambda w, x: looped(w, x, reverse)))
    wanted = make(number(lambda w, x: written_out(w, x, reverse)))
    close(gc.compile(got, W, X[:length], verify="passes")(W, X[:length]), gc.jit(wanted)(W, X[:length]))


def test_scan_in_while_in_cond() -> None:
    def inner(x: Any) -> Any:
        return gc.scan(lambda c, k: (c * 0.5 + gnp.sin(k * x), None), x, gnp.asarray([1.0, 2.0, 3.0], dtype="float64"))[
            0
        ]

    def nested(flag: Any, x: Any) -> Any:
        def big(x: Any) -> Any:
            return gc.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, inner(c[1])), (0, x), bound=5)[1]

        return gc.cond(flag, big, lambda x: x * x, x)

    def by_hand(flag: bool, x: Any) -> Any:
        if not flag:
            return x * x
        for _ in range(3):
            y = x
            for k in (1.0, 2.0, 3.0):
                y = y * 0.5 + gnp.sin(k * x)
            x = y
        return x

    x = np.float64(0.7)
    derived: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
        lambda f: f,
        lambda f: gc.grad(f, 1),
        lambda f: gc.grad(gc.grad(f, 1), 1),
        lambda f: lambda flag, x: gc.jvp(lambda x: f(flag, x), (x,), (x,)),
    )
    for make in derived:
        got = gc.compile(make(nested), np.bool_(True), x)
        for flag in (True, False):
            wanted = make(lambda _, x, flag=flag: by_hand(flag, x))
            close(got(np.bool_(flag), x), gc.jit(wanted)(np.bool_(flag), x))


def root(a: Any, bound: int | None) -> Any:
    return gc.while_loop(lambda x: abs(x * x - a) > 1e-14 * a, lambda x: 0.5 * (x + a / x), 1.0 + 0.0 * a, bound)


def test_while_loops_have_all_derivatives_within_a_bound() -> None:
    a = np.float64(2.7)
    close(gc.jit(lambda a: root(a, 60))(a), np.sqrt(a))
    close(gc.jit(gc.grad(lambda a: root(a, 60)))(a), 0.5 * a**-0.5)
    np.testing.assert_allclose(gc.jit(gc.grad(gc.grad(lambda a: root(a, 60))))(a), -0.25 * a**-1.5, rtol=1e-6)
    close(gc.jvp(lambda a: root(a, None), (a,), (np.float64(1),)), (np.sqrt(a), 0.5 * a**-0.5))
    with pytest.raises(GradientError, match=r"bound=.*test_control.py:\d+"):
        gc.grad(lambda a: root(a, None))(a)


def test_a_loop_of_no_iteration_gives_its_first_values_and_their_derivatives() -> None:
    """Also of a carry that the body makes of nothing."""

    def at_most(n: int) -> Any:
        def body(carry: Any) -> Any:
            return carry[0] + 1, gnp.full((3,), 2.0, dtype=gnp.float64)

        return gc.jit(
            gc.grad(lambda x: gnp.sum(gc.while_loop(lambda c: c[0] < n, body, (0, x * x), bound=2)[1])),
        )

    x = np.array([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(at_most(0)(x), 2 * x)
    np.testing.assert_array_equal(at_most(1)(x), 0 * x)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_bound_is_kept_or_the_line_is_named(backend: str) -> None:
    a = np.float64(2.7)
    for fn in (lambda a: root(a, 3), gc.grad(lambda a: root(a, 3))):
        exe = gc.compile(fn, a, backend=backend)
        for _ in range(2):  # the program is as good as new after it
            with pytest.raises(BoundError, match=r"bound=3.*test_control.py:\d+"):
                exe(a)
        assert np.isfinite(exe(np.float64(1.0)))


BRANCHES = (
    lambda x, y: (gnp.sin(x) * y, x),
    lambda x, y: (x * x * x + 0.0 * y, y),
    lambda x, y: (gnp.exp(y), x * y),
)


@pytest.mark.parametrize("index", [0, 1, 2, -4, 9])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_switch(index: int, order: int) -> None:
    x, y = np.float64(0.7), np.float64(-0.3)

    def derived(fn: Callable[..., Any]) -> Callable[..., Any]:
        def total(x: Any, y: Any) -> Any:
            one, two = fn(x, y)
            return one + 3 * two

        for k in range(order):
            total = gc.grad(total, k % 2)
        return total

    got = gc.jit(lambda i, x, y: derived(lambda x, y: gc.switch(i, BRANCHES, x, y))(x, y))
    close(got(np.int8(index), x, y), gc.jit(derived(BRANCHES[min(max(index, 0), 2)]))(x, y))
    close(gc.jvp(lambda x, y: gc.switch(index, BRANCHES, x, y), (x, y), (y, x)),
          gc.jvp(BRANCHES[min(max(index, 0), 2)], (x, y), (y, x)))  # fmt: skip


def test_loops_with_counters() -> None:
    assert int(gc.fori_loop(1, 6, lambda i, product: product * i, 1)) == 120
    assert int(gc.fori_loop(6, 1, lambda i, product: product * i, 1)) == 1
    power = gc.jit(lambda x, n: gc.fori_loop(0, n, lambda i, y: y * x, gnp.ones((), "float64")))
    close(power(np.float64(3), np.array(4)), 81.0)
    close(gc.jit(gc.grad(lambda x: gc.fori_loop(0, 5, lambda i, y: y * x + i.astype("float64"), x)))(np.float64(1.5)),
          gc.jit(gc.grad(lambda x: ((((x * x + 0) * x + 1) * x + 2) * x + 3) * x + 4))(np.float64(1.5)))  # fmt: skip


def test_python_numbers_take_the_dtype_of_what_they_meet() -> None:
    last, ys = gc.scan(lambda c, x: (c + x, 0), 0.0, np.arange(3, dtype=np.float64))
    assert (last.dtype, float(last), ys.dtype) == (np.float64, 3.0, np.int64)
    assert gc.cond(True, lambda x: x, lambda x: 0, np.float64(2)).dtype == np.float64
    assert gc.while_loop(lambda x: x < 3, lambda x: x + np.float64(1), 0.0).dtype == np.float64


MISTAKES: tuple[tuple[Callable[[], object], type[Exception], str], ...] = (
    (
        lambda: gc.scan(
            lambda c, x: ({"a": c["a"] + x, "b": c["b"]}, None), {"a": np.float32(1), "b": 2}, np.arange(3.0)
        ),
        DTypeError,
        r"carry .a is f32\[\] before an iteration and f64\[\] after it.*test_control.py",
    ),
    (
        lambda: gc.scan(lambda c, x: (c[:1], None), np.ones(3), np.ones(2)),
        ShapeError,
        r"f64\[3\] before.*f64\[1\] after",
    ),
    (lambda: gc.scan(lambda c, x: ((c, c), None), 0.0, np.ones(2)), TraceError, "the carry is"),
    (lambda: gc.scan(lambda c, x: c, 0.0, np.ones(2)), TraceError, r"returns \(carry, y\)"),
    (lambda: gc.scan(lambda c, x: (c, x), 0.0), ArgumentError, "needs length"),
    (lambda: gc.scan(lambda c, x: (c, x), 0.0, (np.ones(2), np.ones(3))), ShapeError, "xs .1 has 3 rows, not 2"),
    (lambda: gc.scan(lambda c, x: (c, x), 0.0, np.ones(2), length=4), ShapeError, "has 2 rows, not length=4"),
    (lambda: gc.scan(lambda c, x: (c, x), 0.0, np.float32(2)), ShapeError, "has no rows"),
    (lambda: gc.while_loop(lambda c: c, lambda c: c, 0.0), TraceError, "must give one bool"),
    (lambda: gc.while_loop(lambda c: c < 1, lambda c: c, 0.0, bound=-1), ArgumentError, "bound=-1"),
    (lambda: gc.cond(np.ones(2), lambda: 1, lambda: 2), ArgumentError, "must be one bool"),
    (lambda: gc.cond(True, lambda x: x, lambda x: (x, x), 1.0), TraceError, "returns"),
    (lambda: gc.cond(True, lambda x: x, lambda x: x > 0, np.ones(2)), DTypeError, r"the result is bool\[2\]|f64\[2\]"),
    (lambda: gc.switch(1.5, [lambda: 1]), ArgumentError, "one integer"),
    (lambda: gc.switch(1, []), ArgumentError, "no branches"),
    (lambda: gc.fori_loop(0, 1.5, lambda i, x: x, 0), ArgumentError, "upper must be an integer"),
    (
        lambda: gc.grad(lambda x, n: gc.fori_loop(0, n, lambda i, y: y * x, x))(1.5, 3),
        GradientError,
        r"^fori_loop: .*limits that are Python ints, or write gc\.while_loop.*test_control.py",
    ),
    (
        lambda: gc.fori_loop(0, 3, lambda i, x: (x, x), 0.5),
        TraceError,
        r"fori_loop: the carry is \* before.*\(\*, \*\)",
    ),
    (
        lambda: gc.fori_loop(0, 3, lambda i, x: {"a": x["a"][:1]}, {"a": np.ones(2)}),
        ShapeError,
        r"fori_loop: carry .a is f64\[2\]",
    ),
    (
        lambda: gc.fori_loop(np.array(0), 3, lambda i, x: x[:1], np.ones(2)),
        ShapeError,
        r"fori_loop: carry is f64\[2\] before.*made at test_control.py",
    ),
    (
        lambda: gc.switch(0, [lambda: gnp.ones(2), lambda: gnp.ones(2), lambda: gnp.ones(3)]),
        ShapeError,
        r"f32\[3\] in branch 2, made at test_control.py:\d+, and f32\[2\] in branch 0",
    ),
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gc.cond(True, lambda: 1.0, None), "cond: false_fn must be a function, got NoneType None"),
        (lambda: gc.cond(True, 5, lambda: 1.0), "cond: true_fn must be a function, got int 5"),
        (lambda: gc.switch(0, [lambda: 1.0, None]), "switch: branch 1 must be a function, got NoneType None"),
        (lambda: gc.switch(0, lambda: 1.0), "switch: branches is a list of functions, got function"),
        (lambda: gc.switch(0, 5), "switch: branches is a list of functions, got int 5"),
        (lambda: gc.scan(5, 0.0, np.arange(3.0)), "scan: f must be a function, got int 5"),
        (lambda: gc.fori_loop(0, 3, None, 0.0), "fori_loop: body must be a function, got NoneType None"),
        (lambda: gc.fori_loop(np.array(0), 3, 7, 0.0), "fori_loop: body must be a function, got int 7"),
        (lambda: gc.while_loop(5, lambda c: c, 0.0), "while_loop: cond must be a function, got int 5"),
        (lambda: gc.while_loop(lambda c: c < 1, 5, 0.0), "while_loop: body must be a function, got int 5"),
        (lambda: gc.checkpoint(5), "checkpoint: fn must be a function, got int 5"),
        (
            lambda: gc.checkpoint(lambda x: x, policy="dots"),
            "checkpoint: policy='dots' is no function; gc.checkpoint_policies has nothing_saveable, .* dots_saveable",
        ),
    ],
)
def test_what_is_no_function_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message + r".* \(test_control\.py:\d+\)$"):
        make()


@pytest.mark.parametrize("order", [1, 2])
def test_a_fori_loop_that_reverse_mode_cannot_bound_says_what_to_do(order: int) -> None:
    def loss(x: Any, n: Any) -> Any:
        return gc.fori_loop(0, n, lambda i, y: y * x, x)

    function = loss if order == 1 else gc.grad(loss)
    with pytest.raises(GradientError, match=r"^fori_loop: .*limits that are Python ints.*test_control\.py:\d+"):
        gc.grad(function)(np.float32(2), np.int32(3))


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistakes_are_named(number: int) -> None:
    make, kind, message = MISTAKES[number]
    with pytest.raises(kind, match=message):
        make()


def test_eager_loops_are_compiled_once() -> None:
    from graphc.execution import eager

    for k in range(3):
        close(gc.scan(lambda c, x: (c * 0.25 + x, c), 0.0, X[:, 0] + k)[0],
              gc.jit(lambda x: gc.scan(lambda c, x: (c * 0.25 + x, c), 0.0, x)[0])(X[:, 0] + k))  # fmt: skip
    before = len(eager._compiled)
    gc.scan(lambda c, x: (c * 0.25 + x, c), 0.0, X[:, 0])
    assert len(eager._compiled) == before


def test_the_text_of_a_loop_reads_back() -> None:
    graph = gc.trace(lambda w, x: looped(w, x, True), W, X)
    assert gc.parse(str(graph)) == graph
    graph = gc.trace(lambda x: gc.cond(x > 0, lambda x: root(x, 3), lambda x: x, x), np.float64(1))
    assert gc.parse(str(graph)) == graph
