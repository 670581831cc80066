"""The suite's optimizers: one step for many parameters."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from babygrad.backends.aliases import Array
from babygrad.testing.arrays import FLOATS, LENGTHS, frozen_call, layouts, values
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import FUSED, check, check_exact, check_sum

floats = pytest.mark.parametrize("dtype", FLOATS)


class OptimizerSuite:
    @floats
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    @pytest.mark.parametrize("nesterov", [False, True])
    def test_sgd_step(self, xp: Any, nesterov: bool, momentum: float, dtype: str) -> None:
        for decay, layout in itertools.product((0.0, 0.1), range(5)):
            ps, gs, vs = (_parameters(dtype, seed, layout) for seed in range(3))
            wants = []
            for p, g, v in zip(map(exact, ps), map(exact, gs), map(exact, vs), strict=True):
                g = g + decay * p
                v = momentum * v + g
                step = g + momentum * v if nesterov else v
                wants.append((p - 0.1 * (step if momentum else g), v))
            before = [g.copy() for g in gs]
            states = vs if momentum else []
            assert xp.sgd_step(ps, gs, states, 0.1, momentum, decay, nesterov) is None
            for p, v, g, old, (want, state) in zip(ps, vs, gs, before, wants, strict=True):
                check(p, want, dtype, FUSED, scale=9, of="sgd_step")
                if momentum:
                    check(v, state, dtype, FUSED, scale=9, of="momentum buffer")
                check_exact(g, old, "gradient")

    @floats
    @pytest.mark.parametrize("decoupled", [False, True])
    def test_adam_step(self, xp: Any, decoupled: bool, dtype: str) -> None:
        for decay, layout in itertools.product((0.0, 0.1), range(5)):
            ps, gs, vs, ms = _moments(dtype, layout)
            steps, wants = [1 + i for i in range(len(ps))], []
            for p, g, m, v, t in zip(
                *(map(exact, a) for a in (ps, gs, ms, vs)), steps, strict=True
            ):
                if decoupled:
                    p = p * (1 - exact(0.1) * decay)
                else:
                    g = g + decay * p
                m, v = 0.9 * m + exact(1 - 0.9) * g, 0.99 * v + exact(1 - 0.99) * g * g
                m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.99**t)
                wants.append((p - 0.1 * m_hat / (np.sqrt(v_hat) + 1e-8), m, v))
            rates = (0.1, 0.9, 0.99, 1e-8, decay, decoupled)
            assert xp.adam_step(ps, gs, ms, vs, steps, *rates) is None
            _check_updates((ps, ms, vs), wants, dtype, "adam_step")

    @floats
    def test_first_adam_step(self, xp: Any, dtype: str) -> None:
        """lr times the sign of the gradient, whatever its size: the bias is corrected."""
        p, m, v = (np.zeros(3, dtype) for _ in range(3))
        g = np.array([100, -1e-3, 0.5], dtype)
        xp.adam_step([p], [g], [m], [v], [1], 1e-3, 0.9, 0.999, 1e-8, 0.0, False)
        want = -1e-3 * np.sign(exact(g)) / (1 + 1e-8 / np.abs(exact(g)))
        check(p, want, dtype, FUSED * 4, of="adam_step")  # 1 - 0.999 loses 10 bits in float32

    @floats
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_rmsprop_step(self, xp: Any, momentum: float, dtype: str) -> None:
        for decay, layout in itertools.product((0.0, 0.1), range(5)):
            ps, gs, vs, bs = _moments(dtype, layout)
            wants = []
            for p, g, v, b in zip(*(map(exact, a) for a in (ps, gs, vs, bs)), strict=True):
                g = g + decay * p
                v = 0.9 * v + exact(1 - 0.9) * g * g
                step = momentum * b + g / (np.sqrt(v) + 0.1)
                wants.append((p - 0.1 * step, v, step if momentum else b))
            buffers = bs if momentum else []
            assert xp.rmsprop_step(ps, gs, vs, buffers, 0.1, 0.9, 0.1, decay, momentum) is None
            _check_updates((ps, vs, bs), wants, dtype, "rmsprop_step")

    @floats
    def test_adagrad_step(self, xp: Any, dtype: str) -> None:
        for decay, layout in itertools.product((0.0, 0.1), range(5)):
            ps, gs, vs, _ = _moments(dtype, layout)
            wants = []
            for p, g, v in zip(*(map(exact, a) for a in (ps, gs, vs)), strict=True):
                g = g + decay * p
                wants.append((p - 0.1 * g / (np.sqrt(v + g * g) + 0.1), v + g * g))
            assert xp.adagrad_step(ps, gs, vs, 0.1, 0.1, decay) is None
            _check_updates((ps, vs), wants, dtype, "adagrad_step")

    @floats
    @pytest.mark.parametrize("name", ["adam_step", "rmsprop_step", "adagrad_step"])
    def test_gradients_whose_squares_overflow(self, xp: Any, name: str, dtype: str) -> None:
        """Such an element still makes its first step; NaN and infinities stay what they are."""
        largest = float(np.finfo(dtype).max)
        some = [1, -largest, math.sqrt(largest) * 4, math.nan, math.inf, -1, 7]
        for n in LENGTHS:
            p, m, v = (np.zeros(n, dtype) for _ in range(3))
            g = np.resize(np.array(some), n).astype(dtype)
            arguments = {
                "adam_step": ([m], [v], [1], 0.5, 0.9, 0.999, 0.0, 0.0, False),
                "rmsprop_step": ([v], [], 0.05, 0.99, 0.0, 0.0, 0.0),
                "adagrad_step": ([v], 0.5, 0.0, 0.0),
            }
            getattr(xp, name)([p], [g], *arguments[name])
            finite = np.isfinite(g)
            want = -0.5 * np.sign(exact(g[finite]))
            check(p[finite], want, dtype, FUSED * 16, of=name)  # 1 - 0.999 loses 10 bits
            assert np.isfinite(v[finite]).all()
            assert not np.isfinite(p[~finite]).any()

    @floats
    def test_sum_of_squares(self, xp: Any, dtype: str) -> None:
        for shape in ((3, 4, 5), (70, 300), (1, 1), (0, 2)):
            x = values(shape, dtype)
            for layout, given in layouts(x):
                got = frozen_call(xp.sum_of_squares, given)
                assert isinstance(got, np.ndarray)
                want = (exact(x) ** 2).sum()
                check_sum(got, want, "float64", x.size, 9, f"sum_of_squares, {layout}")
        assert np.isfinite(xp.sum_of_squares(np.full(4, 1e30, dtype)))


def _moments(dtype: str, layout: int) -> list[list[Array]]:
    """Parameters, gradients, mean squares and means."""
    ps, gs, ms, vs = (_parameters(dtype, seed, layout) for seed in range(4))
    for v in vs:
        np.abs(v, out=v)
    return [ps, gs, vs, ms]


def _check_updates(found: Any, wants: Any, dtype: str, of: str) -> None:
    """Lists of arrays against the exact arrays of each parameter."""
    for i, want in enumerate(wants):
        for arrays, exactly in zip(found, want, strict=True):
            check(arrays[i], exactly, dtype, FUSED, scale=30, of=of)


def _parameters(dtype: str, seed: int, layout: int) -> list[Array]:
    shapes: list[tuple[int, ...]] = [(3, 4), (LENGTHS[-1], 1), (1, 1), (100, 101)]
    return [list(layouts(values(s, dtype, seed=seed)))[layout][1] for s in shapes]
