"""All 2^32 float32 numbers through exp, log, tanh, sigmoid and erf of the C++ engine.

    python tests/sweep_math.py [--every 16] [--only exp]

Prints, for each function and instruction set, the largest distance from the exact result in units
of the last place, and exits with 1 where one is more than 2 ulp from the correctly rounded result.
Needs a C++ compiler (c++, or CXX) for the oracle; takes some four minutes per function on one core.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from babygrad import _core

# 2 ulp from the correctly rounded result, which is at most half an ulp from the exact one.
BOUND = 2.5
FUNCTIONS = ("exp", "log", "tanh", "sigmoid", "erf")
CHUNK = 2**22


def load_oracle(folder: str) -> Any:
    library = Path(folder, "oracle.so")
    source = Path(__file__).with_suffix(".cpp")
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-O2", "-std=c++17", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    oracle = ctypes.CDLL(str(library))
    oracle.worst.restype = ctypes.c_double
    return oracle


def refuse(*args: Any) -> Any:
    raise AssertionError("the kernel handed its case to the fallback")


def address(x: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.ctypes.data)


def sweep(oracle: Any, name: str, every: int) -> dict[str, tuple[float, float]]:
    """The largest distance of each instruction set, and the number it is at."""
    function, count = _core.bind(name, refuse), ctypes.c_int64(CHUNK)
    found = dict.fromkeys(_core.available_isas(), (-1.0, 0.0))
    exact, place = np.empty(CHUNK), ctypes.c_int64()
    for first in range(0, 2**32, CHUNK * every):
        # A residue that varies, so that a sample has all kinds of last bits.
        bits = first + np.arange(CHUNK, dtype=np.uint64) * every + first // CHUNK % every
        x = bits.astype(np.uint32).view(np.float32)
        oracle.evaluate(FUNCTIONS.index(name), address(x), address(exact), count)
        for isa in found:
            _core.set_isa(isa)
            y = function(x)
            distance = oracle.worst(address(y), address(exact), count, ctypes.byref(place))
            if distance > found[isa][0]:
                found[isa] = (distance, float(x[place.value]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every so many-th number")
    parser.add_argument("--only", choices=FUNCTIONS)
    chosen = parser.parse_args()
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        oracle = load_oracle(folder)
        for name in (chosen.only,) if chosen.only else FUNCTIONS:
            for isa, (distance, x) in sweep(oracle, name, chosen.every).items():
                print(f"{name:8} {isa:9} {distance:.3f} ulp at {x!r}", flush=True)
                largest = max(largest, distance)
    sys.exit(largest > BOUND)


if __name__ == "__main__":
    main()
