"""Every differentiable operation against finite differences, first and second order.

The samples come from `tests/samples`; the finite differences here know nothing of babygrad's own
`gradcheck`. With float64 and steps of 1e-6, a central difference is good to about 1e-9 times the
size of the third derivative; the tolerance leaves room for derivatives of a few hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from samples import Array, Sample, discover

import babygrad
from babygrad import Function, Tensor, ops
from babygrad.ops._common import Member
from babygrad.ops._fused import Fused
from babygrad.ops.methods import METHODS

SAMPLES = discover()
STEP = 1e-6
TOLERANCE = 2e-6

# Public names of babygrad.ops whose results have no gradient: comparisons, tests, positions.
WITHOUT_GRADIENT = {
    "all", "any", "argmax", "argmin", "bitwise_and", "bitwise_invert", "bitwise_left_shift",
    "bitwise_or", "bitwise_right_shift", "bitwise_xor", "equal", "greater", "greater_equal",
    "isfinite", "isinf", "isnan", "less", "less_equal", "logical_and", "logical_not", "logical_or",
    "logical_xor", "not_equal", "one_hot",
}  # fmt: skip


def outputs_of(sample: Sample, inputs: Sequence[Tensor]) -> list[Tensor]:
    result = sample.call(*inputs)
    return [result] if isinstance(result, Tensor) else list(result)


def upstream_of(sample: Sample) -> list[Array]:
    """An upstream gradient for each output, every element another."""
    rng = np.random.default_rng(0)
    plain = [Tensor(a, dtype="float64") for a in sample.inputs]
    return [np.asarray(rng.uniform(0.5, 1.5, y.shape)) for y in outputs_of(sample, plain)]


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """One number that depends on every element."""
    total = Tensor(0.0, dtype="float64")
    for tensor, weight in zip(tensors, weights, strict=True):
        total = total + (tensor * weight).sum()
    return total


def leaves(arrays: Sequence[Array]) -> list[Tensor]:
    return [Tensor(a, dtype="float64", requires_grad=True) for a in arrays]


def gradients(
    sample: Sample, inputs: Sequence[Tensor], upstream: Sequence[Tensor], create_graph: bool
) -> Any:
    """The gradients of all outputs together with respect to the inputs."""
    value = weighted_sum(outputs_of(sample, inputs), upstream)
    return babygrad.grad(value, inputs, create_graph=create_graph, allow_unused=True)


def slope(sample: Sample, arrays: Sequence[Array], create_graph: bool) -> tuple[Any, Tensor]:
    """A weighted sum of the first derivatives: what the second derivatives differentiate.

    `arrays` are the inputs and then the upstream gradients, on which it depends as well.
    """
    tensors = leaves(arrays)
    count = len(sample.inputs)
    found = gradients(sample, tensors[:count], tensors[count:], create_graph)
    present = [g for g in found if g is not None]
    rng = np.random.default_rng(1)
    weights = [Tensor(rng.uniform(0.5, 1.5, g.shape), dtype="float64") for g in present]
    return tensors, weighted_sum(present, weights)


def assert_derivative(
    function: Callable[[list[Array]], float], arrays: Sequence[Array], analytic: Sequence[Array]
) -> None:
    """Compare with the central difference of `function` in every element of every input."""
    for i, (array, gradient) in enumerate(zip(arrays, analytic, strict=True)):
        assert gradient.shape == array.shape
        for where in np.ndindex(array.shape):
            values = []
            for step in (STEP, -STEP):
                moved = [a.copy() for a in arrays]
                moved[i][where] += step
                values.append(function(moved))
            numeric = (values[0] - values[1]) / (2 * STEP)
            assert abs(gradient[where] - numeric) <= TOLERANCE * max(1.0, abs(numeric)), (
                f"input {i} at {where}: analytic {gradient[where]}, numeric {numeric}"
            )


def as_arrays(found: Any, arrays: Sequence[Array]) -> list[Array]:
    pairs = zip(found, arrays, strict=True)
    return [np.zeros_like(array) if g is None else g.numpy() for g, array in pairs]


@pytest.mark.parametrize("sample", SAMPLES, ids=repr)
def test_first_derivative(sample: Sample, device: str) -> None:
    arrays = [a.copy() for a in sample.inputs]
    upstream = [Tensor(g, dtype="float64") for g in upstream_of(sample)]
    inputs = leaves(arrays)
    found = gradients(sample, inputs, upstream, create_graph=False)
    assert all(g is None or not g.requires_grad for g in found)

    def value(moved: list[Array]) -> float:
        plain = [Tensor(a, dtype="float64") for a in moved]
        return float(weighted_sum(outputs_of(sample, plain), upstream))

    assert_derivative(value, arrays, as_arrays(found, arrays))
    for tensor, before in zip(inputs, sample.inputs, strict=True):
        np.testing.assert_array_equal(tensor.data, before, "the operation changed its input")


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.second], ids=repr)
def test_second_derivative(sample: Sample, device: str) -> None:
    """The derivative of the gradients, by the inputs and by the upstream gradients."""
    arrays = [*sample.inputs, *upstream_of(sample)]
    tensors, total = slope(sample, arrays, create_graph=True)
    found = [None] * len(tensors)
    if total.requires_grad:
        found = babygrad.grad(total, tensors, allow_unused=True)
    assert_derivative(
        lambda moved: float(slope(sample, moved, create_graph=False)[1]),
        arrays,
        as_arrays(found, arrays),
    )


@pytest.mark.parametrize("sample", [s for s in SAMPLES if len(s.inputs) > 1], ids=repr)
def test_gradient_of_each_input_alone(sample: Sample, device: str) -> None:
    """An operation that computes only what is asked for gives the same for one input as for all."""
    upstream = [Tensor(g, dtype="float64") for g in upstream_of(sample)]
    together = gradients(sample, leaves(sample.inputs), upstream, create_graph=False)
    for i, array in enumerate(sample.inputs):
        inputs = [Tensor(a, dtype="float64") for a in sample.inputs]
        inputs[i].requires_grad_()
        value = weighted_sum(outputs_of(sample, inputs), upstream)
        alone = babygrad.grad(value, inputs[i], allow_unused=True) if value.requires_grad else None
        expected, got = as_arrays([together[i], alone], [array, array])
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def subclasses(cls: type[Function]) -> set[type[Function]]:
    return {cls}.union(*(subclasses(sub) for sub in cls.__subclasses__()))


def functions_of_ops() -> set[type[Function]]:
    """Every differentiable Function that the modules of babygrad.ops define."""
    return {
        cls
        for cls in subclasses(Function)
        if cls.__module__.startswith("babygrad.ops") and cls.differentiable
    }


def test_every_public_operation_has_a_sample() -> None:
    sampled = {sample.op for sample in SAMPLES}
    public = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert sampled - public - set(METHODS) == set(), "samples of operations that do not exist"
    missing = sorted(public - sampled - WITHOUT_GRADIENT)
    assert missing == [], f"add samples for {missing} to tests/samples"


def test_every_function_is_differentiated_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    differentiated: set[type[Function]] = set()

    def watched(original: Any) -> Any:
        def backward(self: Function, out_grad: Any, node: Any) -> Any:
            differentiated.add(type(self))
            return original(self, out_grad, node)

        return backward

    for cls in functions_of_ops():
        if "backward" in vars(cls):
            monkeypatch.setattr(cls, "backward", watched(vars(cls)["backward"]))
    with babygrad.device("cpu:numpy"):
        for sample in SAMPLES:
            tensors, total = slope(sample, [*sample.inputs, *upstream_of(sample)], True)
            if total.requires_grad:
                babygrad.grad(total, tensors, allow_unused=True)
    missing = sorted(
        cls.__qualname__
        for cls in functions_of_ops() - differentiated
        if not cls.__name__.startswith("_") and cls not in (Member, Fused)  # bases of others
    )
    assert missing == [], f"no sample in tests/samples differentiates {missing}"
