"""How many bytes a kernel reads and writes at least: what a roofline needs.

In: a kernel, scheduled or not. Out: bytes of its parameters, each element counted once. Of a parameter that is
accessed at fewer places than it has elements (the table of a gather) only as many count as there are accesses.
"""

from math import prod

from graphc.kernel.affine import Facts, loads, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, Buffer, Const, Expr, For, If, Kernel, Let, Stmt, Store, While, walk


def bytes_moved(kernel: Kernel) -> int:
    """Bytes of the parameters that the kernel reads or writes."""
    return sum(bytes_by_parameter(kernel))


def bytes_by_parameter(kernel: Kernel) -> tuple[int, ...]:
    """Bytes of each parameter that the kernel reads or writes."""
    lets = Facts({}, {s.var.name: s.value for s in walk(kernel.body) if isinstance(s, Let)})
    reached: dict[str, int] = {}
    for buffer, index, extents in _accesses(kernel.body):
        names = {name for expr in index for name in variables(expr, lets)}
        count = prod(extent for name, extent in extents.items() if name in names)
        reached[buffer.name] = reached.get(buffer.name, 0) + count
    buffers = (param.buffer for param in kernel.params)
    return tuple(min(b.size, reached.get(b.name, 0)) * b.dtype.itemsize for b in buffers)


def _accesses(body: tuple[Stmt, ...]) -> list[tuple[Buffer, tuple[Expr, ...], dict[str, int]]]:
    """Every access with the extents of the loops around it; a loop of unknown extent may reach everything."""
    found: list[tuple[Buffer, tuple[Expr, ...], dict[str, int]]] = []
    stack: list[tuple[tuple[Stmt, ...], dict[str, int]]] = [(body, {})]
    while stack:
        statements, extents = stack.pop()
        for statement in statements:
            for expr in expressions(statement):
                found += [(load.buffer, load.index, extents) for load in loads(expr)]
            match statement:
                case Store(buffer, index, _):
                    found.append((buffer, index, extents))
                case Accumulate(targets, _, _):
                    found += [(buffer, index, extents) for buffer, index in targets]
                case For(var, extent, _, inner):
                    count = int(extent.value) if isinstance(extent, Const) else 2**62
                    stack.append((inner, {**extents, var.name: count}))
                case While(_, _, inner):
                    stack.append((inner, extents))
                case If(_, then, orelse):
                    stack += [(then, extents), (orelse, extents)]
                case _:
                    continue
    return found
