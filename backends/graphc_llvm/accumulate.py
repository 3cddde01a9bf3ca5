"""`Accumulate`: load the targets, combine, store them back in the active lanes."""

from graphc.kernel.combine import combined
from graphc.kernel.ir import Buffer, Combine, Expr, Load
from graphc_llvm.expressions import Scope

Target = tuple[Buffer, tuple[Expr, ...]]


def combine(scope: Scope, targets: tuple[Target, ...], values: tuple[Expr, ...], name: Combine) -> None:
    """Emit `targets = name(targets, values)`. Every new value is computed before the first is stored."""
    old = tuple(Load(buffer, index) for buffer, index in targets)
    results = [scope.evaluate(expr) for expr in combined(name, old, values)]
    for (buffer, index), result in zip(targets, results, strict=True):
        scope.store(buffer, index, result)
