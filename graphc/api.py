"""The public surface, what `import graphc as gc` offers; the library (nn, optim, data, train) stands on this alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar, cast

import numpy as np

from graphc import random, transform
from graphc.compilation import Options
from graphc.core import pytree
from graphc.core.errors import (
    ArgumentError,
    BackendError,
    BoundError,
    CheckpointError,
    CopyWarning,
    DataError,
    DTypeError,
    GradientError,
    GraphcError,
    IndexRangeError,
    LeakedTracerError,
    MemoryBudgetError,
    NonFiniteError,
    ParseError,
    SanitizeError,
    ShapeError,
    TraceError,
    UnsupportedError,
    VerifyError,
)
from graphc.core.source import Loc, adopt, at, here
from graphc.execution.arguments import memory_size
from graphc.execution.compiled import CompiledFunction, compile_function
from graphc.execution.cost import CostReport
from graphc.execution.eager import loop_or_branch
from graphc.execution.jit import CacheInfo, Jitted
from graphc.execution.loading import Loaded, load
from graphc.execution.profile import KernelProfile, ProfileReport
from graphc.execution.program import Program
from graphc.execution.resident import with_specs
from graphc.graph.ir import Graph
from graphc.graph.parser import parse
from graphc.plan.report import MemoryReport
from graphc.runtime.discovery import backend_names, find_backend, targets
from graphc.runtime.protocol import Backend, Progress
from graphc.tracing import Array, ArrayLike, Spec, Tracer, is_tracing, spec
from graphc.tracing import trace as trace_function
from graphc.tracing.array.indexing import checked_index
from graphc.tracing.context import with_line
from graphc.tracing.function import check_callable
from graphc.transform import GradientReport, checkpoint_policies, custom_jvp, custom_vjp, stop_gradient

__all__ = [
    "ArgumentError",
    "Array",
    "ArrayLike",
    "BackendError",
    "BoundError",
    "CacheInfo",
    "CheckpointError",
    "CompiledFunction",
    "CopyWarning",
    "CostReport",
    "DTypeError",
    "DataError",
    "GradientError",
    "GradientReport",
    "Graph",
    "GraphcError",
    "IndexRangeError",
    "Jitted",
    "KernelProfile",
    "LeakedTracerError",
    "Loaded",
    "Loc",
    "MemoryBudgetError",
    "MemoryReport",
    "NonFiniteError",
    "ParseError",
    "ProfileReport",
    "Program",
    "Progress",
    "SanitizeError",
    "ShapeError",
    "Spec",
    "TraceError",
    "Tracer",
    "UnsupportedError",
    "VerifyError",
    "adopt",
    "at",
    "checked_index",
    "checkpoint",
    "checkpoint_policies",
    "compile",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "devices",
    "fori_loop",
    "grad",
    "gradcheck",
    "here",
    "hessian",
    "hvp",
    "is_tracing",
    "jacobian",
    "jit",
    "jvp",
    "linearize",
    "load",
    "parse",
    "program",
    "pytree",
    "random",
    "scan",
    "spec",
    "stop_gradient",
    "switch",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
    "with_line",
]

F = TypeVar("F", bound=Callable[..., object])
Verify = Literal["passes", "full"] | None


def _options(
    backend: str | None,
    device: int | None,
    memory: int | str | None,
    precision: str,
    threads: int | None,
    sanitize: bool,
    verify: Verify,
    tune: bool | None,
) -> Options:
    return Options(
        backend=backend or "",
        device=device,
        memory=memory_size(memory),
        precision=precision,
        threads=threads,
        sanitize=sanitize,
        verify=verify or "",
        tune=bool(tune),
    )


def trace(fn: Callable[..., object], *args: object, **kwargs: object) -> Graph:
    """The graph of `fn` for these specs or arrays. `print(graph)` is text that `parse` reads back.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> print(gc.trace(lambda x: gnp.tanh(x), gc.spec((2, 3), "float32")))  # doctest: +ELLIPSIS
    graph ...(%0: f32[2,3] x) {
      %1: f32[2,3] = tanh(%0)  # ...
      return %1
    }
    <BLANKLINE>
    """
    check_callable("trace", "fn", fn)
    args, kwargs = with_specs(fn, args, kwargs)
    return trace_function(fn, args, kwargs, name=getattr(fn, "__name__", "main")).graph


def compile(
    fn: Callable[..., object] | Graph,
    *args: object,
    backend: str | None = None,
    device: int | None = None,
    memory: int | str | None = None,
    precision: str = "float32",
    threads: int | None = None,
    sanitize: bool = False,
    verify: Verify = None,
    tune: bool | None = None,
    **kwargs: object,
) -> CompiledFunction:
    """Compile a function for one signature, given as specs or example arrays, or a graph.

    backend: "cpu" (default), "gpu" or "reference". device: the number of the GPU, as `devices` counts them; 0 when it
    is left out. memory: largest planned peak in bytes or as "512MB"; more raises `MemoryBudgetError` before anything is
    allocated. threads: of the cpu backend, by default one per core; results do not depend on it. precision: "float32"
    computes every dtype as written, with the same bits everywhere; on the gpu backend "library" leaves products to
    cuBLASLt, which adds up in an order of its own, and "tf32" lets it round float32 factors to 10 bits behind the point
    too. verify: "passes" checks every IR after each pass, "full" also runs
    the graph before and after each pass on example inputs and names the pass that changed the numbers.

    sanitize: stop at the operation that first makes a NaN or infinity of what is none, and at an index outside of what
    it indexes: `gc.NonFiniteError` and `gc.IndexRangeError` name operation, element, source line, and whether that is
    the forward or the backward pass; in a program also the step, before which the state stays. Infinities that are
    written, passed or added on purpose (masks) are none; NaN in an argument is one. Takes a few times longer.

    Arguments are NumPy arrays or what becomes one. The gpu backend also takes arrays in the memory of its GPU (CuPy, or
    anything with `__dlpack__` or `__cuda_array_interface__`) where they lie: when one of the arguments is one, so are
    all results, and the call returns as soon as it is queued.

    >>> import graphc as gc
    >>> import numpy as np
    >>> exe = gc.compile(lambda x: (x * x).sum(), gc.spec((3,), "float32"))
    >>> float(exe(np.array([1, 2, 3], np.float32)))
    14.0

    >>> import graphc.numpy as gnp
    >>> safe = gc.compile(lambda x: gnp.log(x).sum(), gc.spec((3,), "float32"), sanitize=True)
    >>> safe(np.array([1, 0, 2], np.float32))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    graphc.core.errors.NonFiniteError: sanitize: log of 0 made -Inf at [1] of f32[3] (forward pass, train.py:3)
    """
    if not isinstance(fn, Graph):
        check_callable("compile", "fn", fn)
    options = _options(backend, device, memory, precision, threads, sanitize, verify, tune)
    return compile_function(fn, args, kwargs, options)


def jit(
    fn: F | None = None,
    *,
    static: str | Iterable[str] = (),
    backend: str | None = None,
    device: int | None = None,
    memory: int | str | None = None,
    precision: str = "float32",
    threads: int | None = None,
    sanitize: bool = False,
    capacity: int = 128,
    recompile: Literal["allow", "error"] = "allow",
) -> Callable[..., object]:
    """Trace and compile per input signature, on first use; usable as `@gc.jit` or `@gc.jit(static="mode")`.

    static: names of parameters that are Python values, compiled in. capacity: signatures kept (LRU). recompile="error"
    raises `ArgumentError` naming the argument that changed instead of compiling a second time.

    Arrays that `fn` takes from outside are constants of the compiled function: later changes to them are not seen. A
    module is an exception: `gc.jit(model)` reads its arrays at each call, and `fn` may take a module as an argument.
    Inside another trace a jitted function becomes part of that program, whose options count; `sanitize=True` of any
    part is that of the whole, so `gc.grad(gc.jit(f, sanitize=True))` is sanitized.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> import numpy as np
    >>> @gc.jit
    ... def f(x, w):
    ...     return gnp.tanh(x @ w)
    >>> f(np.zeros((2, 3), np.float32), np.zeros((3, 4), np.float32)).shape
    (2, 4)
    """
    if fn is not None:
        check_callable("jit", "fn", fn)
    if capacity < 1:
        raise ArgumentError(f"jit: capacity={capacity} must be at least 1")
    if recompile not in ("allow", "error"):
        raise ArgumentError(f"jit: recompile={recompile!r}: use 'allow' or 'error'")
    names = (static,) if isinstance(static, str) else tuple(static)
    options = _options(backend, device, memory, precision, threads, sanitize, None, None)

    def wrap(function: Callable[..., object]) -> Jitted:
        return Jitted(function, options, names, capacity, recompile)

    return wrap if fn is None else wrap(fn)


def program(
    state: object,
    entries: Mapping[str, Callable[..., object]],
    inputs: Mapping[str, object] | None = None,
    *,
    backend: str | None = None,
    device: int | None = None,
    memory: int | str | None = None,
    precision: str = "float32",
    threads: int | None = None,
    sanitize: bool = False,
    verify: Verify = None,
) -> Program:
    """Several functions over one state, compiled together; `run` executes many steps natively.

    Each entry is `f(state, batch, step) -> (new state, outputs)`. The program owns a copy of `state` and updates it in
    place. inputs: batch specs or arrays per entry to compile for now; other signatures compile on first use. The other
    options are those of `compile`.

    >>> import graphc as gc
    >>> import numpy as np
    >>> counter = gc.program({"n": np.float32(0)}, {"add": lambda s, x, step: ({"n": s["n"] + x}, s["n"])})
    >>> done, seen = counter.run("add", np.float32(2), n=4)
    >>> seen.tolist(), float(counter.state["n"])
    ([0.0, 2.0, 4.0, 6.0], 8.0)
    """
    options = _options(backend, device, memory, precision, threads, sanitize, verify, None)
    for name, entry in entries.items():
        check_callable("program", f"entry {name}", entry)
    result = Program(state, entries, options)
    if inputs:
        result.prepare(inputs)
    return result


def grad(fn: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., object]:
    """The gradient of a scalar function with respect to the arguments in `argnums` (pytrees allowed).

    The result is compiled per signature like `jit`; inside a trace it becomes part of it, so it nests to any order.

    >>> import graphc as gc
    >>> import numpy as np
    >>> float(gc.grad(lambda x: x * x * x)(np.float64(2)))
    12.0
    """
    return jit(transform.grad(fn, argnums, has_aux))


def value_and_grad(
    fn: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., object]:
    """`(value, gradient)` of a scalar function; with has_aux `((value, aux), gradient)`.

    Raises `GradientError` where there is no derivative.

    >>> import graphc as gc
    >>> import numpy as np
    >>> value, gradient = gc.value_and_grad(lambda x: x * x)(np.float64(3))
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """
    return jit(transform.value_and_grad(fn, argnums, has_aux))


def gradcheck(
    fn: Callable[..., object],
    *args: object,
    eps: float = 1e-5,
    rtol: float = 1e-4,
    atol: float = 1e-7,
    order: int = 1,
    directions: int = 3,
    seed: int = 0,
    backend: str | None = None,
) -> GradientReport:
    """Compare the derivatives of the compiled program with central finite differences along random directions, in
    float64.

    fn is a function, jitted or compiled; it is traced again at float64 versions of `args` and compiled for `backend` (a
    compiled function's own by default). order=2 checks the derivatives of the gradient too. Raises `GradientError`
    naming the worst direction and argument.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> import numpy as np
    >>> gc.gradcheck(lambda x: gnp.tanh(x).sum(), np.array([0.5, -1.0], np.float32), order=2).passed
    True
    """
    if isinstance(fn, CompiledFunction):
        backend = backend or fn.options.backend
        if fn.function is None:
            raise ArgumentError("gradcheck: this was compiled from a graph, whose dtypes are fixed; pass the function")
        fn = fn.function
    return transform.gradcheck(
        fn,
        *args,
        eps=eps,
        rtol=rtol,
        atol=atol,
        order=order,
        directions=directions,
        seed=seed,
        compile=lambda function: jit(function, backend=backend),
    )


def vmap(
    fn: Callable[..., object], in_axes: object = 0, out_axes: object = 0, axis_size: int | None = None
) -> Callable[..., object]:
    """`fn` for every index of an axis of its arguments at once. The result is compiled per signature like `jit`; inside
    a trace it becomes part of it, so it nests and mixes with derivatives in any order.

    in_axes: the axis of each positional argument that `fn` is mapped over, None where every example gets all of it: one
    for all arguments, or a tuple with one per argument, each of which may be a pytree of axes shaped like (the upper
    part of) the argument. Keyword arguments are mapped over axis 0. out_axes: where the results have that axis, in the
    same way; None for a result that is the same for all examples. Axes count from the end where they are negative.
    axis_size: needed where no argument is mapped. Random keys are data: each example draws what it draws alone.

    An example has the bits that it has alone, unless a product with a vector becomes one with a matrix. Raises
    `ShapeError` where extents differ or an axis is not there, `ArgumentError` where the axes do not fit the arguments.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> import numpy as np
    >>> gc.vmap(gnp.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    return jit(transform.vmap(fn, in_axes, out_axes, axis_size))


def jacobian(
    fn: Callable[..., object],
    argnums: int | tuple[int, ...] = 0,
    mode: Literal["reverse", "forward"] = "reverse",
    has_aux: bool = False,
) -> Callable[..., object]:
    """The derivative of every element of the result by every element of the arguments in `argnums`: [a, b, m, n] for a
    result of shape [a, b] and an argument of shape [m, n]; pytrees of results hold pytrees of arguments.

    mode: "reverse" costs as much as so many gradients as the result has elements, "forward" as many as the arguments
    have. Compiled per signature like `jit`. Raises `GradientError` where there is no derivative.

    >>> import graphc as gc
    >>> import numpy as np
    >>> gc.jacobian(lambda x: x * x)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    return jit(transform.jacobian(fn, argnums, mode, has_aux))


def hessian(
    fn: Callable[..., object], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., object]:
    """The second derivatives: the Jacobian, by forward mode, of the Jacobian by reverse mode. Compiled like `jit`.

    >>> import graphc as gc
    >>> import numpy as np
    >>> gc.hessian(lambda x: x[0] * x[0] * x[1])(np.array([3.0, 5.0])).tolist()
    [[10.0, 6.0], [6.0, 0.0]]
    """
    check_callable("hessian", "fn", fn)
    return jit(transform.hessian(fn, argnums, has_aux))


def scan(
    f: Callable[..., object],
    init: object,
    xs: object = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[object, object]:
    """A loop over the rows of `xs`: `carry, y = f(carry, x)` for each; the last carry, and the ys stacked.

    init, xs, carry and y are pytrees of arrays; all xs have equally many rows, the number of iterations, which is
    `length` where there are no xs. A carry keeps its shape and dtype. reverse: from the last row to the first; row t of
    the ys still belongs to row t of the xs. `f` is traced once, so a program is as long as its body, and may use values
    from outside. Differentiable in both modes and to any order.

    >>> import graphc as gc
    >>> import numpy as np
    >>> last, sums = gc.scan(lambda total, x: (total + x, total + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> float(last), sums.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    run = partial(transform.scan, f, length=length, reverse=reverse)
    return cast("tuple[object, object]", loop_or_branch("scan", run, (init, xs), Options()))


def fori_loop(lower: ArrayLike, upper: ArrayLike, body: Callable[..., object], init: object) -> object:
    """`value = body(i, value)` for i in lower, lower + 1, ..., upper - 1; the last value.

    With Python numbers as limits it is a `scan`, with limits that are only known later a `while_loop`, which has
    derivatives in forward mode.

    >>> import graphc as gc
    >>> int(gc.fori_loop(1, 6, lambda i, product: product * i, 1))
    120
    """
    limits = tuple(int(n) if isinstance(n, int | np.integer) else n for n in (lower, upper))

    def run(init: object, *later: ArrayLike) -> object:
        rest = iter(later)
        first, last = (n if isinstance(n, int) else next(rest) for n in limits)
        return transform.fori_loop(first, last, body, init)

    later = tuple(n for n in limits if not isinstance(n, int))
    return loop_or_branch("fori_loop", run, (init, *later), Options())


def while_loop(
    cond: Callable[..., object], body: Callable[..., object], init: object, bound: int | None = None
) -> object:
    """`value = body(value)` as long as `cond(value)`; the last value.

    With `bound`, the most iterations there may be, it is differentiable in both modes, to any order; more iterations
    raise `BoundError`. Without, in forward mode only.

    >>> import graphc as gc
    >>> float(gc.while_loop(lambda x: x < 100, lambda x: x * 2, 3.0))
    192.0
    """
    run = partial(transform.while_loop, cond, body, bound=bound)
    return loop_or_branch("while_loop", run, (init,), Options())


def cond(pred: ArrayLike, true_fn: Callable[..., object], false_fn: Callable[..., object], *operands: object) -> object:
    """`true_fn(*operands)` if `pred` is true, else `false_fn(*operands)`: only one of them runs.

    Both return pytrees of equal types.

    >>> import graphc as gc
    >>> import numpy as np
    >>> [float(gc.cond(x > 0, lambda x: x, lambda x: -10 * x, x)) for x in (np.float32(2), np.float32(-3))]
    [2.0, 30.0]
    """

    def run(pred: ArrayLike, *operands: object) -> object:
        return transform.cond(pred, true_fn, false_fn, *operands)

    return loop_or_branch("cond", run, (pred, *operands), Options())


def switch(index: ArrayLike, branches: Sequence[Callable[..., object]], *operands: object) -> object:
    """`branches[index](*operands)`: only that one runs. An index outside is taken for the nearest one there is.

    >>> import graphc as gc
    >>> branches = [lambda x: x, lambda x: x * x, lambda x: -x]
    >>> [float(gc.switch(i, branches, 3.0)) for i in (0, 1, 7)]
    [3.0, 9.0, -3.0]
    """

    def run(index: ArrayLike, *operands: object) -> object:
        return transform.switch(index, branches, *operands)

    return loop_or_branch("switch", run, (index, *operands), Options())


vjp = transform.vjp
jvp = transform.jvp
hvp = transform.hvp
checkpoint = transform.checkpoint
linearize = transform.linearize


def devices() -> list[str]:
    """What programs can run on here: one line per device of each installed backend that works.

    >>> import graphc as gc
    >>> any(line.startswith("cpu") for line in gc.devices())
    True
    """
    lines: list[str] = []
    for name in backend_names():
        backend = find_backend(name)
        if isinstance(backend, Backend):
            found = targets(backend)
            numbers = [f" {number}" for number in range(len(found))] if len(found) > 1 else [""]
            lines += [
                f"{name}{number}: {target.name}, {target.cores} cores, {target.vector_bits}-bit vectors"
                for number, target in zip(numbers, found)
            ]
        else:
            lines.append(f"{name}: graph interpreter")
    return lines
