"""`graphc profile`: the profile of something in a file, or of what a script compiles while it runs."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from graphc.core.errors import ArgumentError
from graphc.execution.compiled import CompiledFunction
from graphc.execution.jit import Jitted
from graphc.execution.profile import MOST_STEPS, SORT_KEYS, ProfileReport
from graphc.execution.program import Program
from graphc.execution.recording import Recording, recording
from graphc.inspect.load import load_target, run_script
from graphc.train import Job

DEFAULT_ENTRY = "train"


def add_profile(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "place",
        metavar="FILE.py[:NAME]",
        help="a function, graph, compiled function, program or job; a file alone is run as a script, and the programs "
        "it compiles are profiled when it ends (functions if there are no programs)",
    )
    parser.epilog = "What follows -- are the arguments of the script."
    parser.add_argument("--spec", action="append", default=[], help="one per argument of a function: f32[64,784]")
    parser.add_argument("--entry", help="of a program (default: train where there is one, else all)")
    parser.add_argument("--backend", default=None, help="of a function")
    parser.add_argument("--repeats", type=int, help="steps to time (default: as many as take 0.2 seconds)")
    parser.add_argument("--sort", choices=SORT_KEYS, default="time", help="excess: time above the roofline")
    parser.add_argument("--top", type=int, metavar="N", help="the first N kernels only")
    parser.add_argument("--json", action="store_true", help="one JSON object per profile and line")
    parser.add_argument("--remeasure", action="store_true", help="measure the limits of the machine again")


def profile(options: argparse.Namespace) -> str:
    """What the command prints. Raises `ArgumentError` where there is nothing to profile."""
    if options.top is not None and options.top < 1:
        raise ArgumentError(f"--top {options.top}: must be at least 1")
    reports = [report.sorted(options.sort) for report in _reports(options)]
    if options.json:
        return "\n".join(json.dumps(report.to_dict()) for report in reports)
    return "\n\n".join(report.text(options.top) for report in reports)


def _reports(options: argparse.Namespace) -> list[ProfileReport]:
    if options.place.endswith(".py"):
        return _of_script(options)
    if options.script_arguments:
        raise ArgumentError(f"arguments after -- are for scripts; {options.place} is not run as one")
    target = load_target(options.place, options.spec, options.backend)
    if isinstance(target, Jitted):
        raise ArgumentError(f"{options.place} is jitted: give one --spec per argument, for example --spec f32[64,784]")
    found = _profiles(target, options, Recording())
    if not found:
        raise ArgumentError(f"{options.place} is a {type(target).__name__}, which has no profile")
    return found


def _of_script(options: argparse.Namespace) -> list[ProfileReport]:
    for given, flag in ((options.spec, "--spec"), (options.backend, "--backend")):
        if given:
            raise ArgumentError(f"{flag} is for FILE.py:NAME; a script chooses for itself")
    with recording() as record, redirect_stdout(sys.stderr):  # what the script prints is not the profile
        run_script(Path(options.place), options.script_arguments)
    programs = [thing for thing in record.compiled if isinstance(thing, Program)]
    functions = [thing for thing in record.compiled if isinstance(thing, CompiledFunction)]
    found = [report for thing in programs or functions for report in _profiles(thing, options, record)]
    if not found:
        raise ArgumentError(f"{options.place} compiled nothing that has a profile; name something: FILE.py:NAME")
    return found


def _profiles(target: object, options: argparse.Namespace, record: Recording) -> list[ProfileReport]:
    """Profiles of the entries that were asked for. Inputs that were not recorded are made up."""
    repeats, remeasure = options.repeats, options.remeasure
    if isinstance(target, Job):
        if options.entry in (None, DEFAULT_ENTRY):
            return [target.profile(repeats=repeats, remeasure=remeasure)]
        target = target.program
    if isinstance(target, CompiledFunction):
        if options.entry not in (None, target.name):
            raise ArgumentError(f"--entry {options.entry}: {target.name} is a function, not a program")
        return [target.profile(repeats=repeats, remeasure=remeasure)]
    if not isinstance(target, Program):
        return []
    reports = []
    for entry in _entries(target.entry_names(), options.entry):
        batch, first, longest = record.batches.get((id(target), entry), (None, 0, MOST_STEPS))
        reports.append(target.profile(entry, batch, first=first, longest=longest, repeats=repeats, remeasure=remeasure))
    return reports


def _entries(names: Sequence[str], asked: str | None) -> Sequence[str]:
    if asked is None:
        return [DEFAULT_ENTRY] if DEFAULT_ENTRY in names else names
    if asked not in names:
        raise ArgumentError(f"no entry {asked!r}; entries: {', '.join(names)}")
    return [asked]
