"""Whole training steps on every device; the losses are checked against float64 on cpu:numpy first.

pytest benchmarks/test_steps.py --benchmark-group-by=param:name
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from benchmarks import models_babygrad
from benchmarks._training import CHECKED_STEPS, STEPS, State, check_losses


@cache
def reference(name: str, quick: bool) -> tuple[State, list[float]]:
    """The weights that all start from, and the losses of the first steps in float64."""
    model, run = models_babygrad.training_step(name, "cpu:numpy", quick, "float64")
    return models_babygrad.weights(model), [run() for _ in range(CHECKED_STEPS)]


@pytest.mark.parametrize("name", STEPS)
def test_step(name: str, device: str, benchmark: Any, pytestconfig: pytest.Config) -> None:
    quick: bool = pytestconfig.getoption("--quick")
    start, losses = reference(name, quick)
    if device == "torch":
        from benchmarks import models_torch

        _, run = models_torch.training_step(name, "torch channels_last", quick, start)
    else:
        _, run = models_babygrad.training_step(name, device, quick)
    check_losses(f"{name}, {device}", [run() for _ in range(CHECKED_STEPS)], losses)
    benchmark(run)
    if benchmark.stats is not None:
        flops = STEPS[name].flops * (4 if quick else STEPS[name].batch)
        benchmark.extra_info["GFLOP/s"] = round(flops / benchmark.stats.stats.median / 1e9, 2)
