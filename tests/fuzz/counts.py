"""What the fuzzer has met so far, kept in a file from run to run, and what it should look at next.

Counts belong to the sources they were made with (a digest over the compiler's files): of what has changed since they
prove nothing. A run that continues on other sources begins at zero, unless it is told to keep the counts from before:
for a change that has nothing to do with what they are about, say the fix of one primitive. Then the counts of the
cells that what was fixed has part in (named with `--forget`) begin at zero, and the table says how many counts are from
other sources.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.fuzz.coverage import DERIVED, WAYS, Cell, cells

ROOT = Path(__file__).resolve().parent.parent.parent
_FOLDERS = (
    *("core", "graph", "transform", "passes", "kernel", "plan", "runtime"),
    *("../backends/graphc_llvm",),
)


def sources() -> str:
    """A digest of the compiler's files."""
    found = hashlib.sha256()
    for folder in _FOLDERS:
        for path in sorted((ROOT / "graphc" / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


@dataclass
class Counts:
    """cells: how often each was met. earlier: those counts among them that are from other sources."""

    digest: str
    cells: Counter[Cell] = field(default_factory=Counter)
    earlier: int = 0
    graphs: int = 0
    differences: int = 0

    @staticmethod
    def read(path: Path, keep: bool, forget: Sequence[str] = ()) -> Counts:
        """What the file has for these sources; for other ones too, but without those primitives, with `keep`."""
        digest = sources()
        if not path.exists():
            return Counts(digest)
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = Counter({(op, dtype, way): count for op, dtype, way, count in kept["cells"] if op not in forget})
        if kept["digest"] == digest:
            return Counts(digest, found, kept["earlier"], kept["graphs"], kept["differences"])
        return Counts(digest, found, found.total()) if keep else Counts(digest)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {
            "digest": self.digest,
            "earlier": self.earlier,
            "graphs": self.graphs,
            "differences": self.differences,
            "cells": [[*cell, count] for cell, count in sorted(self.cells.items())],
        }
        new = path.with_suffix(".new")
        new.write_text(json.dumps(kept), encoding="utf-8")
        new.replace(path)

    def below(self, target: int) -> list[Cell]:
        """The cells that were met less often."""
        return sorted(cell for cell in cells() if self.cells[cell] < target)


Pair = tuple[str, str]


class Chooser:
    """Says what to look at next: primitives and dtypes that lack most, in the ways they lack."""

    def __init__(self, counts: Counts, target: int, rng: np.random.Generator) -> None:
        self.counts = counts
        self.target = target
        self.rng = rng
        self.asked: Counter[Pair] = Counter()  # since the pair's counts last grew

    def learn(self, asked: Iterable[Pair], met: Iterable[Cell]) -> None:
        """What came of a task."""
        self.counts.cells.update(met)
        self.asked.update(asked)
        for op, dtype, _ in met:
            self.asked[op, dtype] = 0

    def next(self, size: int) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
        """Pairs (the more it lacks, the more likely; few of those that are never reached), and ways for them. Pairs
        that lack derivatives are not together with others, which would be differentiated for nothing.
        """
        lacks: dict[Pair, dict[str, int]] = {}
        for cell in self.counts.below(self.target):
            lacks.setdefault(cell[:2], {})[cell[2]] = self.target - self.counts.cells[cell]
        if not lacks:
            return (), ()
        derived = [pair for pair in lacks if not lacks[pair].keys().isdisjoint(DERIVED)]
        others = [pair for pair in lacks if lacks[pair].keys().isdisjoint(DERIVED)]
        missing = [sum(sum(lacks[pair].values()) for pair in group) for group in (derived, others)]
        pairs = (derived, others)[int(self.rng.random() * sum(missing) >= missing[0])]
        weights = np.array([max(lacks[p].values()) * (0.02 if self.asked[p] > 60 else 1.0) for p in pairs]) ** 1.5
        chosen = self.rng.choice(len(pairs), size, p=weights / weights.sum())
        wishes = tuple(pairs[k] for k in chosen)
        ways = {way for pair in wishes for way in lacks[pair]}
        return wishes, tuple(way for way in WAYS if way in ways)
