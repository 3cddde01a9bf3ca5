"""What the environment asks to see of each compilation: GRAPHC_DUMP writes the text of every stage into a folder,
GRAPHC_TIME prints the time of every stage and pass.
"""

import itertools
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from graphc.compilation import Compilation, Timing
from graphc.core import config
from graphc.core.errors import UnsupportedError
from graphc.execution.stages import STAGES, stage_text
from graphc.graph.ir import Graph

_COUNTER = itertools.count()


def after_compilation(
    compilation: Compilation, primals: Mapping[str, tuple[Graph, ...]], timings: Iterable[Timing]
) -> None:
    """Do what GRAPHC_DUMP and GRAPHC_TIME ask for."""
    timings = tuple(timings)
    if config.get("GRAPHC_TIME") not in ("", "0"):
        print(f"graphc: {', '.join(compilation.program.entries)}\n{time_table(timings)}", file=sys.stderr)
    if config.get("GRAPHC_DUMP"):
        dump(compilation, primals, timings, config.get("GRAPHC_DUMP"))


def time_table(timings: Iterable[Timing]) -> str:
    """One line per stage, passes indented below theirs, in milliseconds."""
    return "\n".join(f"{t.seconds * 1e3:9.3f} ms  {t.stage:<16} {t.detail}".rstrip() for t in timings)


def dump(
    compilation: Compilation, primals: Mapping[str, tuple[Graph, ...]], timings: Iterable[Timing], folder: str
) -> None:
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
        (target / "time.txt").write_text(time_table(timings) + "\n")
    except OSError as error:
        warnings.warn(f"GRAPHC_DUMP: cannot write to {folder}: {error}", stacklevel=2)
