"""cpu:cpp where Python ends around it: daemon threads at exit, sub-interpreters."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("babygrad._core", reason="built without the C++ engine")

# Each thread computes for ever; the program ends a moment after all of them have begun.
PROGRAM = """
import random, sys, threading, time
import numpy as np
import babygrad
from babygrad import Tensor, nn, ops

begun = threading.Semaphore(0)
draw = np.random.default_rng(0)

def tensor(*shape):
    return Tensor(draw.random(shape), device="cpu:cpp", requires_grad=True)

def product():
    a = tensor(300, 300)
    return lambda: a @ a

def convolution():
    x, w = tensor(4, 16, 32, 32), tensor(16, 16, 3, 3)
    return lambda: ops.conv2d(x, w, padding=1)

def total():
    x = tensor(1000, 400)
    return lambda: (x * 2).sum()

def training():
    x, w = tensor(64, 200), tensor(200, 200)
    return lambda: ops.relu(x @ w).sum().backward()

def many_small():
    x = tensor(4, 4)
    return lambda: ((x * x + x) @ x).sum().backward()

def settings():
    core = babygrad._core
    return lambda: core.set_num_threads(2)

def loop(make):
    step = make()
    step()
    begun.release()
    while True:
        step()

kinds = sys.argv[1].split(",")
for kind in kinds:
    threading.Thread(target=loop, args=(globals()[kind],), daemon=True).start()
for kind in kinds:
    begun.acquire()
time.sleep(random.random() / 20)
"""


@pytest.mark.parametrize(
    "kinds",
    [
        "product,product,product",
        "convolution,convolution,total",
        "total,total,total,settings",
        "training,training,training",
        "many_small,many_small,product",
    ],
)
def test_a_program_ends_in_silence_while_daemon_threads_compute(kinds: str) -> None:
    """The moment of the end is another one in each run."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, kinds]
    for _ in range(5):
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


SUB_INTERPRETER = """
import _xxsubinterpreters as interpreters
program = '''
import warnings
warnings.simplefilter("ignore")  # numpy's own about sub-interpreters, and cpu's fall-back
try:
    import numpy
except ImportError:
    print("no numpy")
else:
    import babygrad
    from babygrad.backends import registry
    x = babygrad.Tensor([3.0], requires_grad=True)
    (x * x).sum().backward()
    print(x.grad.tolist(), registry.available()["cpp"])
'''
interpreter = interpreters.create()
interpreters.run_string(interpreter, program)
"""


def test_a_sub_interpreter_does_without_the_engine() -> None:
    pytest.importorskip("_xxsubinterpreters", reason="the module has another name by now")
    command = [sys.executable, "-c", SUB_INTERPRETER]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "no numpy" or run.stdout.startswith("[6.0] cpu:cpp does not load")
    assert "install" not in run.stdout
