"""The import-linter contract `import_table`: who may import whom, one row per layer.

Comes in: rows `module = [what it may import]`, in pyproject.toml. Guaranteed when the contract is kept:

- every module belongs to a row: the longest row name that is the module or a package it lies in; a top-level package
  that is cut into rows (`graphc`) stands for itself alone, so a new folder needs a row of its own;
- a module imports its own row, the rows its row names (exactly those: `graphc.kernel` does not include the row
  `graphc.kernel.lower`), the standard library, and what `everywhere` names;
- `*` names every row of the same top-level package: not the backends, which are reached by entry point, and no
  external package.

Direct imports are checked, those inside functions and under TYPE_CHECKING too.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck


class Violation(NamedTuple):
    """One import that no row allows."""

    importer: str
    imported: str
    line: int
    reason: str


class RowsField(fields.Field[dict[str, frozenset[str]]]):
    """A table from a row's name to what it may import."""

    def parse(self, raw_data: Any) -> dict[str, frozenset[str]]:
        if not isinstance(raw_data, dict):
            raise fields.ValidationError("expected a table: module = [names it may import]")
        return {row: frozenset(allowed) for row, allowed in raw_data.items()}


def row_of(module: str, rows: dict[str, frozenset[str]]) -> str | None:
    """The row a module belongs to; None for a module of a top-level package that is cut into rows, when none fits."""
    name = module
    while name not in rows and "." in name:
        name = name.rpartition(".")[0]
    if name not in rows:
        return None
    is_cut = "." not in name and any(row.startswith(f"{name}.") for row in rows)
    return None if is_cut and name != module else name


class ImportTable(Contract):  # type: ignore[misc, unused-ignore]
    """Keeps the table of ARCHITECTURE.md true."""

    type_name = "import_table"

    rows = RowsField()
    everywhere = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        rows: dict[str, frozenset[str]] = self.rows  # type: ignore[assignment, unused-ignore]
        everywhere: list[str] = self.everywhere  # type: ignore[assignment, unused-ignore]
        free = sys.stdlib_module_names | set(everywhere)
        violations: list[Violation] = []
        homeless: list[str] = []
        for module in sorted(graph.modules):
            if graph.is_module_squashed(module):  # an external package
                continue
            row = row_of(module, rows)
            if row is None:
                homeless.append(module)
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                if graph.is_module_squashed(imported):
                    target, allowed = imported, imported.partition(".")[0] in free or imported in rows[row]
                else:
                    target = row_of(imported, rows) or imported
                    is_same_package = imported.partition(".")[0] == module.partition(".")[0]
                    allowed = target == row or target in rows[row] or ("*" in rows[row] and is_same_package)
                if not allowed:
                    line = graph.get_import_details(importer=module, imported=imported)[0]["line_number"]
                    violations.append(Violation(module, imported, line, f"{row} may not import {target}"))
        return ContractCheck(
            kept=not violations and not homeless, metadata={"violations": violations, "homeless": homeless}
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module in check.metadata["homeless"]:
            output.print_error(f"{module} belongs to no row of the import table (pyproject.toml)", bold=False)
        for violation in check.metadata["violations"]:
            output.print_error(
                f"{violation.importer} imports {violation.imported} (line {violation.line}): {violation.reason}",
                bold=False,
            )
