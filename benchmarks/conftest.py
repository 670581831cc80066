"""Options and the device of the pytest benchmarks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# `from benchmarks import ...`: pytest's importlib mode puts no folder on the path.
sys.path.append(str(Path(__file__).resolve().parent.parent))

DEVICES = ["cpu:numpy", "cpu:cpp", "cpu:numba", "torch"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("babygrad")
    group.addoption("--quick", action="store_true", help="tiny sizes, to see that it works")
    group.addoption("--devices", nargs="+", default=DEVICES, help=f"default: {' '.join(DEVICES)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", metafunc.config.getoption("--devices"), indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """A babygrad device, or "torch"; skipped with the reason when it is not there."""
    import babygrad

    name: str = request.param
    if name == "torch":
        if importlib.util.find_spec("torch") is None:
            pytest.skip("PyTorch is not installed")
        return name
    try:
        with babygrad.device(name):
            return name
    except RuntimeError as error:
        pytest.skip(str(error))
