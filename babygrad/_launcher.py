"""Whether a launcher (mpirun, srun, torchrun) has started other processes beside this one.

Each of them computes on the processors of the same machine, so each takes its share of threads. A
launcher that binds its processes gives each a set of processors of its own, which is no more to be
shared; what there is to share is what the launcher itself may use.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# How many processes there are on this machine. The first that is set counts: an inner launcher
# comes before the outer one, and what a process is told before what a job has asked for.
_LOCAL_SIZES = (
    "LOCAL_WORLD_SIZE",  # torchrun
    "OMPI_COMM_WORLD_LOCAL_SIZE",  # Open MPI
    "MPI_LOCALNRANKS",  # MPICH, Intel MPI
    "MV2_COMM_WORLD_LOCAL_SIZE",  # MVAPICH
    "MVP_COMM_WORLD_LOCAL_SIZE",
    "PALS_LOCAL_SIZE",  # HPE Cray
    "JSM_NAMESPACE_LOCAL_SIZE",  # IBM jsrun
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_TASKS_PER_NODE",
    "PMI_SIZE",  # on all machines, for want of better: too many rather than too few
)

# A number of processes, and of how many machines it is the number.
_ENTRY = r"[0-9]{1,6}(\(x0*[1-9][0-9]{0,5}\))?"


def launch() -> tuple[int, int]:
    """The processes on this machine that share its processors, and how many the launcher has.

    ``(1, 0)`` without a launcher; 0 processors where the system does not tell.
    """
    for variable in _LOCAL_SIZES:
        processes = _count(os.environ.get(variable, ""))
        if processes:
            return processes, _processors_of_launcher(variable)
    return 1, 0


def _count(text: str) -> int:
    """The number for this machine in "4" or in SLURM's list for all of them, "4(x2),3"; else 0."""
    if not re.fullmatch(rf"{_ENTRY}(,{_ENTRY})*", text.strip()):
        return 0
    node = os.environ.get("SLURM_NODEID", "")
    counts: list[int] = []
    for count, times in re.findall(r"([0-9]+)(?:\(x([0-9]+)\))?", text):
        counts += [int(count)] * int(times or 1)
    place = int(node) if node.isascii() and node.isdigit() else 0
    return counts[min(place, len(counts) - 1)]


def _processors_of_launcher(variable: str) -> int:
    """Those of the nearest ancestor that does not have the variable, and of this process."""
    try:
        process = os.getppid()
        while process > 1 and variable.encode() in _variables(process):
            process = _parent(process)
        own, launchers = os.sched_getaffinity(0), os.sched_getaffinity(process)
        return len(own | launchers)  # a launcher may have bound itself, too
    except (AttributeError, OSError, ValueError):  # no Linux, no /proc, or the ancestor has ended
        return 0


def _variables(process: int) -> set[bytes]:
    try:
        text = Path(f"/proc/{process}/environ").read_bytes()
    except PermissionError:  # another user's: SLURM's daemon
        return set()
    return {entry.partition(b"=")[0] for entry in text.split(b"\0")}


def _parent(process: int) -> int:
    # "123 (name, with any character) S 100 ...": the state, then the parent.
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
