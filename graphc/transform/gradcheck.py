"""`gradcheck`: derivatives along random directions against central finite differences, in float64."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from graphc.core.dtypes import holds_floats
from graphc.core.errors import ArgumentError, GradientError
from graphc.core.pytree import Leaf, Tree, flatten, unflatten
from graphc.core.records import dataclass
from graphc.tracing import Traced, apply_graph, trace
from graphc.tracing.context import with_line
from graphc.tracing.function import argument_names, check_callable, function_name, parameter_names
from graphc.transform.forward_mode import jvp
from graphc.transform.function import Function
from graphc.transform.reverse_mode import vjp


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """One comparison: along one random direction of one argument leaf, at one order."""

    order: int
    direction: int
    leaf: str
    reverse: float
    forward: float
    numeric: float
    excess: float  # error divided by the tolerance; above 1 is a failure

    def __str__(self) -> str:
        return (
            f"order {self.order}, direction {self.direction}, {self.leaf}: finite difference {self.numeric:.9g}, "
            f"reverse mode {self.reverse:.9g}, forward mode {self.forward:.9g}, "
            f"error {self.excess:.3g} times the tolerance"
        )


@dataclass(frozen=True, slots=True)
class GradientReport:
    """All comparisons of one `gradcheck`."""

    function: str
    checks: tuple[GradientCheck, ...]

    @property
    def worst(self) -> GradientCheck:
        return max(self.checks, key=lambda check: check.excess)

    @property
    def passed(self) -> bool:
        return self.worst.excess <= 1

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return f"gradcheck of {self.function}: {verdict}, {len(self.checks)} comparisons; worst: {self.worst}"


def gradcheck(
    fn: Function,
    *args: Tree,
    eps: float = 1e-5,
    rtol: float = 1e-4,
    atol: float = 1e-7,
    order: int = 1,
    directions: int = 3,
    seed: int = 0,
    compile: Callable[[Function], Function] | None = None,
) -> GradientReport:
    """Compare derivatives of `fn` at `args` with central finite differences.

    Float leaves of `args` are cast to float64, complex ones to complex128; the others are held fixed. The result of
    `fn` (a pytree, floats and others) is projected on a random vector; along a random unit direction of each leaf,
    reverse mode and forward mode are compared with `(s(x + eps v) - s(x - eps v)) / (2 eps)`. `order=2` checks the
    gradient's derivatives as well, and so on. `compile` (for example `gc.jit`) is applied to the function and to its
    derivatives, so that the compiled program is what is checked. Raises `GradientError` naming the worst direction and
    leaf.

    >>> import numpy as np
    >>> gradcheck(lambda x: (x * x * x).sum(), np.array([0.5, -1.0]), order=2).passed
    True
    """
    check_callable("gradcheck", "fn", fn)
    if order < 1 or directions < 1:
        raise ArgumentError(f"gradcheck: order={order} and directions={directions} must be at least 1")
    problem = _Problem.of(fn, args, seed)
    checks: list[GradientCheck] = []
    settings = _Settings(eps, rtol, atol, directions, compile or _interpreted)
    for level in range(1, order + 1):
        checks += _compare(problem, level, settings)
        problem = problem.gradient()
    report = GradientReport(function_name(fn), tuple(checks))
    if not report.passed:
        raise GradientError(with_line(str(report)))
    return report


def _interpreted(function: Function) -> Function:
    """The function as the graph interpreter computes it; traced at its first call, all calls have the same types."""
    found: list[Traced] = []

    def run(*args: Tree) -> Tree:
        if not found:
            found.append(trace(function, args))
        leaves, _ = flatten((args, {}))
        return unflatten(found[0].out_tree, apply_graph(found[0].graph, leaves))

    return run


@dataclass(frozen=True, slots=True)
class _Settings:
    eps: float
    rtol: float
    atol: float
    directions: int
    wrap: Callable[[Function], Function]


@dataclass(frozen=True, slots=True)
class _Problem:
    """A function of float leaves that returns a list of float arrays, at a point."""

    function: Callable[..., Tree]
    leaves: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    generator: "np.random.Generator"

    @staticmethod
    def of(fn: Function, args: Sequence[Tree], seed: int) -> "_Problem":
        leaves, tree = flatten((tuple(args), {}))
        names = argument_names(parameter_names(fn), tree)
        arrays = [np.asarray(leaf) for leaf in leaves]
        moving = [holds_floats(array) or array.dtype.kind == "c" for array in arrays]
        if not any(moving):
            raise GradientError(with_line("gradcheck: no argument is a float"))

        def of_floats(*floats: Leaf) -> list[Leaf]:
            rest = iter(floats)
            merged = [next(rest) if move else array for array, move in zip(arrays, moving, strict=True)]
            values = cast("tuple[tuple[Tree, ...], dict[str, Tree]]", unflatten(tree, merged))
            results, _ = flatten(fn(*values[0]))
            return [result for result in results if _is_float(result)]

        points: tuple[np.ndarray, ...] = tuple(
            array.astype(_widest(array)) for array, move in zip(arrays, moving, strict=True) if move
        )
        chosen = tuple(name for name, move in zip(names, moving, strict=True) if move)
        return _Problem(of_floats, points, chosen, np.random.default_rng(seed))

    def projection(self) -> list[np.ndarray]:
        """A random cotangent for the results."""
        results, _ = flatten(_interpreted(self.function)(*self.leaves))
        if not results:
            raise GradientError(with_line("gradcheck: the function returns no float"))
        return [_unit(self.generator, np.asarray(result)) for result in results]

    def gradient(self) -> "_Problem":
        """The gradient of a random projection of this function, as a function of the same leaves."""
        function = self.function
        cotangent = self.projection()

        def pulled(*leaves: Leaf) -> list[Leaf]:
            _, pull_back = vjp(function, *leaves)
            return list(pull_back(cotangent))  # type: ignore[operator]

        return _Problem(pulled, self.leaves, self.names, self.generator)


def _is_float(result: Leaf) -> bool:
    dtype = getattr(result, "dtype", None)
    if dtype is None:
        return isinstance(result, float | complex)
    return str(dtype).startswith(("float", "bfloat", "complex"))


def _widest(array: np.ndarray) -> type:
    return np.complex128 if array.dtype.kind == "c" else np.float64


def _unit(generator: "np.random.Generator", like: np.ndarray) -> np.ndarray:
    """A random direction among arrays like this one."""
    drawn = np.asarray(generator.standard_normal(like.shape))
    if like.dtype.kind == "c":
        drawn = drawn + 1j * generator.standard_normal(like.shape)
    return drawn / max(float(np.linalg.norm(drawn)), 1e-30)


def _pairing(cotangent: np.ndarray, tangent: np.ndarray) -> float:
    """What a cotangent makes of a tangent: of complex numbers the real part of the product, no conjugate."""
    return float(np.sum(cotangent * tangent).real)


def _compare(problem: _Problem, order: int, settings: _Settings) -> list[GradientCheck]:
    checks: list[GradientCheck] = []
    run = settings.wrap(problem.function)

    def pull(cotangent: Tree, *leaves: Tree) -> Tree:
        return vjp(problem.function, *leaves)[1](cotangent)  # type: ignore[operator]

    def push(leaves: Sequence[Tree], tangents: Sequence[Tree]) -> Tree:
        return jvp(problem.function, tuple(leaves), tuple(tangents))[1]

    pull_back, push_forward = settings.wrap(pull), settings.wrap(push)
    for direction in range(settings.directions):
        cotangent = problem.projection()
        gradients, _ = flatten(pull_back(cotangent, *problem.leaves))
        for position, leaf in enumerate(problem.names):
            tangents = [np.zeros_like(x) for x in problem.leaves]
            tangents[position] = _unit(problem.generator, problem.leaves[position])
            reverse = _pairing(np.asarray(gradients[position]), tangents[position])
            forward = _inner(cotangent, push_forward(list(problem.leaves), tangents))
            numeric = _finite_difference(run, problem.leaves, tangents, cotangent, settings.eps)
            bound = settings.atol + settings.rtol * max(abs(numeric), abs(reverse), abs(forward))
            excess = max(abs(reverse - numeric), abs(forward - numeric)) / bound
            excess = excess if np.isfinite(excess) else float("inf")
            checks.append(GradientCheck(order, direction, leaf, reverse, forward, numeric, excess))
    return checks


def _inner(cotangent: Sequence[np.ndarray], values: Tree) -> float:
    leaves, _ = flatten(values)
    return sum(_pairing(c, np.asarray(v)) for c, v in zip(cotangent, leaves, strict=True))


def _finite_difference(
    run: Function,
    leaves: Sequence[np.ndarray],
    tangents: Sequence[np.ndarray],
    cotangent: Sequence[np.ndarray],
    eps: float,
) -> float:
    ahead = _inner(cotangent, run(*(x + eps * t for x, t in zip(leaves, tangents, strict=True))))
    behind = _inner(cotangent, run(*(x - eps * t for x, t in zip(leaves, tangents, strict=True))))
    return (ahead - behind) / (2 * eps)
