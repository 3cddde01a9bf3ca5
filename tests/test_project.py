"""What must be true of the repository as a whole. Formatting, lint and types are in `make check`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

MACHINE_PATH = re.compile(r"(?<![\w.>)/-])/(?:home|Users|root|work|mnt|scratch)/\w|\b[A-Z]:\\Users\b")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|anaconda\.org|index[-]url|jfrog\.io|file:/{2}/", re.IGNORECASE)


def run_python(*args: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "frontends"), str(ROOT / "backends")])
    return subprocess.run(
        [sys.executable, *args], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def plugin_packages() -> list[Path]:
    return sorted(init.parent for root in ("frontends", "backends") for init in ROOT.glob(f"{root}/*/__init__.py"))


def test_networkx_is_not_imported_on_the_way_to_a_compiled_program() -> None:
    program = (
        "import sys, numpy as np, graphc as gc, graphc.numpy as gnp\n"
        "exe = gc.compile(gc.grad(lambda x: gnp.sum(gnp.tanh(x))), gc.spec((4,), 'float32'), backend='cpu')\n"
        "exe(np.zeros(4, 'float32'))\n"
        "assert 'networkx' not in sys.modules, 'networkx was imported'"
    )
    result = run_python("-c", program)
    assert result.returncode == 0, result.stderr


def modules_after(statement: str) -> set[str]:
    """Names of the modules that the statement imports into a fresh interpreter."""
    program = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before))"
    result = run_python("-c", program)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_graphc_imports_nothing_else() -> None:
    names = modules_after("import graphc")
    assert not {name for name in names if name.split(".")[0] not in sys.stdlib_module_names} - {"graphc"}


# Other packages, and our own from the passes on: they are imported by the first program that is not in the cache.
HEAVY = {"llvmlite", "rich", "networkx", "scipy", "torch", "numpy.testing", "numpy.polynomial", "numpy.random"}
HEAVY |= {
    "importlib.metadata",
    "statistics",
    "graphc.compiler",
    "graphc.kernel.ir",
    "graphc.passes",
    "graphc.plan.build",
    "graphc.scheduling",
}


def test_the_public_functions_and_the_library_import_nothing_heavy() -> None:
    names = modules_after("import graphc.api, graphc.numpy, graphc.random, graphc.nn, graphc.optim, graphc.data")
    assert not names & (HEAVY | {"safetensors"})
    assert not modules_after("import graphc.train") & HEAVY


def test_layers_import_only_what_their_row_allows() -> None:
    result = run_python("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_forbidden_import_is_found() -> None:
    import grimp

    from tools.import_table import ImportTable, row_of

    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    graph = grimp.ImportGraph()
    for module in ("graphc.graph.node", "graphc.passes.cse", "graphc.unheard_of"):
        graph.add_module(module)
    graph.add_module("networkx", is_squashed=True)
    for imported in ("graphc.passes.cse", "networkx"):
        graph.add_import(
            importer="graphc.graph.node", imported=imported, line_number=3, line_contents=f"import {imported}"
        )
    options = {key: contract[key] for key in ("rows", "everywhere")}
    check = ImportTable("table", {}, options).check(graph, verbose=False)
    assert not check.kept
    assert [violation.imported for violation in check.metadata["violations"]] == ["graphc.passes.cse", "networkx"]
    assert check.metadata["homeless"] == ["graphc.unheard_of"]
    assert row_of("graphc.kernel.lower.dot", contract["rows"]) == "graphc.kernel.lower"


def test_every_plugin_is_known_to_packaging_and_to_the_import_table() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    linter = PROJECT["tool"]["importlinter"]
    for folder in plugin_packages():
        assert folder.relative_to(ROOT).as_posix() in wheel
        assert folder.name in linter["root_packages"]
        assert folder.name in linter["contracts"][0]["rows"]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(lines, 1)
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line)
        ]
    assert not found, "\n".join(found)


def test_golden_text_names_no_machine(tmp_path: Path) -> None:
    from tests.conftest import without_machine_paths

    text = f"{ROOT}/train.py:31  \n{tmp_path}/x.py:2\n"
    assert without_machine_paths(text) == "<repo>/train.py:31\n<tmp>/x.py:2\n"
