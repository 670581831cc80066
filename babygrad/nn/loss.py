"""Losses as modules: settings in the constructor, prediction and target in the call."""

from __future__ import annotations

from typing import Any

from babygrad import ops
from babygrad.nn.module import Module
from babygrad.ops._common import lifted, whole
from babygrad.ops._settings import (
    check_positive,
    check_probability,
    check_reduction,
    check_switches,
)
from babygrad.tensor import Tensor


class SoftmaxLoss(Module):
    """The mean cross-entropy of logits (N, C) and labels (N,), as in the book."""

    # Where the classes are and what does not count, for those who ask, as the Trainer does.
    axis = 1
    ignore_index = -100

    def forward(self, logits: Tensor, y: Any) -> Tensor:
        return ops.cross_entropy(logits, y)


class CrossEntropyLoss(Module):
    """`ops.cross_entropy`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
        axis: int = 1,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _check_class_weight(name, weight)
        check_probability(name, "label_smoothing", label_smoothing)
        check_reduction(name, reduction)
        self.weight = weight
        self.ignore_index = whole(name, "ignore_index", ignore_index)
        self.label_smoothing = label_smoothing
        self.reduction = reduction
        self.axis = whole(name, "axis", axis)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.cross_entropy(
            x,
            target,
            self.weight,
            self.ignore_index,
            self.label_smoothing,
            self.reduction,
            self.axis,
        )


class NLLLoss(Module):
    """`ops.nll_loss`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        axis: int = 1,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _check_class_weight(name, weight)
        check_reduction(name, reduction)
        self.weight = weight
        self.ignore_index = whole(name, "ignore_index", ignore_index)
        self.reduction = reduction
        self.axis = whole(name, "axis", axis)

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.nll_loss(x, target, self.weight, self.ignore_index, self.reduction, self.axis)


class MSELoss(Module):
    """`ops.mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction)
        self.reduction = reduction

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.mse_loss(x, target, self.reduction)


class L1Loss(Module):
    """`ops.l1_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction)
        self.reduction = reduction

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.l1_loss(x, target, self.reduction)


class HuberLoss(Module):
    """`ops.huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction)
        check_positive(name, "delta", delta)
        self.reduction = reduction
        self.delta = delta

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.huber_loss(x, target, self.reduction, self.delta)


class BCEWithLogitsLoss(Module):
    """`ops.bce_with_logits`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction)
        _check_numbers(name, "weight", weight)
        _check_numbers(name, "pos_weight", pos_weight)
        self.weight = weight
        self.reduction = reduction
        self.pos_weight = pos_weight

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.bce_with_logits(x, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Module):
    """`ops.kl_div`."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__()
        name = type(self).__name__
        check_reduction(name, reduction, "batchmean")
        check_switches(name, log_target=log_target)
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, x: Tensor, target: Any) -> Tensor:
        return ops.kl_div(x, target, self.reduction, self.log_target)


def _check_class_weight(name: str, weight: Any) -> None:
    """Raise unless there are no weights of the classes, or they are numbers on one axis."""
    _check_numbers(name, "weight", weight)
    if weight is not None and lifted(name, weight).ndim != 1:
        shape = lifted(name, weight).shape
        raise ValueError(
            f"{name}: weight has shape {shape}; it must be (C,), one value for each class"
        )


def _check_numbers(name: str, role: str, value: Any) -> None:
    """Raise unless a setting is None, or numbers of which a tensor can be made."""
    if value is None:
        return
    try:
        lifted(name, value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{name}: {role} is a {kind}; it must be a Tensor or None") from None
