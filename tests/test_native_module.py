"""The committed stub of the extension against the extension itself, and what its objects export."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import babygrad

core = pytest.importorskip("babygrad._core", reason="the C++ extension is not installed")
STUB = Path(babygrad.__file__).with_name("_core.pyi")


def test_the_stub_declares_what_the_module_has() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    declared = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    present = {name for name in vars(core) if not name.startswith("__")}
    assert declared == present


def test_every_kernel_has_a_member_of_the_interface_to_stand_in_for() -> None:
    from babygrad.backends.numpy import NumpyBackend

    assert [name for name in core.names() if not hasattr(NumpyBackend, name)] == []


def test_importing_the_package_starts_no_thread_and_imports_no_heavy_package() -> None:
    code = (
        "import sys, threading, numpy\n"
        "import os\n"
        "tasks = '/proc/self/task'\n"
        "count = lambda: len(os.listdir(tasks)) if os.path.isdir(tasks) else 0\n"
        "before = count()\n"
        "import babygrad\n"
        "assert count() == before\n"
        "assert not {'numba', 'tqdm', 'safetensors'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
