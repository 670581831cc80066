"""The rules of the code itself, read from its source: layers, sizes, no side effects on import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import babygrad

PACKAGE = Path(babygrad.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
BACKENDS = ("cpu:numpy", "cpu:cpp", "cpu:numba")
# Files that list the devices for users are about the names themselves.
NAMES_BACKENDS = ("backends", "testing", "cli.py", "device.py")


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def docstrings(module: ast.Module) -> set[int]:
    """The ids of the constants that are docstrings."""
    return {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if p.relative_to(PACKAGE).parts[0] in ("ops", "nn", "optim")],
    ids=name,
)
def test_operations_modules_and_optimizers_do_not_import_numpy(path: Path) -> None:
    assert "numpy" not in imported(path)


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if not any(part in NAMES_BACKENDS for part in p.relative_to(PACKAGE).parts)],
    ids=name,
)
def test_only_backends_know_a_backend_by_name(path: Path) -> None:
    module = tree(path)
    texts = docstrings(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            assert node.value not in BACKENDS, f"line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_importing_prints_nothing_and_imports_no_numba() -> None:
    code = "import sys, babygrad, babygrad.nn; assert 'numba' not in sys.modules, 'numba imported'"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
