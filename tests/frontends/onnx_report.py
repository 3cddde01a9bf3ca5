"""Runs all cases that ONNX ships on the backends cpu and reference: `make onnx-report`, or `... NAME NAME` for some.

Prints each case that is skipped or failed with its reason, and ends with one line of JSON: how many passed on every
backend, were skipped, and failed. The exit status is 1 when a case failed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable

from tests.frontends.onnx_cases import Verdict, all_cases, verdict

_CASES: dict[str, dict[str, Callable[[], None]]] = {}  # made before the workers are forked


SECONDS = 240  # more than the largest network takes on a busy machine


def _run(name: str) -> Verdict:
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        return verdict(name, _CASES[name])
    finally:
        signal.alarm(0)


def _too_long(signum: int, frame: object) -> None:
    raise TimeoutError(f"takes longer than {SECONDS} seconds")


def main(patterns: list[str]) -> int:
    """Run the cases whose name has one of the patterns in it (all without a pattern); returns the exit status."""
    with tempfile.TemporaryDirectory() as home:
        _CASES.update(all_cases(home))
        names = [name for name in _CASES if not patterns or any(re.search(p, name) for p in patterns)]
        counts: Counter[str] = Counter()
        with multiprocessing.get_context("fork").Pool(min(2, os.cpu_count() or 1)) as pool:
            for found in pool.imap_unordered(_run, names, chunksize=4):
                counts[found.outcome] += 1
                if found.outcome == "skipped":
                    print(f"{found.name}: {found.reason}", flush=True)
                elif found.outcome == "failed":
                    print(f"FAILED {found.name}: {found.reason}", flush=True)
    print(json.dumps({outcome: counts[outcome] for outcome in ("passed", "skipped", "failed")}))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
