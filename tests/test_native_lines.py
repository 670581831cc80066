"""Softmax's gradients and layer normalization of cpu:cpp, on lines of every length and layout."""

from typing import Any

import numpy as np
import pytest
from native_kernels import kernel

_core = pytest.importorskip("babygrad._core", reason="the extension is not built")

EPS = float(np.finfo(np.float32).eps)


def normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


# Strips of fewer columns than a vector, of a part of one, of one and of several strips; blocks of
# rows that end early; rows outside and inside of the lines.
@pytest.mark.parametrize("shape", [(5, 3), (1, 17), (64, 128), (65, 131), (130, 300), (2, 70, 137)])
@pytest.mark.parametrize("axis", [-1, -2])
def test_gradients_of_softmax(isa: str, shape: tuple[int, ...], axis: int) -> None:
    gy, x = normal(*shape), normal(*shape[::-1]).T
    y = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    one = np.broadcast_to(gy[..., :1], shape)
    dense = np.ascontiguousarray(y)
    for p, g in ((y, gy), (dense, gy), (y, np.asfortranarray(gy)), (y, one), (dense, one)):
        g64, p64 = g.astype(np.float64), p.astype(np.float64)
        size = np.abs(g64 * p64).sum(axis, keepdims=True)  # of the sum's terms
        exact = p64 * (g64 - (g64 * p64).sum(axis, keepdims=True))
        error = np.abs(kernel("softmax_grad")(g, p, axis) - exact)
        # A sum's error is below 64 + 4 roundings of its terms; three more follow.
        assert (error <= EPS * (70 * p64 * size + 3 * np.abs(p64 * g64))).all()
        log_p = np.log(p)
        p64 = np.exp(log_p.astype(np.float64))
        size = np.abs(g64).sum(axis, keepdims=True)
        exact = g64 - p64 * g64.sum(axis, keepdims=True)
        error = np.abs(kernel("log_softmax_grad")(g, log_p, axis) - exact)
        assert (error <= EPS * (75 * p64 * size + 3 * np.abs(g64))).all()


@pytest.mark.parametrize("rows", [1, 3, 4, 70])
@pytest.mark.parametrize("n", [1, 7, 8, 31, 257, 1000])
def test_layer_norm_and_its_gradient(isa: str, rows: int, n: int) -> None:
    x, gy, w, b = normal(rows, n) + 1, normal(rows, n + 1)[:, :n].copy(), normal(n), normal(n)
    y, mean, rstd = kernel("layer_norm")(x, w, b, 1e-3)
    x64, g64 = x.astype(np.float64), gy.astype(np.float64)
    centred = x64 - x64.mean(1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-3)
    x_hat = centred * scale
    np.testing.assert_allclose(mean, x64.mean(1, keepdims=True), rtol=0, atol=70 * EPS * 6)
    # x is below 6; an error of the mean is multiplied by rstd, which is 32 at most.
    bound = 200 * EPS * 6 * scale.max()
    np.testing.assert_allclose(rstd, scale, rtol=bound)
    np.testing.assert_allclose(y, x_hat * w + b, rtol=0, atol=bound * np.abs(w).max())
    gx, gw, gb = kernel("layer_norm_grad")(gy, x, w, mean, rstd)
    inner = g64 * w
    means = inner.mean(1, keepdims=True), (inner * x_hat).mean(1, keepdims=True)
    exact = (inner - means[0] - x_hat * means[1]) * scale
    size = np.abs(inner).max() * max(1, np.abs(x_hat).max()) ** 2
    np.testing.assert_allclose(gx, exact, rtol=0, atol=bound * size * scale.max())
    np.testing.assert_allclose(gb, g64.sum(0), rtol=0, atol=rows * EPS * np.abs(g64).sum(0).max())
    size = np.abs(g64).sum(0).max() * max(1, np.abs(x_hat).max())
    np.testing.assert_allclose(gw, (g64 * x_hat).sum(0), rtol=0, atol=(rows * EPS + bound) * size)


def test_threads_do_not_change_strips() -> None:
    gy, y = normal(300, 1000), normal(300, 1001)[:, :1000].copy()
    before = _core.get_num_threads()
    results = set()
    try:
        for count in (1, 2, 3):
            _core.set_num_threads(count)
            results.add(kernel("softmax_grad")(gy, y, 0).tobytes())
    finally:
        _core.set_num_threads(before)
    assert len(results) == 1
