"""Fixtures that every test shares: the devices and the dtypes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import babygrad
from babygrad import engine, native
from babygrad.backends import registry

try:
    from babygrad import _core
except ImportError:  # built without the C++ engine
    _core = None
    # "cpu" falls back to it, with a warning where the build has failed: once for all tests.
    registry.get("numpy")

# `from samples import ...`: pytest's importlib mode puts no test folder on the path.
sys.path.append(str(Path(__file__).parent))

# Programs that the tests start must import the installed package, not the folder they start in.
os.environ["PYTHONSAFEPATH"] = "1"

DEVICES = ("cpu:numpy", "cpu:cpp", "cpu:numba")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Each test draws the same numbers alone as among others: what fails, fails again."""
    np.random.seed(0)  # what babygrad draws from until it is given a seed of its own


@pytest.fixture(params=_core.available_isas() if _core else [])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that the C++ engine can run here in turn."""
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each device in turn, and the default device while the test runs.

    A device that does not load is skipped with its reason. With BABYGRAD_REQUIRE_CPP=1, as in
    continuous integration, a missing cpu:cpp is an error: it must not go untested in silence.
    """
    name: str = request.param
    try:
        scope = babygrad.device(name)
        scope.__enter__()
    except RuntimeError as error:
        if name == "cpu:cpp" and os.environ.get("BABYGRAD_REQUIRE_CPP") == "1":
            raise
        pytest.skip(str(error))
    try:
        yield name
    finally:
        scope.__exit__(None, None, None)


@pytest.fixture
def numba() -> None:
    """Skips a test of cpu:numba, with the reason, where that does not load."""
    try:
        registry.get("numba")
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    """Each floating type that is computed in."""
    name: str = request.param
    return name


@pytest.fixture(params=["python", "native"])
def twins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The definition of calls and of the backward pass, in Python, and their twins in C++, in turn.

    For the tests of the graph's own rules, which must hold in both.
    """
    was_native = native.is_native_call()
    if request.param == "native" and not was_native:
        pytest.skip("the extension is not built, or BABYGRAD_ENGINE=python")
    if request.param == "python":
        native.use_native_call(False)
        monkeypatch.setattr(engine, "_native_walk", None)
    yield request.param
    native.use_native_call(was_native)
