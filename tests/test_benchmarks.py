"""Every benchmark runs with tiny sizes, and its checks of results find wrong ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from benchmarks import _harness, _peak, grid, memory, operations_babygrad, overhead, steps  # noqa: E402
from benchmarks._cases import Case, cases  # noqa: E402
from benchmarks._training import check_losses, check_weights  # noqa: E402

# Without PyTorch and JAX, whose imports alone take seconds.
TINY = ["--quick", "--rounds", "2", "--device", "cpu:numpy", "--peers"]
SHORT = ["--seconds", "0.001"]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> object:
    """The benchmarks limit the threads of their own process; the tests after them need theirs."""
    cpus = _harness.available_cpus()
    monkeypatch.setattr(os, "environ", os.environ.copy())
    yield
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


@pytest.fixture(autouse=True)
def _small_gauge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_peak.Gauge.__init__, "__defaults__", (1 << 20,))


def test_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "steps.json"
    results = steps.main([*TINY, *SHORT, "--only", "mlp", "--json", str(file)])
    assert len(results["mlp"]["times"]["babygrad"]) == 2
    assert json.loads(file.read_text())["results"].keys() == {"mlp", "mlp-wide"}
    assert "MLP 784-128-10" in capsys.readouterr().out


def test_grid(capsys: pytest.CaptureFixture[str]) -> None:
    results = grid.main([*TINY, *SHORT, "--only", "matmul", "--markdown"])
    assert all(result["limit"] > 0 for result in results if result["bytes"])
    assert "| 16x16x16" in capsys.readouterr().out


def test_overhead(capsys: pytest.CaptureFixture[str]) -> None:
    results = overhead.main(TINY)
    assert all(seconds > 0 for seconds in results["import"]["babygrad"])
    assert "x * y, 4x4" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc, of Linux")
def test_memory() -> None:
    assert memory.main([*TINY, "--only", "mlp-deep"])["mlp-deep"]["babygrad"] > 0


def test_pytest_benchmarks() -> None:
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider"]
    command += ["--quick", "--benchmark-disable", "--devices", "cpu:numpy"]
    command += ["-k", "optimizers or elementwise or mlp"]
    # The other cells run below, in this process.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("case", [*cases(quick=True)], ids=lambda case: case.name)
def test_every_cell_is_right(case: Case) -> None:
    operations_babygrad.prepare(case, "babygrad", "cpu")


def test_a_wrong_result_is_found() -> None:
    case = next(case for case in cases(quick=True) if case.wrt == ("w",))
    results = case.expected()
    results[0].flat[-1] *= 1.001
    with pytest.raises(AssertionError, match="off by"):
        case.check("wrong", results)
    with pytest.raises(AssertionError, match="shape"):
        replace(case, name="flat").check("wrong", [results[0].reshape(-1)])
    with pytest.raises(AssertionError, match="losses"):
        check_losses("wrong", [1.0, 0.5], [1.0, 0.51])
    zero, one = {"w": np.zeros(3)}, {"w": np.ones(3)}
    with pytest.raises(AssertionError, match="off"):
        check_weights("wrong", zero, {"w": np.array([1.0, 1.0, 0.0])}, one)


def test_statistics() -> None:
    times = {"babygrad": [1.0, 2.0, 1.0], "slow": [9.0, 9.0, 9.0], "fast": [2.0, 2.0, 3.0]}
    assert _harness.best_peer(times) == "fast"
    assert _harness.ratio(times) == (1.5, 2.0, 2.5)
    assert _harness.ratio({"babygrad": [1.0]}) is None


def test_no_compiler_means_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    _peak._library.cache_clear()
    assert _peak.Gauge(1).flops() is None
    _peak._library.cache_clear()
    assert _harness.percent(1.0, None) == "unknown"
