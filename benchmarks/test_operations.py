"""Single operations on every device; each result is checked against numpy's float64 first.

pytest benchmarks --benchmark-group-by=param:case
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks._cases import Case, cases

SELECTED = {
    "matmul": ["64x64x64", "256x256x256", "1024x1024x1024", "64x784x128"],
    "convolution": ["3x3, 32 to 32,", "3x3, 64 to 64,", "3x3, depthwise, 128", "first layer, 1 to"],
    "elementwise": ["add", "exp", "gelu"],
    "softmax and norms": ["1024x1000", "32x32x32x32"],
    "reductions": ["4096x4096"],
    "optimizers": ["sgd", "adam"],
}


def selected(group: str, quick: bool) -> list[Case]:
    of_group = [case for case in cases(quick) if case.group == group]
    return [c for c in of_group if quick or any(name in c.name for name in SELECTED[group])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    group = metafunc.function.__name__.removeprefix("test_").replace("_", " ")
    chosen = selected(group, metafunc.config.getoption("--quick"))
    metafunc.parametrize("case", chosen, ids=lambda case: case.name)


def test_matmul(case: Case, device: str, benchmark: Any) -> None:
    time_it(case, device, benchmark)


def test_convolution(case: Case, device: str, benchmark: Any) -> None:
    time_it(case, device, benchmark)


def test_elementwise(case: Case, device: str, benchmark: Any) -> None:
    time_it(case, device, benchmark)


def test_softmax_and_norms(case: Case, device: str, benchmark: Any) -> None:
    time_it(case, device, benchmark)


def test_reductions(case: Case, device: str, benchmark: Any) -> None:
    time_it(case, device, benchmark)


def test_optimizers(case: Case, device: str, benchmark: Any) -> None:
    time_it(case, device, benchmark)


def time_it(case: Case, device: str, benchmark: Any) -> None:
    if device == "torch":
        from benchmarks import operations_torch

        layout = "torch channels_last" if case.has_images else "torch"
        run, _ = operations_torch.prepare(case, layout)
    else:
        from benchmarks import operations_babygrad

        run, _ = operations_babygrad.prepare(case, "babygrad", device)
    benchmark(run)
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        unit = "GFLOP/s" if case.flops else "GB/s"
        benchmark.extra_info[unit] = round((case.flops or case.bytes) / seconds / 1e9, 2)
