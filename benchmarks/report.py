"""The command line that all benchmarks share, and their output: one record per line, a table for people, a file."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.measure import Timing

Record = dict[str, object]


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """The options every benchmark takes."""
    result = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    result.add_argument("--json", action="store_true", help="print one JSON object per record instead of a table")
    result.add_argument("--out", type=Path, metavar="FILE", help="write the records to this file, one JSON per line")
    result.add_argument("--quick", action="store_true", help="one tiny round: shows that everything works, no more")
    result.add_argument("--rounds", type=at_least_one, default=7, help="interleaved rounds, of which medians are taken")
    result.add_argument("--pause", type=float, default=0.25, help="seconds between two systems")
    return result


def at_least_one(text: str) -> int:
    """A number of something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def names(text: str) -> list[str]:
    """A list with commas; empty for an empty text.

    >>> names("torch,jax")
    ['torch', 'jax']
    """
    return [name for name in text.split(",") if name]


def numbers(text: str) -> list[int]:
    """A list of whole numbers with commas.

    >>> numbers("1,2")
    [1, 2]
    """
    return [at_least_one(name) for name in names(text)]


def timing(options: argparse.Namespace, block_seconds: float) -> Timing:
    """The rounds that were asked for."""
    return Timing(1, 0.0, 0.0) if options.quick else Timing(options.rounds, block_seconds, options.pause)


class Output:
    """Takes records as they come; prints and writes them."""

    def __init__(self, benchmark: str, options: argparse.Namespace) -> None:
        self._common: Record = {"benchmark": benchmark}
        self._machine = machine.facts()
        self._options = options
        self._shown: tuple[str, ...] = ()
        if options.quick:
            self._common["quick"] = True
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text("", encoding="utf-8")
        if not options.json:
            print(f"{self._machine['cpu']}, {self._machine['cores']} cores", flush=True)

    def describe(self, facts: Mapping[str, object]) -> None:
        """Say more about the machine, in the records to come."""
        self._machine |= facts
        if not self._options.json:
            print(", ".join(f"{name}: {fact}" for name, fact in facts.items()), flush=True)

    def add(self, records: Sequence[Mapping[str, object]]) -> None:
        """Print these records and append them to the file."""
        full = [{**self._common, **rounded(record), "machine": self._machine} for record in records]
        lines = [json.dumps(record) for record in full]
        if self._options.json:
            print("\n".join(lines), flush=True)
        else:
            print(table([rounded(record) for record in records]), flush=True)
        if self._options.out is not None:
            with self._options.out.open("a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)


def rounded(record: Mapping[str, object]) -> Record:
    """Five digits are more than any of these measurements has."""
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in record.items()}


def table(records: Sequence[Mapping[str, object]]) -> str:
    """Columns for people; what is itself a table is left to the JSON."""
    if not records:
        return ""
    columns = [key for key, value in records[0].items() if not isinstance(value, dict | list)]
    rows = [columns, *([_cell(record.get(column)) for column in columns] for record in records)]
    widths = [max(len(row[position]) for row in rows) for position in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def read(path: Path) -> list[Record]:
    """The records of a file. Exits with a message when there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    found = [json.loads(line) for line in lines if line.strip()]
    return found or sys.exit(f"{path}: no records")


def most_threads(records: Sequence[Record], threads: int | None = None) -> list[Record]:
    """The records of this number of threads, or of the most there are."""
    wanted = threads or max((int(str(record["threads"])) for record in records), default=0)
    return [record for record in records if record["threads"] == wanted]


def as_usual(records: Sequence[Record]) -> list[Record]:
    """The records measured without flags such as GRAPHC_CPU, which stand for another machine."""
    return [record for record in records if not record["machine"].get("flags")]  # type: ignore[attr-defined]
