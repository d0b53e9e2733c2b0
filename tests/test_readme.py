"""What the README refers to is there."""

import ast
import re

from conftest import ROOT


def test_every_row_of_the_table_of_faults_names_a_test_that_exists():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| fault \| result \| test \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", page, re.M)
    rows = table.splitlines()
    named = [re.fullmatch(r"\|.+\|.+\| `(tests/\w+\.py)::(test_\w+)` \|", row) for row in rows]
    assert len(rows) > 40 and all(named), [row for row, name in zip(rows, named, strict=True) if not name]
    bodies = {row[1]: ast.parse((ROOT / row[1]).read_text(encoding="utf-8")).body for row in named}
    tests = {(path, node.name) for path in bodies for node in bodies[path] if isinstance(node, ast.FunctionDef)}
    assert {row.groups() for row in named} <= tests, {row.groups() for row in named} - tests
