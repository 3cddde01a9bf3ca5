"""What `benchmarks.ops` measures: operations on arrays of one size, in graphc, NumPy and PyTorch.

Every operation reads and writes whole float32 arrays. `arrays` is how many of them it has to move at least, reads and
writes together; results with one number per row count as none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.serve import Case, Prepare, Request, repeated

COLUMNS = 512
DROP = 0.1
LR, BETAS, EPS, MOMENTUM = 1e-3, (0.9, 0.999), 1e-8, 0.9


@dataclass(frozen=True, slots=True)
class Operation:
    """`arrays`: moved at least. `exact`: results are compared with NumPy's; else they are random, and means are."""

    arrays: int
    exact: bool = True


OPERATIONS: Mapping[str, Operation] = {
    "add": Operation(3),
    "exp": Operation(2),
    "tanh": Operation(2),
    "sum": Operation(1),
    "row_sum": Operation(1),
    "column_sum": Operation(1),
    "softmax": Operation(2),
    "layer_norm": Operation(2),
    "uniform": Operation(1, exact=False),
    "normal": Operation(1, exact=False),
    "dropout": Operation(2, exact=False),
    "gather": Operation(4),  # an index has 8 bytes
    "scatter_add": Operation(4),
    "cumsum": Operation(2),
    "sort": Operation(2),
    "sgd": Operation(5),  # gradient, and velocity and parameters twice
    "adam": Operation(7),
}
UPDATES = ("sgd", "adam")
INDEXED = ("gather", "scatter_add")


def operands(name: str, elements: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of `elements` numbers in rows of 512; where an operation takes indices the second is one of them."""
    rng = np.random.default_rng(elements)
    shape = (elements // COLUMNS, COLUMNS)
    first = rng.standard_normal(shape, dtype=np.float32)
    if name in INDEXED:
        return first, rng.integers(0, elements, elements)
    return first, rng.standard_normal(shape, dtype=np.float32)


def checked(case: Request, result: object) -> Mapping[str, object]:
    """The largest difference from NumPy's result after one run. Raises `AssertionError` when it is large."""
    name, (a, b) = str(case["operation"]), operands(str(case["operation"]), int(str(case["elements"])))
    found = np.asarray(result, np.float64)
    if OPERATIONS[name].exact:
        truth = _truth(name, a.astype(np.float64), b.astype(np.float64))
        error = float(np.max(np.abs(found - truth) / (1 + np.abs(truth))))
        terms = {"sum": len(a), "column_sum": len(a), "cumsum": a.size}  # NumPy's cumsum is one chain
        limit = 1e-5 * terms.get(name, COLUMNS) ** 0.5
    else:
        truth = {"uniform": 0.5, "normal": 0.0, "dropout": float(a.mean())}[name]
        error, limit = abs(float(found.mean()) - truth), 6 / found.size**0.5
    if not error < limit:
        raise AssertionError(f"{name} is off by {error:g}")
    return {"largest_error": error}


def _truth(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What one run leaves: the result, or the parameters after the first update."""
    match name:
        case "add":
            return a + b
        case "exp":
            return np.exp(a)
        case "tanh":
            return np.tanh(a)
        case "sum":
            return np.sum(a)
        case "row_sum":
            return np.sum(a, axis=1)
        case "column_sum":
            return np.sum(a, axis=0)
        case "softmax":
            powers = np.exp(a)
            return powers / powers.sum(axis=1, keepdims=True)
        case "layer_norm":
            return (a - a.mean(axis=1, keepdims=True)) / np.sqrt(a.var(axis=1, keepdims=True) + 1e-5)
        case "gather":
            return a.reshape(-1)[b.astype(np.int64)]
        case "scatter_add":
            return np.bincount(b.astype(np.int64), a.reshape(-1), a.size)
        case "cumsum":
            return np.cumsum(a)
        case "sort":
            return np.sort(a, axis=None)
        case "sgd":
            return a - LR * b
        case "adam":
            return a - LR * b / (np.abs(b) + EPS)
    raise ValueError(name)


# ------------------------------------------------------------------------------------------------------- the systems


def graphc_operations(threads: int) -> Prepare:
    """Ours: a native loop whose result stays in place, as in training."""
    import graphc as gc
    import graphc.nn as nn
    import graphc.numpy as gnp
    from graphc import optim

    rules = {"sgd": optim.sgd(LR, momentum=MOMENTUM), "adam": optim.adam(LR, BETAS, EPS)}
    functions = {
        "add": lambda a, b, key: a + b,
        "exp": lambda a, b, key: gnp.exp(a),
        "tanh": lambda a, b, key: gnp.tanh(a),
        "sum": lambda a, b, key: gnp.sum(a),
        "row_sum": lambda a, b, key: gnp.sum(a, axis=1),
        "column_sum": lambda a, b, key: gnp.sum(a, axis=0),
        "softmax": lambda a, b, key: nn.functional.softmax(a, axis=1),
        "layer_norm": lambda a, b, key: (
            (a - gnp.mean(a, axis=1, keepdims=True)) / gnp.sqrt(gnp.var(a, axis=1, keepdims=True) + 1e-5)
        ),
        "gather": lambda a, b, key: gnp.take(a, b),
        "scatter_add": lambda a, b, key: gnp.segment_sum(gnp.ravel(a), b, a.size),
        "cumsum": lambda a, b, key: gnp.cumsum(a),
        "sort": lambda a, b, key: gnp.sort(gnp.ravel(a)),
        "uniform": lambda a, b, key: gc.random.uniform(key, a.shape),
        "normal": lambda a, b, key: gc.random.normal(key, a.shape),
        "dropout": lambda a, b, key: gnp.where(gc.random.uniform(key, a.shape) < 1 - DROP, a * (1 / (1 - DROP)), 0.0),
    }

    def prepare(case: Request) -> Case:
        name = str(case["operation"])
        a, b = operands(str(case["operation"]), int(str(case["elements"])))
        if name in UPDATES:
            rule = rules[name]
            state = {"out": a, "rule": rule.init(a)}

            def entry(state, batch, step):
                params, kept = rule.update(batch[1], state["rule"], state["out"], step)
                return {"out": params, "rule": kept}, ()

        else:
            function = functions[name]
            like = gc.compile(lambda a, b: function(a, b, gc.random.key(0)), a, b, threads=threads)(a, b)
            state = {"out": np.zeros_like(like)}

            def entry(state, batch, step):
                return {"out": function(*batch, gc.random.fold_in(gc.random.key(0), step))}, ()

        program = gc.program(state, {name: entry}, {name: (a, b)}, threads=threads)
        program.run(name, (a, b), n=1)
        return Case(lambda steps: program.run(name, (a, b), n=steps), checked(case, program.state["out"]))

    return prepare


def numpy_operations(threads: int) -> Prepare:
    """NumPy, with every result written to an array that is there. It computes these on one thread."""

    def prepare(case: Request) -> Case:
        name = str(case["operation"])
        a, b = operands(str(case["operation"]), int(str(case["elements"])))
        out, rest = np.zeros_like(a), np.zeros_like(a)
        flat = out.reshape(-1)
        rng = np.random.Generator(np.random.Philox(0))
        params, m, v, count = a.copy(), np.zeros_like(a), np.zeros_like(a), 0

        def softmax() -> np.ndarray:
            np.subtract(a, a.max(axis=1, keepdims=True), out=out)
            np.exp(out, out=out)
            return np.divide(out, out.sum(axis=1, keepdims=True), out=out)

        def layer_norm() -> np.ndarray:
            np.subtract(a, a.mean(axis=1, keepdims=True), out=out)
            np.multiply(out, out, out=rest)
            return np.divide(out, np.sqrt(rest.mean(axis=1, keepdims=True) + np.float32(1e-5)), out=out)

        def dropout() -> np.ndarray:
            rng.random(out=rest, dtype=np.float32)
            np.multiply(a, rest < np.float32(1 - DROP), out=out)
            return np.multiply(out, np.float32(1 / (1 - DROP)), out=out)

        def sgd() -> np.ndarray:
            np.multiply(m, np.float32(MOMENTUM), out=m)
            np.add(m, b, out=m)
            np.multiply(m, np.float32(LR), out=out)
            return np.subtract(params, out, out=params)

        def adam() -> np.ndarray:
            nonlocal count
            count += 1
            for kept, beta, power in ((m, BETAS[0], b), (v, BETAS[1], np.multiply(b, b, out=rest))):
                np.multiply(kept, np.float32(beta), out=kept)
                np.multiply(power, np.float32(1 - beta), out=out)
                np.add(kept, out, out=kept)
            root = (1 - BETAS[1] ** count) ** 0.5
            np.sqrt(v, out=rest)
            np.add(rest, np.float32(EPS * root), out=rest)
            np.divide(m, rest, out=out)
            np.multiply(out, np.float32(LR * root / (1 - BETAS[0] ** count)), out=out)
            return np.subtract(params, out, out=params)

        runs: dict[str, Callable[[], object]] = {
            "add": lambda: np.add(a, b, out=out),
            "exp": lambda: np.exp(a, out=out),
            "tanh": lambda: np.tanh(a, out=out),
            "sum": lambda: np.sum(a),
            "row_sum": lambda: np.sum(a, axis=1),
            "column_sum": lambda: np.sum(a, axis=0),
            "softmax": softmax,
            "layer_norm": layer_norm,
            "gather": lambda: np.take(a, b, out=flat),
            "scatter_add": lambda: np.bincount(b, a.reshape(-1), a.size),
            "cumsum": lambda: np.cumsum(a, out=flat),
            "sort": lambda: np.sort(a, axis=None),
            "uniform": lambda: rng.random(out=out, dtype=np.float32),
            "normal": lambda: rng.standard_normal(out=out, dtype=np.float32),
            "dropout": dropout,
            "sgd": sgd,
            "adam": adam,
        }
        return Case(repeated(runs[name]), checked(case, runs[name]()))

    return prepare


def torch_operations(threads: int) -> Prepare:
    """PyTorch, eager, with its fused optimisers."""
    import torch

    torch.set_num_threads(threads)

    def prepare(case: Request) -> Case:
        name = str(case["operation"])
        a, b = (torch.from_numpy(array) for array in operands(str(case["operation"]), int(str(case["elements"]))))
        out, row, column = torch.zeros_like(a), torch.zeros(a.shape[0]), torch.zeros(a.shape[1])
        flat = out.view(-1)
        params = a.clone().requires_grad_()
        params.grad = b if name in UPDATES else None
        rules = {
            "sgd": torch.optim.SGD([params], LR, momentum=MOMENTUM, fused=True),
            "adam": torch.optim.Adam([params], LR, BETAS, EPS, fused=True),
        }

        def update() -> object:
            rules[name].step()
            return params.detach()

        runs: dict[str, Callable[[], object]] = {
            "add": lambda: torch.add(a, b, out=out),
            "exp": lambda: torch.exp(a, out=out),
            "tanh": lambda: torch.tanh(a, out=out),
            "sum": lambda: torch.sum(a),
            "row_sum": lambda: torch.sum(a, 1, out=row),
            "column_sum": lambda: torch.sum(a, 0, out=column),
            "softmax": lambda: torch.softmax(a, 1),
            "layer_norm": lambda: torch.nn.functional.layer_norm(a, (COLUMNS,)),
            "gather": lambda: torch.take(a, b, out=flat),
            "scatter_add": lambda: torch.zeros(a.numel()).index_add_(0, b, a.view(-1)),
            "cumsum": lambda: torch.cumsum(a.view(-1), 0, out=flat),
            "sort": lambda: torch.sort(a.view(-1)).values,
            "uniform": out.uniform_,
            "normal": out.normal_,
            "dropout": lambda: torch.nn.functional.dropout(a, DROP),
            "sgd": update,
            "adam": update,
        }
        return Case(repeated(runs[name]), checked(case, runs[name]()))

    return prepare
