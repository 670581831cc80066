"""babygrad and PyTorch agree on PyTorch's own samples, to the second derivative, in float64.

`tests/agreement/` has the tables. Without PyTorch, which is optional, the samples are skipped.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from agreement import ADAPTERS, comparison, pytorch
from agreement.derivatives import Refused, babygrad_on, derivatives, disagreement
from agreement.deviations import DEVIATIONS, deviation

from babygrad import Function, Tensor, ops


@pytest.mark.parametrize("name", ADAPTERS)
def test_samples_agree(name: str, device: str) -> None:
    try:
        samples = comparison.samples(name)
    except pytorch.Unavailable as reason:
        pytest.skip(str(reason))
    assert samples, "nothing to compare"
    used: Counter[str] = Counter()
    for sample, want in samples:
        expected = deviation(name, sample)
        if expected:
            used[expected.reason] += 1
        outcome, detail = comparison.outcome(name, sample, want, device)
        assert outcome == (expected.outcome if expected else "agrees"), f"{detail} for {sample}"
    unused = {d.reason for d in DEVIATIONS if name in d.names} - set(used)
    assert not unused, "no sample deviates for this reason"


class Slope(Function):
    """x squared, with a gradient that is off by `error`, or right but a constant."""

    uses = ("0",)

    def __init__(self, error: float = 0.0, *, constant: bool = False) -> None:
        self.error = error
        self.constant = constant

    def forward(self, x):
        return x * x

    def backward(self, out_grad, node):
        (x,) = node._inputs
        return out_grad * (2 + self.error) * (x.detach() if self.constant else x)


@pytest.mark.parametrize(
    ("function", "stage"),
    [
        (ops.square, None),
        (Slope(), None),
        (lambda x: ops.square(x) * (1 + 1e-9), "value"),
        (lambda x: ops.square(x).reshape(2, 2), "value"),
        (lambda x: ops.square(x).astype("float32"), "value"),
        (lambda x: ops.square(x).detach(), "first"),
        (Slope(1e-9), "first"),
        (Slope(constant=True), "second"),
    ],
)
def test_the_comparison_sees_the_stage_that_is_wrong(function, stage) -> None:
    x = Tensor(np.linspace(0.5, 2.0, 4), dtype="float64", requires_grad=True)
    sample = SimpleNamespace(input=x, args=(), kwargs={})
    side = babygrad_on("cpu:numpy")
    want = derivatives(side, ops.square, sample)
    found = disagreement(derivatives(side, function, sample), want)
    assert (found and found[0]) == stage


def test_only_the_call_itself_may_refuse() -> None:
    sample = SimpleNamespace(input=Tensor([1.0]), args=(), kwargs={"alpha": 2.0})
    with pytest.raises(Refused, match="alpha"):
        derivatives(babygrad_on("cpu:numpy"), ops.square, sample)
