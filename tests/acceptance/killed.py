"""Train with checkpoints, killed at random moments, resumed from the last checkpoint until done. A script.

    killed.py FOLDER TRIES SEED

Prints one JSON object: the digest of the state after an uninterrupted run, and per try the digest, the number of kills,
and the step at which each child took up the work. Children are forked, so that a try costs no imports.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from graphc import data, train
from tests.acceptance import jobs

STEPS = 240


def child(folder: Path, every: int) -> None:
    """Train to the end from where the checkpoint is, or from the start."""
    path = folder / "state.safetensors"
    if path.exists():
        job = train.resume(path, jobs.network(), data=data.arrays(*jobs.arrays()))
    else:
        job = jobs.job()
    with (folder / "starts").open("a") as file:
        file.write(f"{job.step}\n")
    begun = time.monotonic()
    job.fit(steps=STEPS - job.step, callbacks=[train.Checkpoint(path, every=every)], progress=False)
    (folder / "digest").write_text(jobs.state_sha256(job))
    (folder / "seconds").write_text(str(time.monotonic() - begun))


def starts(folder: Path) -> list[int]:
    """The steps at which children took up the work."""
    path = folder / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def fork(folder: Path, every: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        child(folder, every)
        code = 0
    finally:
        os._exit(code)


def finished(pid: int, folder: Path, seconds: float) -> bool:
    """Whether the child ended well within that time of training; if it is still there it is killed."""
    before, limit = len(starts(folder)), None
    while limit is None or time.monotonic() < limit:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"child ended with status {status}"
            return True
        if limit is None and len(starts(folder)) > before:
            limit = time.monotonic() + seconds
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def main(root: Path, tries: int, seed: int) -> None:
    rng = random.Random(seed)
    whole = root / "whole"
    whole.mkdir()
    assert finished(fork(whole, 5), whole, 120)
    usual = float((whole / "seconds").read_text())
    results = []
    for number in range(tries):
        folder = root / str(number)
        folder.mkdir()
        every, kills = rng.choice((1, 3, 5, 7, 10)), 0
        while not finished(fork(folder, every), folder, rng.uniform(0, usual) if kills < 4 else 120):
            kills += 1
        results.append({"digest": (folder / "digest").read_text(), "kills": kills, "starts": starts(folder)})
    print(json.dumps({"whole": (whole / "digest").read_text(), "usual": usual, "tries": results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
