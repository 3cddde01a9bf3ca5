"""Which kernels compute the same, and which compute nothing."""

from dataclasses import field

from graphc.core.dtypes import DType
from graphc.core.records import dataclass
from graphc.kernel.ir import Buffer, Const, Expr, For, Kernel, Let, Load, Param, Stmt, Store, Var, index


@dataclass(slots=True)
class Structures:
    """Numbers kernels by what they compute. A body is hashed once, however many kernels share it: hashing one takes as
    long as it is large.

    >>> numbers = Structures()
    >>> numbers.of(Kernel("f", (), ())), numbers.of(Kernel("g", (), ()))
    (0, 0)
    """

    _numbers: dict[object, int] = field(default_factory=dict)  # by structure
    _seen: dict[object, tuple[int, tuple[Stmt, ...]]] = field(default_factory=dict)  # holds the body, so its id stays

    def of(self, kernel: Kernel) -> int:
        """The number of what a kernel computes: equal for kernels of equal `structure`."""
        params, body = kernel.structure
        key = (params, id(body))
        if key not in self._seen:
            self._seen[key] = self._numbers.setdefault((params, body), len(self._numbers)), kernel.body
        return self._seen[key][0]


def copy_kernel(dtype: DType, size: int, source: str = "") -> Kernel:
    """Copies so many elements; where they are in place already there is nothing to do."""
    source_buffer, target = Buffer("in0", dtype, (size,)), Buffer("out0", dtype, (size,))
    counter = Var("i0")
    body = For(counter, index(size), "parallel", (Store(target, (counter,), Load(source_buffer, (counter,))),))
    params = (Param(source_buffer, "in", source), Param(target, "out", source, aliases_ok=("in0",)))
    return Kernel("copy", params, (body,))


def is_copy(kernel: Kernel) -> bool:
    """Whether all a kernel does is to store each element of one parameter at the same place of another one."""
    if [param.mode for param in kernel.params] != ["in", "out"]:
        return False
    return _copied(kernel.body, {}) == kernel.params[1].buffer.size


def _copied(block: tuple[Stmt, ...], loaded: dict[str, Load]) -> int:
    """How many elements are stored where they were loaded; -1 where anything else happens, whatever that is."""
    total = 0
    for statement in block:
        match statement:
            case Let(var, Load() as read):
                loaded[var.name] = read
            case Store(buffer, idx, value):
                load: Expr | None = loaded.get(value.name) if isinstance(value, Var) else value
                if not isinstance(load, Load) or load.index != idx or load.buffer.size != buffer.size:
                    return -1
                total += 1
            case For(_, Const(extent, _), _, body):
                inside = _copied(body, loaded)
                if inside < 0:
                    return -1
                total += int(extent) * inside
            case _:
                return -1
    return total
