"""T16, T17, T19 and T20 of docs/semantics.md: sums, NaN and infinity, denormals, agreement."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, no_grad, ops

pytestmark = pytest.mark.usefixtures("twins")

INF, NAN = math.inf, math.nan


# ----- T16: accumulation, in float32 -----


@pytest.mark.slow
def test_a_sum_of_2_to_the_25_ones(device):
    ones = babygrad.from_numpy(np.broadcast_to(np.float32(1), (2**25, 2)).copy())
    with no_grad():
        np.testing.assert_array_equal(ops.summation(ones, axes=0).data, [2.0**25, 2.0**25])
        assert ops.summation(ones[:, 0]).item() == 2.0**25
        np.testing.assert_array_equal(ops.mean(ones, axes=0).data, [1, 1])
        assert ops.summation(ones.reshape(2, 2**25)[1]).item() == 2.0**25


@pytest.mark.slow
def test_the_mean_of_ten_million_rows(device):
    values = np.random.default_rng(0).uniform(250, 320, (10_000_000, 1)).astype("float32")
    exact = values.astype("float64").mean()
    with no_grad():
        x = babygrad.from_numpy(values)
        assert ops.mean(x, axes=0).item() == pytest.approx(exact, rel=1e-6)
        assert ops.mean(x).item() == pytest.approx(exact, rel=1e-6)


def test_a_million_pixels(device):
    x = Tensor.ones(1_000_000, requires_grad=False) / 255
    assert x.sum().item() == pytest.approx(3921.57, abs=0.01)


def test_dot_and_matmul_over_a_million(device):
    n = 1_000_000
    a = np.random.default_rng(0).uniform(0, 1, n).astype("float32")
    b = np.random.default_rng(1).uniform(0, 1, n).astype("float32")
    exact = float(a.astype("float64") @ b.astype("float64"))
    x, y = babygrad.from_numpy(a), babygrad.from_numpy(b)
    # Blocked float32 products: the error grows with the number of blocks at most.
    assert ops.dot(x, y).item() == pytest.approx(exact, rel=1e-4)
    assert (x.reshape(1, n) @ y.reshape(n, 1)).item() == pytest.approx(exact, rel=1e-4)
    assert (x * y).sum().item() == pytest.approx(exact, rel=1e-6)


def test_softmax_denominators_and_loss_means(device):
    n = 2**20 + 1
    y = ops.softmax(Tensor.zeros(1, n, requires_grad=False))
    assert y.data[0, 0] == pytest.approx(1 / n, rel=1e-5)
    assert ops.logsumexp(Tensor.zeros(n, requires_grad=False)).item() == pytest.approx(
        math.log(n), rel=1e-6
    )
    x = Tensor.zeros(n, 2, requires_grad=False)
    loss = ops.cross_entropy(x, np.zeros(n, np.int64)).item()
    assert loss == pytest.approx(math.log(2), rel=1e-6)
    target = babygrad.from_numpy(np.full((n, 1), 3.0, "float32"))
    assert ops.mse_loss(x[:, :1], target).item() == pytest.approx(9.0, rel=1e-6)


def test_a_broadcast_gradient_of_many_rows(device):
    bias = Tensor([0.0, 0.0], requires_grad=True)
    x = Tensor.zeros(2**20 + 1, 2, requires_grad=False)
    (x + bias).sum().backward()
    np.testing.assert_array_equal(bias.grad, [2**20 + 1, 2**20 + 1])


def test_a_thousand_micro_batches(device):
    w = Tensor([1.0], requires_grad=True)
    for _ in range(1000):
        (w * 0.1).backward()
    # 1000 float32 additions of about 0.1 n: at most half an ulp of the sum each.
    assert w.grad.item() == pytest.approx(100.0, abs=1000 * 0.5 * 2**-17)


# ----- T17: NaN and infinity -----


def test_relu(device, dtype):
    y = ops.relu(Tensor([NAN, -INF, INF, -0.0], dtype=dtype))
    np.testing.assert_array_equal(y.data, [NAN, 0, INF, 0])


@pytest.mark.parametrize("n", [*range(1, 20), 31, 32, 33, 63, 64, 65, 67])
def test_nan_propagates_from_every_position(device, dtype, n):
    rng = np.random.default_rng(n)
    for place in {0, 1, n // 3, n // 2, n - 2, n - 1} & set(range(n)):
        values = rng.normal(size=n)
        values[place] = NAN
        x = Tensor(values, dtype=dtype)
        wide = Tensor(np.stack([values, np.zeros(n)]), dtype=dtype)
        assert np.isnan(ops.max(x).item())
        assert np.isnan(ops.min(x).item())
        np.testing.assert_array_equal(np.isnan(ops.max(wide, axis=1).data), [True, False])
        np.testing.assert_array_equal(
            np.isnan(ops.min(wide.transpose(), axis=0).data), [True, False]
        )
        assert ops.argmax(x).item() == place
        assert ops.argmin(wide, 1).data[0] == place
        for y in (
            ops.maximum(x, 0.5),
            ops.minimum(0.5, x),
            ops.clamp(x, -1, 1),
            ops.relu(x),
            x + 1,
            ops.exp(x),
            ops.tanh(x),
            ops.sigmoid(x),
        ):
            np.testing.assert_array_equal(np.isnan(y.data), np.arange(n) == place)
        assert np.isnan(ops.softmax(x).data).all()
        assert np.isnan(x.sum().item())
        np.testing.assert_array_equal(x.isnan().data, np.arange(n) == place)


@pytest.mark.parametrize("place", range(9))
def test_nan_wins_in_max_pool(device, dtype, place):
    values = np.arange(9.0)
    values[place] = NAN
    y = ops.max_pool2d(Tensor(values.reshape(1, 1, 3, 3), dtype=dtype), 3)
    assert np.isnan(y.item())


def test_sums_comparisons_and_tests(device, dtype):
    assert np.isnan(Tensor([INF, -INF], dtype=dtype).sum().item())
    x = Tensor([NAN, INF, -INF, 1.0], dtype=dtype)
    for y in (x < 2, x > 2, x == x, x <= 2, x >= 2):
        assert not y.data[0]
    assert (x != x).tolist() == [True, False, False, False]
    assert x.isnan().tolist() == [True, False, False, False]
    assert x.isinf().tolist() == [False, True, True, False]
    assert x.isfinite().tolist() == [False, False, False, True]


# ----- T19: floating-point state -----

STATE = """
import sys, threading
import babygrad
from babygrad import Tensor, nn, ops
def check():
    assert sys.float_info.min / 2 != 0.0
check()
def work():
    x = Tensor.randn(64, 64)
    y = ops.softmax(ops.gelu(x @ x)).sum()
    y = y + ops.conv2d(x.reshape(1, 1, 64, 64), Tensor.randn(4, 1, 3, 3)).sum()
    y.backward()
    check()
work()
fresh = []
for target in (work, lambda: fresh.append(sys.float_info.min / 2)):
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
assert fresh[0] != 0.0
print("denormals kept")
"""


def test_denormals_survive_import_and_kernels(device):
    run = subprocess.run(
        [sys.executable, "-c", STATE],
        env={**os.environ, "BABYGRAD_DEVICE": device},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "denormals kept\n"


def test_flushing_changes_results_by_less_than_the_smallest_normal(device):
    switch = babygrad.set_flush_denormal
    tiny = np.finfo("float32").tiny
    x = Tensor(np.linspace(-4, 4, 1001) * float(tiny), dtype="float32")
    with no_grad():
        exact = (x * 0.3 + x * 0.1).data
        switch(True)
        try:
            flushed = (x * 0.3 + x * 0.1).data
            assert sys.float_info.min / 2 != 0.0
        finally:
            switch(False)
    assert np.abs(flushed - exact).max() <= 3 * tiny  # two products and a sum


# ----- T20: the backends agree (the conformance suite covers every member; here the edges) -----

# Of exp, log and tanh, correctly rounded by mpmath-like reasoning: the limits are exact.
EDGES = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN)],
    "log": [(0.0, -INF), (-0.0, -INF), (1.0, 0), (INF, INF), (-1.0, NAN), (NAN, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (100.0, 1), (NAN, NAN)],
}


@pytest.mark.parametrize("name", EDGES)
def test_special_values(device, dtype, name):
    points, expected = zip(*EDGES[name], strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for repeat in (1, 5):  # alone, and within vectors
            y = getattr(ops, name)(Tensor(points * repeat, dtype=dtype)).data
            np.testing.assert_array_equal(y, np.tile(np.array(expected, dtype), repeat))
            zero = np.array(expected * repeat) == 0
            np.testing.assert_array_equal(
                np.signbit(y[zero]), np.signbit(np.array(expected * repeat)[zero])
            )


def ulps(got, exact, dtype):
    """The distance from a float64 result, in units of the last place of `dtype`."""
    return np.abs(got.astype("float64") - exact) / np.spacing(np.abs(exact).astype(dtype)).astype(
        "float64"
    )


@pytest.mark.parametrize("name", ["exp", "log", "tanh"])
def test_subnormals_and_the_overflow_edge(device, name):
    tiny = float(np.finfo("float32").tiny)
    points = np.array(
        [tiny, tiny / 2, 1e-45, 88.7, 89.0, 88.72, -87.3, -87.4, -103.0, -104.5, 1e-4, 0.5],
        "float32",
    )
    points = points[points > 0] if name == "log" else points
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(points.astype("float64"))
    limit = float(np.finfo("float32").max)
    y = getattr(ops, name)(Tensor(points)).data
    over = exact > limit
    np.testing.assert_array_equal(np.isinf(y), over)
    # A subnormal result has an ulp of 1.4e-45; 4 of them are allowed there too.
    assert ulps(y[~over], exact[~over], "float32").max() <= 4


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid", "sqrt", "erf", "sin", "gelu"])
def test_elementwise_within_4_ulp_of_float64(device, name):
    x = np.random.default_rng(0).uniform(0.01, 8, 2000).astype("float32")
    exact = getattr(ops, name)(
        Tensor(x.astype("float64"), dtype="float64", device="cpu:numpy")
    ).data
    y = getattr(ops, name)(Tensor(x)).data
    assert ulps(y, exact, "float32").max() <= 4


def test_bit_identical_over_thread_counts():
    core = pytest.importorskip("babygrad._core", reason="the thread pool is cpu:cpp's")
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(size=(300, 400)), device="cpu:cpp", requires_grad=True)
    w = Tensor(rng.normal(size=(400, 200)), device="cpu:cpp")
    before, results = core.get_num_threads(), set()
    try:
        for threads in (1, 2, 3, 7, 64):
            core.set_num_threads(threads)
            x.grad = None
            y = ops.softmax(ops.gelu(x @ w)).sum(axes=0)
            y.sum().backward()
            results.add((y.data.tobytes(), x.grad.tobytes(), ops.mean(x).data.tobytes()))
    finally:
        core.set_num_threads(before)
    assert len(results) == 1
