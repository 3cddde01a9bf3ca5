"""The command line: `graphc inspect`, `graphc explain`, `graphc profile`, `graphc doctor`, `graphc ops`."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

import graphc
from graphc.core.errors import ArgumentError, GraphcError
from graphc.execution.dump import time_table
from graphc.execution.stages import STAGES
from graphc.graph import ops  # noqa: F401  registers the primitives
from graphc.graph.registry import all_ops
from graphc.inspect.doctor import doctor
from graphc.inspect.explain import explanation
from graphc.inspect.load import load_target, traceback_in
from graphc.inspect.profile import add_profile, profile
from graphc.runtime.discovery import backend_names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graphc", description="Look inside compiled programs.")
    parser.add_argument("--version", action="version", version=f"graphc {graphc.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="print a stage of a compiled function, program or job")
    _add_target(inspect)
    inspect.add_argument("--stage", default="optimized", choices=STAGES, help="default: optimized")
    inspect.add_argument("--memory", action="store_true", help="the memory report instead of a stage")
    inspect.add_argument("--cost", action="store_true", help="the cost report instead of a stage")
    inspect.add_argument("--time", action="store_true", help="seconds per stage and pass instead of a stage")
    _add_target(commands.add_parser("explain", help="what was fused, computed again or kept, and why"))
    add_profile(commands.add_parser("profile", help="time and roofline fraction of every kernel"))
    commands.add_parser("doctor", help="what works on this machine, and what is missing")
    commands.add_parser("ops", help="list the primitives")
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", metavar="FILE.py:NAME", help="a function, graph, compiled function, program or job")
    parser.add_argument("--spec", action="append", default=[], help="one per argument of a function: f32[64,784]")
    parser.add_argument("--backend", default=None, help=f"installed: {', '.join(backend_names())}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `graphc` command. Returns the exit status.

    Errors go to standard error: in one line, or, what the user's file raises, as the traceback Python prints for it.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    end = given.index("--") if "--" in given else len(given)
    arguments = _parser().parse_args(given[:end])
    arguments.script_arguments = given[end + 1 :]
    try:
        if arguments.script_arguments and arguments.command != "profile":
            raise ArgumentError(f"{arguments.command} takes no arguments after --")
        if arguments.command == "doctor":
            return doctor(Console())
        if arguments.command == "ops":
            print("\n".join(f"{op.name:<16} {op.kind}" for op in all_ops()))
            return 0
        texts = {"inspect": _inspect, "explain": _explain, "profile": profile}
        print(texts[arguments.command](arguments))
    except GraphcError as error:
        print(f"graphc: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0  # the reader of a pipe such as `| head` has left
    except Exception as error:
        said = traceback_in(getattr(arguments, "place", ""), error)
        if said is None:
            raise
        print(said, end="", file=sys.stderr)
        return 1
    return 0


def _inspect(arguments: argparse.Namespace) -> str:
    target = load_target(arguments.place, arguments.spec, arguments.backend)
    if arguments.memory:
        return str(_report(target, "memory"))
    if arguments.cost:
        return str(_report(target, "cost"))
    if arguments.time:
        return time_table(getattr(target, "timings", ()))
    return target.text(arguments.stage)


def _explain(arguments: argparse.Namespace) -> str:
    return explanation(load_target(arguments.place, arguments.spec, arguments.backend), arguments.place)


def _report(target: object, what: str) -> object:
    """`memory` and `cost` are attributes of functions and jobs, and methods (per entry) of programs."""
    report = getattr(target, what)
    if not callable(report):
        return report
    if what == "memory":
        return report(None)
    return "\n\n".join(str(report(entry)) for entry in target.entry_names())  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
