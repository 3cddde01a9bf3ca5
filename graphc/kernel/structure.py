"""Which kernels compute the same."""

from dataclasses import field

from graphc.core.records import dataclass
from graphc.kernel.ir import Kernel, Stmt


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
