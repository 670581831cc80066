"""The table of Tensor's methods agrees with its stub, with the functions, and with the docs."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import babygrad
from babygrad import Tensor, ops
from babygrad.ops.methods import METHODS

PACKAGE = Path(babygrad.__file__).parent


def stubs() -> dict[str, ast.FunctionDef]:
    tree = ast.parse((PACKAGE / "_methods.pyi").read_text())
    (cls,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}


def test_table_and_stub_name_the_same_methods() -> None:
    assert sorted(stubs()) == sorted(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_signature_is_that_of_the_stub(name: str) -> None:
    stub = stubs()[name].args
    positional = [a.arg for a in [*stub.posonlyargs, *stub.args]][1:]
    parameters = list(inspect.signature(METHODS[name]).parameters.values())
    kinds = inspect.Parameter
    if parameters and parameters[0].kind is not kinds.VAR_POSITIONAL:
        parameters = parameters[1:]
    by_kind = {k: [p.name for p in parameters if p.kind is k] for k in (
        kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL
    )}  # fmt: skip
    assert by_kind[kinds.KEYWORD_ONLY] == [a.arg for a in stub.kwonlyargs]
    assert by_kind[kinds.VAR_POSITIONAL] == ([stub.vararg.arg] if stub.vararg else [])
    if not name.startswith("__"):
        assert by_kind[kinds.POSITIONAL_OR_KEYWORD] == positional
        given = [p for p in parameters if p.default is not p.empty]
        assert len(given) == len(stub.defaults) + len([d for d in stub.kw_defaults if d])


def test_methods_are_on_the_class() -> None:
    for name, operation in METHODS.items():
        assert vars(Tensor)[name].__code__ is operation.__code__


def test_every_public_operation_is_documented() -> None:
    bare = [name for name in ops.__all__ if not (getattr(ops, name).__doc__ or "").strip()]
    assert bare == []
    assert sorted(set(ops.__all__)) == sorted(ops.__all__)


def test_operations_never_import_numpy() -> None:
    offenders = [
        path.name
        for path in (PACKAGE / "ops").glob("*.py")
        if re.search(r"^\s*(import|from) numpy", path.read_text(), re.MULTILINE)
    ]
    assert offenders == []
