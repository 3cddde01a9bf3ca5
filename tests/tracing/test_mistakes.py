"""The common mistakes while tracing: each error has the user's line and says what to write instead."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, LeakedTracerError, TraceError, UnsupportedError
from graphc.graph.interpreter import interpret
from graphc.tracing import Tracer, spec, trace


def branch(x: Tracer) -> object:
    return x if x.sum() > 0 else -x  # here


def combine(x: Tracer) -> object:
    return gnp.where((x > 0) and (x < 1), x, 0.0)  # here


def convert_to_float(x: Tracer) -> object:
    return x * float(x.sum())  # here


def convert_to_array(x: Tracer) -> object:
    return np.asarray(x)  # here


def assign(x: Tracer) -> object:
    x[0] = 1.0  # here
    return x


def assign_into_numpy(x: Tracer) -> object:
    buffer = np.zeros(3, np.float32)
    buffer[0] = x[0]  # here
    return buffer


def accumulate_into_numpy(x: Tracer) -> object:
    buffer = np.zeros(3, np.float32)
    buffer += x  # here
    return buffer


def loop(x: Tracer) -> object:
    return sum(i for i in range(x[0].astype("int32")))  # here


def mask(x: Tracer) -> object:
    return x[x > 0]  # here


def index_numpy(x: Tracer) -> object:
    return np.arange(10)[x[0].astype("int32")]  # here


def show(x: Tracer) -> object:
    print(f"{x.sum():.3f}")  # here
    return x


def item(x: Tracer) -> object:
    return x * x.sum().item()  # here


def key_of_dict(x: Tracer) -> object:
    return {x: 1}  # here


def dynamic_slice(x: Tracer) -> object:
    return x[: x[0].astype("int32")]  # here


def member(x: Tracer) -> object:
    return 1.0 in x  # here


def list_of_traced(x: Tracer) -> object:
    return gnp.exp([x[0], x[1]])  # here


def iterate_scalar(x: Tracer) -> object:
    return list(x[0])  # here


def flag(x: Tracer) -> object:
    return -x if x[0] > 0 else x  # here


def axis(x: Tracer) -> object:
    return x.sum(axis=x[0].astype("int32"))  # here


def pickled(x: Tracer) -> object:
    return pickle.dumps(x)  # here


def view_as_shape(x: Tracer) -> object:
    return x.view(1, 3)  # here


def detached(x: Tracer) -> object:
    return x.detach()  # here


def accumulated(x: Tracer) -> object:
    return x.cumsum()  # here


MISTAKES: list[tuple[Callable[[Tracer], object], str]] = [
    (branch, "gnp.where"),
    (combine, "& | ~"),
    (convert_to_float, "Leave it an array"),
    (convert_to_array, "Use gnp functions"),
    (assign, "x = x.at[index].set(value)"),
    (assign_into_numpy, "gnp.stack replaces writing into a NumPy array"),
    (accumulate_into_numpy, "use the returned value"),
    (loop, "static"),
    (mask, "gnp.where(mask, x, other)"),
    (index_numpy, "gnp.take"),
    (show, "print the result"),
    (item, "print the result"),
    (key_of_dict, "as the key"),
    (dynamic_slice, "gnp.take"),
    (member, "gnp.any"),
    (list_of_traced, "gnp.stack"),
    (iterate_scalar, "scalar"),
    (flag, "gc.jit(f, static='flag')"),
    (axis, "name the argument in gc.jit(f, static=...)"),
    (pickled, "Return it and store the result"),
    (view_as_shape, "x.reshape(...)"),
    (detached, "gc.stop_gradient(x)"),
    (accumulated, "gnp.cumsum(x)"),
]


@pytest.mark.parametrize(("function", "advice"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_message_has_the_line_and_the_advice(function: Callable[[Tracer], object], advice: str) -> None:
    lines, first = inspect.getsourcelines(function)
    line = first + next(i for i, text in enumerate(lines) if text.rstrip().endswith("# here"))
    with pytest.raises((TraceError, ArgumentError, AttributeError), match=re.escape(advice)) as caught:
        trace(function, [spec((3,), "float32")])
    assert str(caught.value).endswith(f"(test_mistakes.py:{line})")


def test_golden_messages(golden: Callable[[str, str], None]) -> None:
    texts = []
    for function, _ in MISTAKES[:10]:
        with pytest.raises(TraceError) as caught:
            trace(function, [spec((3,), "float32")])
        texts.append(f"{function.__name__}: {re.sub(r'py:[0-9]+', 'py:LINE', str(caught.value))}")
    golden("trace_mistakes", "\n".join(texts))


def test_leaked_values_say_where_they_were_made() -> None:
    kept: list[Tracer] = []
    trace(lambda x: kept.append(x * 2.0), [spec((3,))], name="first")
    with pytest.raises(LeakedTracerError, match=r"f32\[3\] made at test_mistakes\.py:\d+ in the trace of first"):
        _ = kept[0] + 1
    with pytest.raises(LeakedTracerError, match="after that trace has ended"):
        trace(lambda x: x + kept[0], [spec((3,))])
    with pytest.raises(LeakedTracerError):
        trace(lambda x: kept[0], [spec((3,))])


def test_a_trace_that_fails_leaks_nothing() -> None:
    def fail(x: Tracer) -> object:
        raise KeyError("user error")

    with pytest.raises(KeyError, match="user error"):
        trace(fail, [spec((3,))])
    assert type(gnp.zeros(3)) is np.ndarray  # nothing is being traced any more


def test_traced_values_do_not_cross_threads() -> None:
    caught: list[BaseException] = []

    def elsewhere(x: Tracer) -> None:
        try:
            _ = x + 1.0
        except LeakedTracerError as error:
            caught.append(error)

    def function(x: Tracer) -> object:
        thread = threading.Thread(target=elsewhere, args=(x,))
        thread.start()
        thread.join()
        return x

    trace(function, [spec((3,))])
    assert "another thread" in str(caught[0])


@dataclass
class Box:
    value: object


@pytest.mark.parametrize(
    ("result", "place"),
    [("text", "the result is a str"), ({"a": [1.0, Box(1)]}, r"result \.a\.1 is a Box"), (object(), "is a object")],
)
def test_results_must_be_arrays(result: object, place: str) -> None:
    with pytest.raises(TraceError, match=place):
        trace(lambda x: result, [spec((3,))])


def test_arguments_must_be_arrays() -> None:
    with pytest.raises(TraceError, match=r"argument options\.mode is a str.*close over it"):
        trace(lambda options: 1.0, [{"mode": "fast"}])


class Refuses:
    """As an array on a GPU does."""

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
        raise TypeError("implicit conversion")


def test_constants_must_be_arrays_of_the_host() -> None:
    with pytest.raises(TraceError, match=r"Refuses cannot be read as an array: implicit conversion \(test_mistakes"):
        trace(lambda x: gnp.add(x, Refuses()), [spec((3,))])  # type: ignore[arg-type]


def test_a_traced_value_prints_without_a_number() -> None:
    shown: list[str] = []
    trace(lambda x: shown.append(f"{x} {x!r}"), [spec((3, 4))])
    assert shown[0].count("<traced f32[3,4] from") == 2


def test_copies_and_rounding_as_python_writes_them() -> None:
    def function(x: Tracer) -> object:
        return copy.copy(x), copy.deepcopy({"x": x})["x"], round(x), round(x, 1), *divmod(x, 2.0)

    x = np.array([1.26, -2.5, 7.5], np.float32)
    expected = (x, x, np.round(x), np.round(x, 1), *divmod(x, np.float32(2)))  # NumPy's arrays have no round()
    for ours, numpys in zip(interpret(trace(function, [x]).graph, [x]), expected, strict=True):
        np.testing.assert_allclose(ours, numpys, rtol=1e-6)


def test_suggestions_are_functions() -> None:
    with pytest.raises(UnsupportedError, match=r"np\.select has no counterpart in graphc\.numpy for traced values \("):
        trace(lambda x: np.select([x > 0], [x]), [spec((3,))])
