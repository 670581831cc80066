"""The samples on which babygrad does not do what PyTorch does, each kind with its reason.

A deviation says what happens instead: the call is "refused", or a stage of the comparison differs
("value", "first", "second"; the stages before it agree), or the result is "random" and nothing can
be compared. A sample that deviates without being listed fails, one that is listed and agrees fails,
and so does an entry that no sample needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Deviation(NamedTuple):
    outcome: str
    reason: str
    names: tuple[str, ...]
    applies: Callable[[Any], bool]
    """Whether it is the sample's."""


def _argument(sample: Any, name: str, position: int) -> Any:
    """An argument after the first, given by name or by position."""
    given = sample.args[position] if len(sample.args) > position else None
    return sample.kwargs.get(name, given)


def _axis_of_scalar(sample: Any) -> bool:
    return sample.input.ndim == 0 and _argument(sample, "dim", 0) is not None


def _axes(sample: Any) -> tuple[int, ...]:
    axes = _argument(sample, "dim", 0)
    return axes if isinstance(axes, tuple) else () if axes is None else (axes,)


def _of_matrix(sample: Any) -> bool:
    """An order for the matrices of two axes, which is not that of their elements."""
    order, dim = _argument(sample, "ord", 0), _argument(sample, "dim", 1)
    axes = sample.input.ndim if dim is None else len(dim) if isinstance(dim, tuple | list) else 1
    return axes == 2 and order not in (None, "fro")


def _root_of_zero(sample: Any) -> bool:
    """Whether a norm of order p is the p-th root of 0; of nothing PyTorch has one up to order 2."""
    order = _argument(sample, "ord", 0)
    power = 2 if order in (None, "fro") else order
    root = power not in (0, 1, math.inf, -math.inf)
    return root and not sample.input.any() and (sample.input.numel() > 0 or power > 2)


def _has(name: str) -> Callable[[Any], bool]:
    return lambda sample: bool(sample.kwargs.get(name))


def _always(sample: Any) -> bool:
    return True


DEVIATIONS = (
    # ----- axes -----
    Deviation(
        "refused",
        "a 0-d tensor has no axis to exchange or to index along, as in numpy",
        ("gather", "index_copy", "index_fill", "scatter_add", "transpose"),
        _axis_of_scalar,
    ),
    Deviation(
        "value",
        "what is taken from a 0-d tensor has the shape of the indices, as in numpy",
        ("index_select",),
        _axis_of_scalar,
    ),
    Deviation(
        "refused",
        "squeeze of an axis that is longer than 1 is an error, as in numpy",
        ("squeeze", "squeeze.multiple"),
        lambda sample: (
            sample.input.ndim > 0 and any(sample.input.shape[axis] != 1 for axis in _axes(sample))
        ),
    ),
    Deviation(
        "refused",
        "an index has as many axes as the tensor, also when it is empty",
        ("gather",),
        lambda sample: sample.args[1].ndim != sample.input.ndim,
    ),
    Deviation(
        "refused",
        "concatenate takes tensors of one rank; PyTorch lets an empty one pass, for old code",
        ("cat",),
        lambda sample: len({tensor.ndim for tensor in sample.input}) > 1,
    ),
    # ----- reductions -----
    Deviation(
        "refused",
        "norm is of vectors, not of matrices",
        ("linalg.norm", "linalg.norm.subgradients_at_zero"),
        _of_matrix,
    ),
    Deviation(
        "second",
        "the length of a vector has the derivative 0 at 0, and so a second one; PyTorch has NaN",
        ("linalg.norm", "linalg.norm.subgradients_at_zero"),
        _root_of_zero,
    ),
    # ----- shapes and indexing -----
    Deviation(
        "refused",
        "pad does not cut off: a negative width is an error, as in numpy",
        ("constant_pad_nd", "nn.functional.pad.constant"),
        lambda sample: min(sample.args[0]) < 0,
    ),
    Deviation(
        "refused",
        "pad has one mode, constant",
        tuple(
            f"nn.functional.pad.{mode}"
            for mode in ("circular", "reflect", "replicate", "replicate_negative")
        ),
        _always,
    ),
    Deviation(
        "refused",
        "a[index] = value overwrites; scatter_add adds up",
        ("index_put",),
        _has("accumulate"),
    ),
    Deviation(
        "refused",
        "the number of classes must be given: a batch need not have the last one",
        ("nn.functional.one_hot",),
        lambda sample: _argument(sample, "num_classes", 0) == -1,
    ),
    # ----- networks -----
    Deviation(
        "refused",
        "softplus has neither beta nor threshold; nn.functional.logsigmoid is compared instead",
        ("nn.functional.softplus",),
        _always,
    ),
    Deviation(
        "random",
        "another generator draws another mask",
        ("nn.functional.dropout",),
        lambda sample: (
            sample.kwargs.get("training", True) and sample.kwargs.get("p", 0.5) not in (0.0, 1.0)
        ),
    ),
    Deviation(
        "random",
        "another generator draws another mask",
        ("nn.functional.scaled_dot_product_attention",),
        _has("dropout_p"),
    ),
    Deviation(
        "refused",
        "the places of the maxima are not returned",
        ("nn.functional.max_pool2d",),
        _has("return_indices"),
    ),
    Deviation(
        "refused",
        "a mean is divided by the number of elements",
        ("nn.functional.avg_pool2d",),
        lambda sample: _argument(sample, "divisor_override", 5) is not None,
    ),
    Deviation(
        "refused",
        "interpolate is for images, (N, C, H, W)",
        ("nn.functional.interpolate.nearest",),
        lambda sample: sample.input.ndim != 4,
    ),
    Deviation(
        "refused",
        "batch_norm needs an axis of channels after that of the batch",
        ("nn.functional.batch_norm",),
        lambda sample: sample.input.ndim < 2,
    ),
)


def deviation(name: str, sample: Any) -> Deviation | None:
    """The entry that a sample of an operation falls under, the first of them."""
    return next((d for d in DEVIATIONS if name in d.names and d.applies(sample)), None)
