"""docs/semantics.md: every rule has its tests, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
RULES = {match[1]: match[0] for match in re.finditer(r"(?ms)^### (T\d+) .*?^</details>$", TEXT)}


def test_all_rules_are_found() -> None:
    assert list(RULES) == [f"T{i}" for i in range(1, 30)]


@pytest.mark.parametrize("rule", RULES)
def test_the_tests_of_a_rule_exist(rule: str) -> None:
    listed = re.findall(r"(?s)`(tests/\S+\.py)`: (.*?)(?=\n- |\n\n)", RULES[rule])
    assert listed
    for file, names in listed:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert set(re.findall(r"`(test_\w+)`", names)) <= defined, file
