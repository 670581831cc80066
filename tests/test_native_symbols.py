"""No code compiled for one instruction set may stand in for another's, read from the objects.

A weak symbol, such as an inline function of the standard library, is kept once by the linker: were
it taken from an AVX2 object, the baseline would run AVX2 code. One with a target's own namespace in
its name belongs to that target alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("BABYGRAD_BUILD", Path(__file__).parents[1] / "build"))
TARGETS = sorted(ROOT.glob("**/kernels_*.dir"))
# What the compiler emits beside code: the address of the handler of C++ exceptions.
DATA = {"DW.ref.__gxx_personality_v0"}


def shared_symbols(listing: str, target: str) -> list[str]:
    """The weak definitions in the output of `nm` that another target may define, too."""
    found = []
    for line in listing.splitlines():
        fields = line.split(maxsplit=2)
        if len(fields) == 3 and fields[1] in "VWuvw" and fields[2] not in DATA:
            if f"babygrad::{target}::" not in fields[2]:
                found.append(fields[2])
    return found


@pytest.mark.skipif(not TARGETS, reason="the extension was not built in this folder's build/")
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm, of binutils")
@pytest.mark.parametrize("folder", TARGETS, ids=lambda p: p.name)
def test_instruction_sets_share_no_weak_symbol(folder: Path) -> None:
    objects = sorted(folder.rglob("*.o"))
    assert objects
    command = ["nm", "-C", "--defined-only", *map(str, objects)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    target = folder.name.removeprefix("kernels_").removesuffix(".dir")
    assert f"babygrad::{target}::fill" in listing
    assert shared_symbols(listing, target) == []


def test_a_shared_symbol_would_be_found() -> None:
    listing = (
        "0000 W std::vector<long>::push_back(long&&)\n"
        "0000 W void babygrad::avx2::gemm<float>(babygrad::avx2::Gemm<float> const&)\n"
        "0000 V DW.ref.__gxx_personality_v0\n"
        "0000 T babygrad::avx2::fill(babygrad::Kernels&)\n"
    )
    assert shared_symbols(listing, "avx2") == ["std::vector<long>::push_back(long&&)"]
