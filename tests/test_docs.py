"""The Python examples of the documents run: the blocks of one document are one program, from top to bottom."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

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


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if BLOCK.search(d.read_text(encoding="utf-8"))], ids=lambda d: d.name
)
def test_the_examples_run(document: Path, tmp_path: Path) -> None:
    program = tmp_path / f"{document.stem}.py"
    program.write_text(program_of(document), encoding="utf-8")
    path = os.pathsep.join([str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends")])
    result = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
