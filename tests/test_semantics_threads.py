"""T29 of docs/semantics.md: threads, processes and pools."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, no_grad, ops, optim

pytestmark = pytest.mark.usefixtures("twins")


def trained(seed):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    for p in model.parameters():
        p.data = rng.normal(size=p.shape).astype("float32")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x, y = rng.normal(size=(16, 5)).astype("float32"), rng.integers(0, 3, 16)
    for _ in range(30):
        optimizer.zero_grad()
        ops.cross_entropy(model(Tensor(x)), y).backward()
        optimizer.step()
    return b"".join(p.data.tobytes() for p in model.parameters())


def test_two_threads_train_as_one_after_the_other(device):
    alone = [trained(1), trained(2)]
    results = {}

    def work(seed):
        with babygrad.device(device):
            results[seed] = trained(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [results[1], results[2]] == alone


def test_no_grad_is_per_thread(device):
    inside, release = threading.Event(), threading.Event()

    def work():
        with no_grad():
            inside.set()
            release.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    assert babygrad.is_grad_enabled()
    assert (Tensor([1.0], requires_grad=True) * 2).requires_grad
    release.set()
    thread.join(10)


FORK = """
import os, sys
import numpy as np
from babygrad import Tensor, ops
def compute():
    x = Tensor(np.linspace(-1, 1, 512 * 512).reshape(512, 512), requires_grad=True)
    y = ops.softmax(ops.gelu(x @ x.transpose())).sum()
    y.backward()
    return float(x.grad.sum())
before = compute()
child = os.fork()
if child == 0:
    os._exit(0 if compute() == before else 3)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert compute() == before
print("forked")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_fork_then_compute(device):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        env={**os.environ, "BABYGRAD_DEVICE": device},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "forked\n"


POOL = """
import sys, threading
import numpy as np
from babygrad import Tensor, ops
from babygrad import _core
results = set()
for threads in (1, 2, 61):
    _core.set_num_threads(threads)
    for n in (1, 3, 100_000):
        x = Tensor(np.linspace(-1, 1, n))
        results.add((n, (ops.exp(x) * 2).sum().item()))
assert len(results) == 3, results
done = []
def work():
    done.append(ops.exp(Tensor(np.linspace(-1, 1, 100_000))).sum().item())
workers = [threading.Thread(target=work) for _ in range(4)]
for w in workers: w.start()
for w in workers: w.join(30)
assert len(done) == 4 and len(set(done)) == 1
print("pooled")
"""


def test_pools_of_any_size(device):
    if device != "cpu:cpp":
        pytest.skip("the pool is cpu:cpp's")
    run = subprocess.run(
        [sys.executable, "-c", POOL],
        env={**os.environ, "BABYGRAD_DEVICE": device},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "pooled\n"
