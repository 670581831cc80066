"""The accuracy of scores, where it can be told what they are the scores of.

A metric never guesses: where the classes or the labels cannot be told for certain it is NaN.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from babygrad.tensor import NDArray, Tensor

IGNORED = -100


def correct(scores: Any, labels: Tensor, loss_fn: Any = None) -> tuple[float, int]:
    """How many labels have the highest of the scores, and how many labels count.

    Parameters
    ----------
    scores : Tensor
        Of any shape with an axis of classes. What is no Tensor has no accuracy.
    labels : Tensor
        Of the scores' shape without the classes.
    loss_fn : callable, optional
        Its attribute `axis` says where the classes are, and `ignore_index` which label does not
        count, as those of `nn.CrossEntropyLoss`. For a loss without `axis` the classes are on
        axis 1, and the labels integers. Labels of -100 do not count by default.

    Returns
    -------
    tuple of float and int
        (NaN, 0) when the shapes do not fit, there is only one class, the classes of a loss without
        `axis` could as well be on another axis, or a label is no class.

    Examples
    --------
    >>> import babygrad
    >>> scores = babygrad.Tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    >>> correct(scores, babygrad.Tensor([1, 1, -100], dtype="int64"))
    (1.0, 2)
    """
    axis = _class_axis(scores, labels, getattr(loss_fn, "axis", None))
    if axis is None:
        return math.nan, 0
    values, wanted = scores.data, labels.data
    counted = _counted(wanted, values.shape[axis], ignored_label(loss_fn))
    if counted is None:
        return math.nan, 0
    right = values.argmax(axis) == wanted
    if np.isnan(values).any():
        # The highest of scores with a NaN is NaN, which makes no class the first.
        right &= ~np.isnan(values.max(axis))
    if counted is not True:
        right &= counted
    return float(np.count_nonzero(right)), right.size if counted is True else int(counted.sum())


def ignored_label(loss_fn: Any) -> int:
    """The label that does not count for a loss."""
    ignored = getattr(loss_fn, "ignore_index", IGNORED)
    return int(ignored) if isinstance(ignored, int | np.integer) else IGNORED


def _counted(labels: NDArray, classes: int, ignored: int) -> NDArray | Literal[True] | None:
    """Which labels count, True for all; None when one that counts is no class."""
    usual = labels.dtype.kind != "f" and labels.size and not 0 <= ignored < classes
    if usual and labels.min() >= 0 and labels.max() < classes:
        return True  # the usual case, without arrays on the way
    counted: NDArray = labels != ignored
    is_class = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    return counted if (is_class | ~counted).all() else None


def _class_axis(scores: Any, labels: Tensor, axis: Any) -> int | None:
    """Where the classes are: on the axis that the loss names, or on 1 if on no other."""
    if not isinstance(scores, Tensor) or scores.ndim == 0:
        return None
    if not isinstance(axis, int | np.integer):
        fitting = [i for i in range(1, scores.ndim) if _without(scores, i) == labels.shape]
        axis = 1 if fitting == [1] and labels.dtype.kind != "f" else None
    elif scores.ndim == 1:
        axis = 0  # of a single sample, as in cross_entropy
    elif -scores.ndim <= axis < scores.ndim:
        axis %= scores.ndim
    else:
        axis = None
    if axis is None or _without(scores, axis) != labels.shape or scores.shape[axis] < 2:
        return None
    return int(axis)


def _without(scores: Tensor, axis: int) -> tuple[int, ...]:
    return scores.shape[:axis] + scores.shape[axis + 1 :]
