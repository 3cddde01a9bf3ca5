"""Kernels under the address sanitizer: `python -m tests.emulated.sanitized samples 0`, with its library loaded first.

Every buffer is an array of its own, so an access beside one is seen, and so is one beside the shared memory of a block.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.acceptance.jobs import python
from tests.emulated.toolchain import sanitizer


def under_sanitizer(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this module, or another program, in a process that has the sanitizer."""
    runtime = sanitizer()
    assert runtime is not None
    environment = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"}
    return python(*(arguments or ("-m", __name__)), timeout=900, **environment)


def main(what: str, part: str) -> None:
    from tests.emulated import test_contractions, test_samples

    cases = test_samples.cases_of(int(part)) if what == "samples" else test_contractions.cases()
    cases.check(("shuffled",), sanitize=True)
    print(f"{len(cases.cases)} kernels")


if __name__ == "__main__":
    assert os.environ.get("LD_PRELOAD"), __doc__
    main(*sys.argv[1:])
