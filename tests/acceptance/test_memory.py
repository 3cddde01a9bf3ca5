"""Memory: nothing grows while training runs, and the peak that was reported is what the process takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance import jobs

GROWTH = """
import json
from tests.acceptance import jobs
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
job = jobs.job(threads=2)
job.fit(steps=10, progress=False)
before = resident()
job.fit(steps=990, progress=False)
print(json.dumps(resident() - before))
"""

# What the data, the state and the arena add: from after the imports and a small job, which leaves behind what compiling
# and the threads need, to the peak of 5 steps of a large one. What compiling freed again, but malloc keeps for later,
# is given back to the system before each look. Without huge pages, which round every array up to 2 MiB or do not.
PEAK = """
import ctypes
import gc
import json
import sys
import numpy as np
from graphc import data, nn, train
from tests.acceptance import jobs
PR_SET_THP_DISABLE = 41
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
def status(key):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024
rows, features, hidden, batch = map(int, sys.argv[1:])
def make(rows, features, hidden, batch):
    x = np.ones((rows, features), np.float32)
    nn.init.seed(0)
    layers = [nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10)]
    digits = data.arrays(x, np.arange(rows) % 10)
    model = nn.Sequential(*layers)
    return train.compile(model, loss="cross_entropy", optimizer="adam", data=digits, batch_size=batch, threads=2)
make(64, features, 64, 32).fit(steps=3, progress=False)
before = status("VmRSS")
job = make(rows, features, hidden, batch)
status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # VmHWM starts again here
job.fit(steps=5, progress=False)
added = status("VmHWM") - before  # before the report, for which a program from the cache is compiled again
print(json.dumps({"reported": job.memory.peak_bytes, "added": added, "text": str(job.memory)}))
"""


def test_resident_memory_does_not_grow() -> None:
    done = jobs.python("-c", GROWTH)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) <= 2**20


@pytest.mark.parametrize(
    "shape", [(4000, 784, 512, 128), (100_000, 300, 1024, 1000)]
)  # samples, features, width, batch
def test_the_reported_peak_is_what_the_process_adds(shape: tuple[int, ...], tmp_path: Path) -> None:
    for _ in range(2):  # the second time the code comes from the cache, so that LLVM's own memory is not counted
        done = jobs.python("-c", PEAK, *map(str, shape), GRAPHC_CACHE=str(tmp_path), GRAPHC_VERIFY="")
        assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    reported, added = found["reported"], found["added"]
    assert reported > 20e6
    assert abs(added - reported) <= max(0.01 * reported, 2e6), found
