"""The Python examples of the documents run, and print what the documents say they print.

The Python blocks of one document are one program, from top to bottom. The lines of a `text` block are printed by that
program one after the other, where a line of three dots stands for any number of others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TEXT = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted(ROOT.glob("docs/**/*.md"))]


def program_of(document: Path) -> str:
    """The blocks at their own line numbers, so that an error names the line of the document."""
    text = document.read_text(encoding="utf-8")
    lines: list[str] = []
    for block in BLOCK.finditer(text):
        lines += [""] * (text.count("\n", 0, block.start(1)) - len(lines))
        lines += block[1].splitlines()
    return "\n".join(lines) + "\n"


def missing_line(block: str, printed: list[str]) -> str:
    """The first line of a block that was not printed where it should have been; empty when all were."""
    parts = [part.strip("\n").splitlines() for part in re.split(r"^ *\.\.\.$", block, flags=re.MULTILINE)]
    position = 0
    for part in parts:
        starts = range(position, len(printed) - len(part) + 1)
        found = next((at for at in starts if printed[at : at + len(part)] == part), None)
        if found is None:
            return next((line for line in part if line not in printed), "\n".join(part))
        position = found + len(part)
    return ""


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if BLOCK.search(d.read_text(encoding="utf-8"))], ids=lambda d: d.name
)
def test_the_examples_run_and_print_what_the_document_says(document: Path, tmp_path: Path) -> None:
    program = tmp_path / f"{document.stem}.py"
    program.write_text(program_of(document), encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends")])
    result = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    for block in TEXT.finditer(document.read_text(encoding="utf-8")):
        line = missing_line(block[1], result.stdout.splitlines())
        assert not line, f"{document.name} does not print this; it prints:\n{result.stdout}\nnot\n{line}"


LINK = re.compile(
    r"`((?:graphc|backends|tests|tools|examples|core|graph|tracing|transform|passes|kernel|plan|runtime|train)/[\w/.]+)`"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_the_files_a_document_names_exist(document: Path) -> None:
    named = {match[1] for match in LINK.finditer(document.read_text(encoding="utf-8"))}
    missing = sorted(
        n
        for n in named
        if not any((root / f"{n}{end}").exists() for root in (ROOT, ROOT / "graphc") for end in ("", ".py"))
    )
    assert not missing
