"""Arrays in and out of compiled calls: nothing is copied that need not be, and what is given back stays."""

import gc as collector
import threading
import warnings
import weakref

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, CopyWarning, DTypeError, ShapeError

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def plus_one(x):
    return x + 1


def address(array):
    return array.__array_interface__["data"][0]


# --------------------------------------------------------------------------------------------- arguments of all kinds


class Named(np.ndarray):
    pass


@pytest.mark.parametrize(
    "given",
    [
        X,
        X.T.copy().T,
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        X[::-1],
        X.view(Named),
        X.astype(">f4"),
        np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 4),  # at an odd address
    ],
)
@pytest.mark.parametrize("make", [lambda: gc.compile(plus_one, gc.spec((3, 4))), lambda: gc.jit(plus_one)])
def test_any_array_of_the_type_is_read_correctly(make, given):
    call = make()
    for _ in range(2):
        np.testing.assert_array_equal(call(given), np.asarray(given, np.float32) + 1)


def test_errors_are_the_same_after_a_good_call():
    call = gc.compile(lambda x, y: x @ y, gc.spec((3, 4)), gc.spec((4, 2)))
    y = np.ones((4, 2), np.float32)
    call(X, y)
    with pytest.raises(ShapeError, match=r"argument y: expected f32\[4,2\], got f32\[2,4\]"):
        call(X, y.T.copy())
    with pytest.raises(ShapeError, match=r"argument x: expected f32\[3,4\], got f32\[12\]"):
        call(X.reshape(-1), y)
    with pytest.raises(DTypeError, match=r"argument x: expected f32\[3,4\], got i32\[3,4\]"):
        call(X.view(np.int32), y)
    with pytest.raises(ArgumentError, match="compiled for arguments"):
        call(X)
    with pytest.raises(ArgumentError, match="compiled for arguments"):
        call(X, y, X)
    with pytest.raises(ArgumentError, match="compiled for arguments"):
        call(X, y=y)
    with pytest.raises(ArgumentError, match=r"argument y was compiled for one array and is a list; pass np\.asarray"):
        call(X, y.tolist())
    np.testing.assert_array_equal(call(X, y), X @ y)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 0, 3), (2, 3, 4, 5)])
def test_shapes_and_dtypes_pass_unchanged(dtype, shape):
    given = (np.arange(np.prod(shape)).reshape(shape) % 2).astype(dtype)
    call = gc.compile(lambda x, y: (y, {"x": x}), given, gc.spec((), "int64"))
    y, rest = call(given, np.array(7))
    assert y == 7 and rest["x"].dtype == given.dtype
    np.testing.assert_array_equal(rest["x"], given)


def test_inputs_are_read_where_they_lie():
    """A large argument is not copied: the call needs no more memory than its result."""
    import tracemalloc

    big = np.ones(2**22, np.float32)
    call = gc.compile(lambda x: x[:4] * 2, big)
    call(big)
    tracemalloc.start()
    call(big)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**16


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (lambda a: a.T, "strides"),
        (lambda a: a[::-1], "strides"),
        (lambda a: a.astype(">f4"), "byte order"),
        (lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape), "address"),
    ],
)
def test_a_large_copy_is_reported_once(view, why):
    large, small = np.ones((600, 600), np.float32), np.ones((60, 60), np.float32)
    call = gc.compile(lambda table: table * 2, large)
    with pytest.warns(CopyWarning, match=rf"argument table: 1,440,000 bytes are copied at each call .* {why}") as seen:
        np.testing.assert_array_equal(call(view(large)), large * 2)
    assert [warning.filename for warning in seen] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(call(view(large)), large * 2)
        call(large)
        gc.compile(lambda table: table * 2, small)(view(small))


def test_a_program_reports_large_copies_too():
    p = gc.program(np.float32(0), {"add": lambda s, x, step: (s + x.sum(), ())})
    with pytest.warns(CopyWarning, match="argument batch"):
        p.call("add", np.ones((600, 600), np.float32).T)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p.call("add", np.ones((600, 600), np.float32).T)
    assert p.state == 720_000


# ------------------------------------------------------------------------------------------------------------- jit


def test_jit_finds_signatures_without_counting_wrong():
    f = gc.jit(lambda x, y=2.0: x * y)
    a, b = np.ones(3, np.float32), np.ones((2, 2))
    for _ in range(3):
        assert np.array_equal(f(a), 2 * a) and np.array_equal(f(b), 2 * b)
        assert np.array_equal(f(a, a), a) and np.array_equal(f(a, y=3.0), 3 * a)
    info = f.cache_info()
    assert (info.misses, info.hits, info.size) == (4, 8, 4)
    f.cache_clear()
    assert f.cache_info().size == 0
    assert np.array_equal(f(a), 2 * a)
    assert f.cache_info().misses == 5


def test_jit_forgets_the_signature_used_longest_ago():
    f = gc.jit(plus_one, capacity=2)
    one, two, three = (np.ones(n, np.float32) for n in (1, 2, 3))
    for array in (one, two, one, three):  # two goes
        f(array)
    assert f.cache_info().misses == 3
    f(one)
    f(three)
    assert f.cache_info().misses == 3
    f(two)
    assert f.cache_info().misses == 4 and f.cache_info().size == 2


def test_jit_with_equal_arrays_of_another_kind():
    f = gc.jit(plus_one)
    f(X)
    for given in (X.T, X.view(Named), np.float32(3), [X, X][0]):
        np.testing.assert_array_equal(f(given), np.asarray(given) + 1)


def test_concrete_arrays_inside_a_trace_run_at_once():
    f = gc.jit(plus_one)
    f(X)
    seen = []

    def outer(y):
        seen.append(f(X))
        return f(y) * 2

    np.testing.assert_array_equal(gc.jit(outer)(X), (X + 1) * 2)
    assert type(seen[0]) is np.ndarray


# ----------------------------------------------------------------------------------------------------------- results


@pytest.fixture
def large():
    shape = (512, 300)
    return gc.compile(plus_one, gc.spec(shape)), np.zeros(shape, np.float32)


@pytest.mark.cpu
def test_large_results_are_aligned(large):
    call, x = large
    for _ in range(3):
        assert address(call(x)) % 64 == 0


def test_memory_of_a_result_nobody_holds_is_used_again(large):
    call, x = large
    seen = {address(call(x)) for _ in range(20)}
    assert len(seen) <= 2
    result = None
    seen = set()
    for _ in range(20):
        result = call(x)  # the last one is held while the next is computed
        seen.add(address(result))
    assert len(seen) <= 4


@pytest.mark.parametrize(
    "hold",
    [
        lambda a: a,
        lambda a: a[3:5],
        lambda a: a.T.reshape(-1, 10)[::2],
        lambda a: memoryview(a),
        lambda a: a.view(np.int32),
        lambda a: np.from_dlpack(a),
        lambda a: a.flat,
        lambda a: weakref.ref(a) and [a],
    ],
)
def test_memory_of_a_result_somebody_holds_is_left_alone(large, hold):
    call, x = large
    held = [hold(call(x + n)) for n in range(6)]
    before = [np.array(h if not isinstance(h, list) else h[0]) for h in held]
    for n in range(20):
        call(x + 100 + n)
    for one, was in zip(held, before):
        np.testing.assert_array_equal(np.array(one if not isinstance(one, list) else one[0]), was)


def test_memory_kept_for_results_is_bounded():
    from graphc_llvm import memory

    for n in range(40):
        shape = (2**18 + 64 * n,)
        gc.compile(plus_one, gc.spec(shape))(np.zeros(shape, np.float32))
    assert len(memory._blocks) <= 32
    assert sum(block.nbytes for block in memory._blocks) <= memory.KEPT


def test_a_compiled_function_that_is_dropped_leaves_its_results(large):
    call, x = large
    result = call(x)
    del call
    collector.collect()
    np.testing.assert_array_equal(result, x + 1)


def test_results_of_many_threads_do_not_share_memory(large):
    call, x = large
    wrong = []

    def work(number):
        for n in range(50):
            result = call(x + number + n)
            other = call(x)
            if not (result == number + n + 1).all() or not (other == 1).all():
                wrong.append((number, n))

    workers = [threading.Thread(target=work, args=(100 * k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_several_results_and_none():
    many = gc.compile(lambda x: tuple(x + n for n in range(70)), X)
    for n, result in enumerate(many(X)):
        np.testing.assert_array_equal(result, X + n)
    assert gc.compile(lambda x: (), X)(X) == ()
    assert gc.compile(lambda: gnp.ones(3))().tolist() == [1, 1, 1]
    wide = gc.compile(lambda *xs: sum(xs), *[X] * 600)  # more than ctypes takes at once
    np.testing.assert_array_equal(wide(*[X] * 600), X * 600)


def test_where_arrays_are_laid_out_otherwise_calls_go_another_way(monkeypatch):
    monkeypatch.setattr("graphc_llvm.executable.LAYOUT_IS_KNOWN", False)
    call = gc.compile(lambda x, y: (x @ y, y), gc.spec((3, 4)), gc.spec((4, 2)))
    jitted = gc.jit(lambda x, y: (x @ y, y))
    y = np.arange(8, dtype=np.float32).reshape(4, 2)
    for _ in range(3):
        for product, same in (call(X, y), jitted(X, y), call(X[::-1][::-1], y.T.copy().T)):
            np.testing.assert_array_equal(product, X @ y)
            np.testing.assert_array_equal(same, y)
    with pytest.raises(ShapeError, match=r"argument y: expected f32\[4,2\]"):
        call(X, y.T.copy())
    p = gc.program(np.float32(0), {"add": lambda s, x, step: (s + x.sum(), step)}, {"add": X})
    assert p.call("add", X, step=5) == 5 and p.run("add", X, n=2)[0] == 2
    assert p.state == 3 * X.sum()


def test_a_program_called_while_it_is_busy_keeps_apart_what_it_returns():
    """More callers than a program gets memory for: the others wait."""
    call = gc.compile(lambda x: (x + 1, x * 2), gc.spec((1000,)))
    given = [np.full(1000, k, np.float32) for k in range(24)]
    wrong = []

    def work(k):
        for _ in range(100):
            one, two = call(given[k])
            if not (one == k + 1).all() or not (two == 2 * k).all():
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(24)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
