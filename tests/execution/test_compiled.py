"""gc.compile and gc.jit: arguments, options, caching, what can be looked at."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import nn
from graphc.core.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    MemoryBudgetError,
    ShapeError,
    UnsupportedError,
)

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def double(x):
    return {"twice": x * 2, "sum": x.sum()}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_results_keep_the_pytree(backend):
    out = gc.compile(double, X, backend=backend)(X)
    assert sorted(out) == ["sum", "twice"]
    np.testing.assert_array_equal(out["twice"], X * 2)
    assert out["sum"] == 15


def test_outputs_are_fresh_each_call():
    exe = gc.compile(double, X)
    first = exe(X)["twice"]
    exe(X + 1)
    np.testing.assert_array_equal(first, X * 2)


def test_views_and_foreign_arrays_are_read_correctly():
    exe = gc.compile(lambda x: x + 1, gc.spec((3, 2)))
    np.testing.assert_array_equal(exe(X.T), X.T + 1)
    np.testing.assert_array_equal(exe(X.T[::-1]), X.T[::-1] + 1)
    np.testing.assert_array_equal(exe(memoryview(np.ascontiguousarray(X.T))), X.T + 1)


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        (X[:1], ShapeError, r"argument x: expected f32\[2,3\], got f32\[1,3\]"),
        (X.astype(np.float64), DTypeError, r"argument x: expected f32\[2,3\], got f64"),
        ("text", DTypeError, "argument x"),
        (object(), DTypeError, "argument x: object is not an array"),
    ],
)
def test_wrong_arguments_name_the_argument(argument, error, message):
    exe = gc.compile(double, X)
    with pytest.raises(error, match=message):
        exe(argument)


class Shares:
    """An array of the host in nothing but DLPack; `broken` raises as it is read."""

    def __init__(self, array, broken=None):
        self.array, self.broken = array, broken

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **options):
        if self.broken is not None:
            raise self.broken
        return self.array.__dlpack__(**options)


def test_arrays_of_dlpack_alone_are_arrays_everywhere():
    for exe in (gc.compile(double, Shares(X)), gc.jit(double)):
        np.testing.assert_array_equal(exe(Shares(X))["twice"], X * 2)
    assert str(gc.trace(double, Shares(X)).inputs[0].type) == "f32[2,3]"


class Refuses:
    """As a tensor that requires a gradient does."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("use detach()")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (Refuses(), r"argument x: Refuses cannot be read as an array: use detach\(\)"),
        (Shares(X, BufferError("no")), "argument x: Shares cannot be read as an array: no"),
        (X.astype(np.longdouble), f"argument x: dtype {np.dtype(np.longdouble).name} is not supported"),
        (np.ma.masked_array(X, X > 2), r"argument x: masked arrays cannot be taken; fill them with \.filled"),
    ],
)
@pytest.mark.parametrize(
    "use", [lambda a: gc.compile(double, a), lambda a: gc.jit(double)(a), lambda a: gc.trace(double, a)]
)
def test_what_is_no_array_names_the_argument_wherever_it_is_given(use, argument, message):
    with pytest.raises(DTypeError, match=message):
        use(argument)


def test_the_line_is_named_where_an_array_is_traced():
    with pytest.raises(DTypeError, match=r"use detach\(\) \(test_compiled\.py:\d+\)"):
        gc.compile(double, Refuses())


def test_masked_arrays_are_refused_by_calls_and_in_traces():
    masked = np.ma.masked_array(X, X > 2)
    with pytest.raises(DTypeError, match="argument x: masked arrays"):
        gc.compile(double, X)(masked)
    with pytest.raises(DTypeError, match="masked arrays"):
        gc.trace(lambda x: x + masked, X)


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ({"shape": (2, 3)}, "lacks data, typestr"),
        (3, "does not share its memory"),
        ({"shape": (2, 3), "typestr": "nothing", "data": (1, False)}, "'nothing' not understood"),
        ({"shape": (2, 3), "typestr": "<f4", "data": (1, False), "mask": X}, "with a mask cannot be taken"),
        (RuntimeError("lost"), "does not share its memory: lost"),
    ],
)
@pytest.mark.parametrize(
    "use", [lambda a: gc.compile(double, a), lambda a: gc.jit(double)(a), lambda a: gc.trace(double, a)]
)
def test_what_describes_itself_wrongly_names_the_argument(use, interface, message):
    class Array:
        @property
        def __cuda_array_interface__(self):
            if isinstance(interface, Exception):
                raise interface
            return interface

    with pytest.raises(ArgumentError, match=f"argument x: .*{message}"):
        use(Array())


@pytest.mark.cpu
def test_whoever_lies_on_a_gpu_is_refused_before_he_is_read():
    class Array:
        __cuda_array_interface__ = None

    with pytest.raises(ArgumentError, match="argument x: Array lies on a GPU"):
        gc.compile(double, X)(Array())


def test_a_tensor_on_no_device_is_none_of_a_gpu():
    class Meta(Refuses):
        def __dlpack_device__(self):
            raise ValueError("unknown device type")

        def __dlpack__(self, **options):
            raise AssertionError

    with pytest.raises(DTypeError, match="argument x: Meta cannot be read as an array"):
        gc.jit(double)(Meta())


def test_the_types_of_arrays_on_a_gpu_are_enough_to_trace():
    class Array:
        __cuda_array_interface__ = {"shape": (2, 3), "typestr": "<f4", "data": (1, False), "version": 3}  # noqa: RUF012

        def __array__(self, *args, **kwargs):
            raise TypeError("it lies on a GPU")

    assert str(gc.trace(double, Array())) == str(gc.trace(double, X))
    np.testing.assert_array_equal(gc.compile(double, Array())(X)["twice"], X * 2)


def test_a_different_pytree_is_named():
    with pytest.raises(ArgumentError, match="compiled for arguments"):
        gc.compile(double, X)(X, X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "tpu"}, BackendError, "unknown backend 'tpu'; installed: cpu, "),
        ({"precision": "bfloat16"}, UnsupportedError, "precision='bfloat16'"),
        ({"threads": 0}, ArgumentError, "threads=0"),
        ({"device": "cuda:0"}, ArgumentError, r"device='cuda:0': use None or the number .* gc\.devices\(\)"),
        ({"device": -1}, ArgumentError, "device=-1"),
        ({"device": True}, ArgumentError, "device=True"),
        pytest.param(
            {"device": 1}, BackendError, "the cpu backend has one device, number 0, not 1", marks=pytest.mark.cpu
        ),
        ({"verify": "everything"}, ArgumentError, "verify='everything'"),
        ({"sanitize": "yes"}, ArgumentError, "sanitize='yes'"),
        ({"tune": True}, UnsupportedError, "tune"),
        ({"memory": "lots"}, ArgumentError, "memory='lots'"),
        ({"memory": -1}, ArgumentError, "memory=-1"),
        ({"memory": 16}, MemoryBudgetError, "memory=16"),
        ({"memory": "inf"}, ArgumentError, "memory='inf'"),
        ({"device": 3}, BackendError, "device"),
        ({"backend": "reference", "device": 3}, UnsupportedError, "device=3"),
        ({"backend": "reference", "threads": 2}, UnsupportedError, "threads=2"),
        ({"backend": "reference", "memory": 2**30}, UnsupportedError, "plans no memory"),
    ],
)
def test_options_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        gc.compile(lambda x: gnp.exp(x @ x.T).sum(), np.ones((64, 64), np.float32), **options)


def test_memory_as_text():
    exe = gc.compile(lambda x: gnp.exp(x @ x.T).sum(), np.ones((64, 64), np.float32), memory="1 MiB")
    assert exe.memory.arena_bytes <= 2**20


def test_verify_full_runs_every_pass_twice():
    exe = gc.compile(lambda x: gnp.log(gnp.exp(x) / gnp.exp(x).sum()), X[0], verify="full")
    want = X[0] - np.log(np.exp(X[0]).sum())
    np.testing.assert_allclose(exe(X[0]), want, rtol=1e-5, atol=1e-6)


def test_jit_compiles_once_per_signature():
    f = gc.jit(lambda x: x + 1)
    f(X)
    f(X + 3)
    f(X[0])
    info = f.cache_info()
    assert (info.hits, info.misses, info.size) == (1, 2, 2)


def test_jit_evicts_the_least_recently_used():
    f = gc.jit(lambda x: x + 1, capacity=1)
    f(X)
    f(X[0])
    f(X)
    assert f.cache_info().misses == 3
    assert f.cache_info().size == 1


def test_recompile_error_names_what_changed():
    f = gc.jit(lambda x, y: x + y, recompile="error")
    f(X, X)
    with pytest.raises(ArgumentError, match=r"f32\[2,3\] -> f32\[3\]"):
        f(X, X[0])


def test_static_arguments_are_compiled_in():
    @gc.jit(static="power")
    def f(x, power):
        return x**power

    np.testing.assert_allclose(f(X, 2), X**2)
    np.testing.assert_allclose(f(X, power=3), X**3)
    assert f.cache_info().misses == 2
    with pytest.raises(ArgumentError, match="must be hashable"):
        f(X, [1])
    with pytest.raises(ArgumentError, match="are not parameters"):
        gc.jit(lambda x: x, static="mode")


def test_static_arguments_of_other_types_are_other_programs():
    f = gc.jit(lambda x, n: x + (1 if isinstance(n, int) else 100), static="n")
    assert [f(np.float32(0), n) for n in (1, 1.0)] == [1, 100]


def test_static_arguments_beside_any_kind_of_parameter():
    def f(a, /, *rest, n, **more):
        return n * (a + sum(rest) + more.get("last", 0))

    assert gc.jit(f, static="n")(X[0], X[1], X[0], n=2, last=X[1]).tolist() == (4 * (X[0] + X[1])).tolist()
    with pytest.raises(TypeError, match="too many positional arguments"):
        gc.jit(lambda x, n: x * n, static="n")(X, 2, 3)


def test_numpy_scalars_keep_their_dtype():
    """`np.float64` is a Python float too."""
    assert gc.jit(lambda x: x * 2)(np.float64(1.1)) == np.float64(2.2)
    exe = gc.compile(lambda x: x * 2, gc.spec((), "float32"))
    with pytest.raises(DTypeError, match="cast it first"):
        exe(np.float64(1.1))
    with pytest.raises(DTypeError, match=r"expected bool\[\], got the int 2"):
        gc.compile(lambda x: x, gc.spec((), "bool"))(2)


def test_flags_are_checked(monkeypatch):
    monkeypatch.setenv("GRAPHC_VERIFY", "yes")
    with pytest.raises(ArgumentError, match="GRAPHC_VERIFY is 'yes': use passes or full"):
        gc.compile(double, X)


def test_jit_inside_jit_is_a_call_and_differentiates():
    inner = gc.jit(lambda x: gnp.sin(x) * x)
    graph = gc.trace(lambda x: inner(x) + inner(x * 2), X)
    assert [node.op.name for node in graph.nodes].count("call") == 2
    gc.gradcheck(lambda x: inner(inner(x)), np.array([0.3, -0.7]), order=2)


def test_grad_nests_to_third_order():
    f = lambda x: x**4
    assert gc.grad(gc.grad(gc.grad(f)))(np.float64(1.5)) == pytest.approx(24 * 1.5)


def test_gradcheck_of_compiled_and_of_graphs():
    exe = gc.compile(lambda x: gnp.tanh(x).sum(), X)
    assert gc.gradcheck(exe, X).passed
    with pytest.raises(ArgumentError, match="compiled from a graph"):
        gc.gradcheck(gc.compile(exe.graph), X)


def test_a_graph_compiles_as_it_is():
    graph = gc.trace(lambda x, y: x - y, X, X)
    exe = gc.compile(gc.parse(str(graph)))
    np.testing.assert_array_equal(exe(X, X * 2), -X)
    with pytest.raises(ArgumentError, match="pass no specs"):
        gc.compile(graph, X)


SQUARE = np.random.default_rng(0).standard_normal((20, 20)).astype(np.float32)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: gnp.exp(x @ x.T * 0.1),
        lambda x: (x + x.T).sum(axis=1),
        lambda x: gnp.exp(x + x.T) / gnp.exp(x + x.T).sum(axis=1, keepdims=True),
        lambda x: x @ x + x.T + x,
        lambda x: (x * x.T).sum(0) - x.max(1),
        lambda x: gnp.max(x @ x.T + x.T, axis=1),
        lambda x: x.sum(0) - x.sum(1),
        lambda x: (x.max(0) * x.min(1)).sum(),
    ],
)
def test_one_value_read_along_both_of_its_dims(fn):
    np.testing.assert_allclose(gc.jit(fn)(SQUARE), gc.jit(fn, backend="reference")(SQUARE), rtol=1e-5, atol=1e-5)


def test_jit_names_arguments_by_their_parameters():
    def f(points, mode):
        return points["xy"] * 2.0 if mode else points["xy"]

    with pytest.raises(DTypeError, match=r"argument points\.xy: dtype \w+ is not supported"):
        gc.jit(f)({"xy": np.ones(2, np.longdouble)}, 1.0)
    with pytest.raises(DTypeError, match=r"argument mode: str is not an array of numbers; .*static="):
        gc.jit(f)({"xy": X}, "train")
    with pytest.raises(DTypeError, match=r"argument mode: str is not an array"):
        gc.jit(f)({"xy": X}, mode="train")
    limited = gc.jit(f, static="mode", recompile="error")
    limited({"xy": X}, True)
    with pytest.raises(gc.api.ArgumentError, match=r"arguments changed: points\.xy: f32\[2,3\] -> f32\[1,3\]"):
        limited({"xy": X[:1]}, True)


def test_a_leaked_value_as_argument_is_a_leak():
    leaked = []
    gc.jit(lambda x: leaked.append(x * 2) or x)(X)
    with pytest.raises(gc.api.LeakedTracerError, match=r"made at test_compiled\.py:\d+ in the trace of"):
        gc.jit(lambda x: x + 1)(leaked[0])


def test_arrays_of_another_library_are_arguments():
    torch = pytest.importorskip("torch")
    x = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    np.testing.assert_array_equal(gc.jit(double)(x)["twice"], 2 * x.numpy())
    np.testing.assert_array_equal(gc.compile(double, x)(x)["twice"], 2 * x.numpy())
    np.testing.assert_array_equal(gc.grad(lambda x: (x * x).sum())(x), 2 * x.numpy())
    with pytest.raises(DTypeError, match="requires grad"):
        gc.jit(double)(x.requires_grad_())


def test_arguments_of_either_byte_order():
    np.testing.assert_array_equal(gc.jit(double)(X.astype(">f4"))["twice"], 2 * X)


def test_a_jitted_module_sees_its_arrays_change():
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    f = gc.jit(model)
    np.testing.assert_allclose(f(X), model(X), rtol=1e-6)
    model[0].weight[:] = 0
    model[0].bias[:] = 1
    np.testing.assert_allclose(f(X), np.tanh(np.ones((2, 2), np.float32)), rtol=1e-6)
    assert f.cache_info().misses == 1
    assert repr(f) == "<jit Sequential, compiled for 1 signatures>"
