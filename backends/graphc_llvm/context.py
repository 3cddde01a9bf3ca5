"""What one call needs while it runs: an arena, scratch of all threads, tables of addresses, and its record."""

import numpy as np

from graphc.core.records import dataclass
from graphc_llvm import codegen
from graphc_llvm.arrays import interpreter_functions
from graphc_llvm.memory import address, aligned
from graphc_llvm.record import FORKED, FREE, RECORD, RECORD_WORDS


@dataclass(frozen=True, slots=True)
class Shared:
    """What all contexts of a program have in common, and how large their own parts are."""

    state: np.ndarray
    constants: np.ndarray
    arena_bytes: int
    stride: int  # scratch of one thread
    threads: int
    tables: int  # entries of the longest table of addresses


class Context:
    """Memory for one call at a time. Native code marks it busy; `address` is what it takes."""

    def __init__(self, shared: Shared, pool: int) -> None:
        self._words = aligned(8 * RECORD_WORDS).view(np.int64)
        self.address = address(self._words)
        self.scratch = aligned(shared.stride * shared.threads)
        self._arena, self._step = aligned(shared.arena_bytes), np.zeros(1, np.int64)
        self._tables = np.zeros((2, shared.tables + 1), np.int64)
        self._shared = shared
        runtime = codegen.runtime().addresses
        words = {
            "arena": address(self._arena),
            "state": address(shared.state),
            "constants": address(shared.constants),
            "step": address(self._step),
            "own_inputs": address(self._tables[0]),
            "own_outputs": address(self._tables[1]),
            "scratch": address(self.scratch),
            "stride": shared.stride,
            **{word: runtime[f"gc_{word}"] for word in ("parallel", "clock", "begin", "end", "interrupted")},
            **interpreter_functions(),
            "array_type": id(np.ndarray),
        }
        for name, word in words.items():
            self[name] = word
        self["pool"] = pool

    def __setitem__(self, word: str, value: int) -> None:
        self._words[RECORD[word] // 8] = value

    def __getitem__(self, word: str) -> int:
        return int(self._words[RECORD[word] // 8])

    def forked(self) -> None:
        """In a forked child: whoever had it, and the workers, stayed in the parent. Until `renew` it is busy."""
        self["busy"], self["waiters"], self["pool"] = FORKED, 0, 0
        self["deadline"] = self["abandon"] = self["thread_state"] = 0

    def renew(self, pool: int) -> None:
        """Ready again, with workers."""
        self["pool"] = pool
        self["busy"] = FREE
