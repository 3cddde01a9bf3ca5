"""GRAPHC_DUMP: write the text of every stage of each compilation into a folder."""

import itertools
import warnings
from collections.abc import Mapping
from pathlib import Path

from graphc.compiler import Compilation
from graphc.core.errors import UnsupportedError
from graphc.execution.stages import STAGES, stage_text
from graphc.graph.ir import Graph

_COUNTER = itertools.count()


def dump(compilation: Compilation, primals: Mapping[str, tuple[Graph, ...]], folder: str) -> None:
    """Write `NNN-name/stage.txt` for every stage there is. A folder that cannot be written is a warning."""
    name = "-".join(compilation.program.entries)[:60]
    target = Path(folder) / f"{next(_COUNTER):03}-{name}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        for stage in STAGES:
            try:
                text = stage_text(compilation, primals, stage)
            except UnsupportedError:
                continue  # this backend has no such stage
            (target / f"{stage}.txt").write_text(text)
        report = [f"{t.seconds * 1e3:9.3f} ms  {t.stage}  {t.detail}" for t in compilation.timings]
        (target / "time.txt").write_text("\n".join(report) + "\n")
    except OSError as error:
        warnings.warn(f"GRAPHC_DUMP: cannot write to {folder}: {error}", stacklevel=2)
