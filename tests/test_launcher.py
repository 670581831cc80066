"""The number of threads of a process that a launcher has started beside others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from babygrad import _launcher

try:
    from babygrad import _core
except ImportError:
    _core = None

LAUNCHER = (
    "OMPI_",
    "MPI_",
    "MV2_",
    "MVP_",
    "PALS_",
    "JSM_",
    "SLURM_",
    "PMI_",
    "LOCAL_",
    "BABYGRAD_",
)


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in list(os.environ):
        if name.startswith(LAUNCHER):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "processes"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, 4),
        ({"MPI_LOCALNRANKS": "3", "PMI_SIZE": "12"}, 3),
        ({"MV2_COMM_WORLD_LOCAL_SIZE": " 2 "}, 2),
        ({"LOCAL_WORLD_SIZE": "8", "SLURM_NTASKS_PER_NODE": "1"}, 8),
        ({"PMI_SIZE": "5"}, 5),
        ({"SLURM_NTASKS_PER_NODE": "6"}, 6),
        ({"SLURM_TASKS_PER_NODE": "4(x2)"}, 4),
        ({"SLURM_TASKS_PER_NODE": "4(x2),3", "SLURM_NODEID": "1"}, 4),
        ({"SLURM_TASKS_PER_NODE": "4(x2),3", "SLURM_NODEID": "2"}, 3),
        ({"SLURM_TASKS_PER_NODE": "1,7(x3)", "SLURM_NODEID": "3"}, 7),
        ({"SLURM_TASKS_PER_NODE": "1,7", "SLURM_NODEID": "9"}, 7),
        ({"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NTASKS_PER_NODE": "8"}, 2),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "SLURM_NTASKS_PER_NODE": "8"}, 2),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "0"}, 1),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "-2", "MPI_LOCALNRANKS": "two", "PMI_SIZE": ""}, 1),
        ({"SLURM_TASKS_PER_NODE": "4(x", "SLURM_NODEID": "x"}, 1),
        ({"SLURM_TASKS_PER_NODE": "2(x0)"}, 1),
        ({"SLURM_TASKS_PER_NODE": "3,2(x00)", "PMI_SIZE": "5"}, 5),
        ({"SLURM_TASKS_PER_NODE": "4(x02)", "SLURM_NODEID": "1"}, 4),
        ({"PMI_SIZE": "\N{ARABIC-INDIC DIGIT FOUR}"}, 1),
        ({"SLURM_TASKS_PER_NODE": "4(x\N{ARABIC-INDIC DIGIT TWO})"}, 1),
    ],
)
def test_the_processes_of_this_machine_are_read_from_any_launcher(
    monkeypatch, variables, processes
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _launcher.launch()[0] == processes


THREADS = "import babygrad; print(babygrad.get_num_threads())"


def threads(code: str = THREADS, processors: set[int] | None = None, **variables: str) -> int:
    """The threads of a process with these variables, bound to these processors."""
    bind = None if processors is None else lambda: os.sched_setaffinity(0, processors)
    command = [sys.executable, "-c", code]
    environment = {**os.environ, **variables}
    run = subprocess.run(
        command, env=environment, preexec_fn=bind, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


needs_engine = pytest.mark.skipif(_core is None, reason="built without the C++ engine")
needs_masks = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks")
# A shell of the launcher's, which has the variable too and stays between it and the program.
WRAPPED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {THREADS!r}], check=True)"


@needs_engine
@needs_masks
@pytest.mark.parametrize(
    "variable",
    ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "PMI_SIZE", "SLURM_NTASKS_PER_NODE"],
)
def test_each_process_takes_its_share_and_at_least_one_thread(variable):
    alone = threads()
    for processes in (2, 1000):
        assert threads(**{variable: str(processes)}) == max(1, alone // processes)
    assert threads(**{variable: "2", "BABYGRAD_NUM_THREADS": "5"}) == 5


@needs_engine
@needs_masks
def test_a_process_that_is_bound_to_its_share_keeps_all_of_it():
    """Half of the processors for each of two processes, straight or through a wrapper."""
    mine = sorted(os.sched_getaffinity(0))
    half = set(mine[: len(mine) // 2])
    if not half:
        pytest.skip("one processor cannot be shared out")
    alone = threads(processors=half)
    assert threads(processors=half, LOCAL_WORLD_SIZE="2") == alone
    assert threads(WRAPPED, half, LOCAL_WORLD_SIZE="2") == alone


@needs_engine
def test_processes_share_the_limit_of_their_cgroup(monkeypatch, tmp_path):
    cgroup, limit = tmp_path / "proc/self/cgroup", tmp_path / "sys/fs/cgroup/cpu.max"
    for path, text in ((cgroup, "0::/\n"), (limit, "100000 100000")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setenv("MPI_LOCALNRANKS", "4")
    assert _core._default_num_threads(str(tmp_path)) == 1


NUMBA = """
import numpy as np, numba
from babygrad.backends import registry
registry.get("numba").silu(np.ones(100_000))
print(numba.get_num_threads())
"""


@needs_masks
@pytest.mark.usefixtures("numba")
def test_numba_s_threads_are_the_share_of_one_too():
    alone = threads(NUMBA)
    assert threads(NUMBA, MPI_LOCALNRANKS="2") == max(1, alone // 2)
    assert threads(NUMBA, BABYGRAD_NUM_THREADS="1") == 1
    assert threads(NUMBA, MPI_LOCALNRANKS="2", NUMBA_NUM_THREADS=str(alone)) == alone
