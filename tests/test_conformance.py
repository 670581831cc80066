"""The conformance suite on the backends of this package, and on broken ones, which must fail."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import broken_backends
import numpy as np
import pytest

from babygrad.backends import registry
from babygrad.backends.base import Backend, composed_members, missing_members
from babygrad.testing import BackendConformance, suite_elementwise


class TestNumpy(BackendConformance):
    backend = registry.get("numpy")


class TestNumba(BackendConformance):
    @pytest.fixture
    def xp(self, numba):
        return registry.get("numba")


def instruction_sets():
    if find_spec("babygrad._core") is None:
        return ["not built"]
    from babygrad import _core  # one that is there and does not load is an error

    return list(_core.available_isas())


@pytest.mark.parametrize("isa", instruction_sets())
class TestCpp(BackendConformance):
    @pytest.fixture
    def xp(self, isa):
        if isa == "not built":
            pytest.skip("babygrad was installed without its C++ extension")
        from babygrad import _core

        before = _core.isa()
        _core.set_isa(isa)
        yield registry.get("cpp")
        _core.set_isa(before)


def test_every_member_is_checked():
    """By its own name in a table, or in the source of a test."""
    tables = (suite_elementwise.UNARY, suite_elementwise.BINARY, suite_elementwise.PREDICATES,
              suite_elementwise.COMPARISONS, suite_elementwise.GRADIENTS,
              suite_elementwise.PARAMETRIC)  # fmt: skip
    named = {key.split()[0] for table in tables for key in table}
    folder = Path(suite_elementwise.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("suite_*.py"))
    members = {*missing_members(Backend), *composed_members()}
    unchecked = {m for m in members - named if f"xp.{m}" not in source and f'"{m}"' not in source}
    assert not unchecked


@pytest.fixture(scope="module")
def verdicts():
    """What the suite says of the broken backends, from one run of pytest in its own process."""
    file = Path(broken_backends.__file__)
    tests = [f"{file}::Test{name}::{b.caught_by}" for name, b in broken_backends.BROKEN.items()]
    options = ["-q", "-rf", "--tb=no", "--noconftest", "-p", "no:cacheprovider", "-W", "ignore"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1, found.stdout + found.stderr
    return found.stdout


@pytest.mark.parametrize("name", broken_backends.BROKEN)
def test_a_broken_backend_fails(verdicts, name):
    assert f"Test{name}::{broken_backends.BROKEN[name].caught_by}" in verdicts


def test_a_wrong_shape_or_type_is_named():
    from babygrad.testing.tolerance import check, check_exact

    with pytest.raises(AssertionError, match="shape"):
        check(np.ones(3), np.ones(2), "float64", 1)
    with pytest.raises(AssertionError, match="dtype"):
        check_exact(np.ones(2), np.ones(2, np.float32))
    with pytest.raises(AssertionError, match="1 of 2 elements are wrong"):
        check(np.array([1, 2.0]), np.array([1, 2.1]), "float64", 4)
