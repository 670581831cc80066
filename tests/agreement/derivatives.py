"""A sample's values, gradients and second gradients, by PyTorch and by babygrad.

Both offer the same few functions, so one `derivatives` serves both: what is compared has then been
asked for in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import babygrad

Arrays = list[np.ndarray[Any, Any]]
STAGES = ("value", "first", "second")
REFUSALS = (ValueError, TypeError, IndexError)

# Rounding errors of a sum of K terms are near 8 eps sqrt(K) of the largest (babygrad.testing): with
# K = 10,000 terms, 1.8e-13. A second gradient is three such sums deep, and the terms may exceed the
# result by a digit: 5e-12, and as much on the other side, relative to the largest element.
TOLERANCE = 1e-11


class Refused(Exception):
    """The call raised, before there was anything to differentiate."""


class Derivatives(NamedTuple):
    """What is compared."""

    value: Arrays
    """The outputs."""
    first: Arrays
    """The gradients of the inputs, twice: as a training step gets them, and recorded. Fused kernels
    compute the first ones only."""
    second: Arrays
    """The gradients of the recorded ones, of inputs and cotangents."""


class Framework(NamedTuple):
    """What `derivatives` needs of either side."""

    grad: Callable[..., Any]
    tensor: Callable[[np.ndarray[Any, Any]], Any]
    array: Callable[[Any], np.ndarray[Any, Any]]


def babygrad_on(device: str) -> Framework:
    return Framework(
        babygrad.grad,
        lambda array: babygrad.from_numpy(array, device=device),
        lambda tensor: tensor.numpy(),
    )


def derivatives(framework: Framework, call: Callable[..., Any], sample: Any) -> Derivatives:
    """The sample's call, differentiated with random cotangents, and once more with others.

    Parameters
    ----------
    framework : Framework
    call : callable
        Takes `sample.input, *sample.args, **sample.kwargs`, with tensors of this framework.
    sample : torch's SampleInput

    Raises
    ------
    Refused
        When the call raises one of `REFUSALS`. What is raised later is an error of its own.
    """
    leaves: dict[int, Any] = {}
    x, args, kwargs = (
        _converted(framework, part, leaves)
        for part in (sample.input, tuple(sample.args), sample.kwargs)
    )
    inputs = [leaf for leaf in leaves.values() if leaf.requires_grad]
    try:
        outputs = _flat(call(x, *args, **kwargs))
    except REFUSALS as error:
        raise Refused(f"{type(error).__name__}: {error}") from error
    value = [np.array(framework.array(out)) for out in outputs]
    rng = np.random.default_rng(20240229)
    cotangents = [_random(framework, rng, out).requires_grad_() for out in outputs]
    plain, _ = _gradients(framework, outputs, inputs, cotangents, retain_graph=True)
    recorded, gradients = _gradients(framework, outputs, inputs, cotangents, create_graph=True)
    weights = [_random(framework, rng, leaf) for leaf in inputs]
    second, _ = _gradients(framework, gradients, inputs + cotangents, weights)
    return Derivatives(value, plain + recorded, second)


def _converted(framework: Framework, value: Any, leaves: dict[int, Any]) -> Any:
    """The same value with this framework's tensors in place of PyTorch's, in the same layout."""
    if hasattr(value, "requires_grad"):
        if id(value) not in leaves:
            tensor = framework.tensor(value.detach().numpy())
            leaves[id(value)] = tensor.requires_grad_() if value.requires_grad else tensor
        return leaves[id(value)]
    if isinstance(value, dict):
        return {key: _converted(framework, item, leaves) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_converted(framework, item, leaves) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _flat(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, tuple | list) else [outputs]


def _random(framework: Framework, rng: np.random.Generator, like: Any) -> Any:
    return framework.tensor(rng.uniform(0.5, 1.5, tuple(like.shape)))


def _gradients(
    framework: Framework, outputs: list[Any], inputs: list[Any], weights: list[Any], **options: Any
) -> tuple[Arrays, list[Any]]:
    """The gradients as arrays, zeros where an input has none, and as the tensors that they are."""
    live = [i for i, out in enumerate(outputs) if out is not None and out.requires_grad]
    found: tuple[Any, ...] = (None,) * len(inputs)
    if live and inputs:
        roots, upstream = ([each[i] for i in live] for each in (outputs, weights))
        found = framework.grad(roots, inputs, upstream, allow_unused=True, **options)
    arrays = [
        np.zeros(tuple(x.shape)) if g is None else np.array(framework.array(g))
        for x, g in zip(inputs, found, strict=True)
    ]
    return arrays, list(found)


def disagreement(got: Derivatives, want: Derivatives) -> tuple[str, str] | None:
    """The first stage at which two sides differ, and how; None when they agree."""
    for stage in STAGES:
        ours, theirs = getattr(got, stage), getattr(want, stage)
        if len(ours) != len(theirs):
            return stage, f"{len(ours)} arrays, PyTorch has {len(theirs)}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if message := _difference(a, b):
                return stage, f"{stage} {i}: {message}"
    return None


def _difference(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> str | None:
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{got.shape}, PyTorch has {want.dtype}{want.shape}"
    if want.dtype.kind != "f":
        wrong = got != want
    else:
        size = np.abs(want[np.isfinite(want)])
        bound = TOLERANCE * max(1.0, size.max(initial=0.0))
        with np.errstate(invalid="ignore"):
            close = (np.abs(got - want) <= bound) | (got == want)
        wrong = ~(close | (np.isnan(got) & np.isnan(want)))
    if not wrong.any():
        return None
    where = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{wrong.sum()} of {wrong.size} differ; at {where} {got[where]}, PyTorch {want[where]}"
