"""Losses: how far a prediction is from its target, as one number or one for each element.

`cross_entropy` and `nll_loss` take logits or log-probabilities with class labels; `mse_loss`,
`l1_loss`, `huber_loss`, `bce_with_logits` and `kl_div` take two tensors of equal shape, which is
checked: (100, 1) beside (100,) would broadcast to 10,000 differences without a word.

`reduction` is "mean", "sum" or "none" everywhere.
"""

from __future__ import annotations

from typing import Any

from babygrad._factories import class_ids
from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._axes import normalize_axis
from babygrad.ops._common import lifted, like
from babygrad.ops._fused import check_channels, floats
from babygrad.ops._settings import check_positive, check_probability, check_reduction
from babygrad.ops.activation import softplus
from babygrad.ops.arithmetic import divide
from babygrad.ops.elementwise import exp, log, square, where
from babygrad.ops.indexing import gather, take
from babygrad.ops.shape import permute, unsqueeze
from babygrad.ops.softmax import logsoftmax, softmax
from babygrad.tensor import Tensor


class CrossEntropy(Function):
    """Logits (N, C) -> logsumexp(x) - x[target], (N,); rows with target -1 are 0."""

    uses = ("0",)

    def __init__(self, target: NDArray) -> None:
        self.target = target

    def forward(self, x: NDArray) -> NDArray:
        loss, self.lse = self.xp.cross_entropy(x, self.target)
        return loss

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        (x,) = node._inputs
        if not is_grad_enabled():
            arrays = out_grad._data, x._data, self.lse, self.target
            return like(self.xp.cross_entropy_grad(*arrays), out_grad)
        column = unsqueeze(like(self.target, x), -1)
        one_hot = column == like(self.xp.arange(0, x.shape[1], 1, "int64"), x)
        p = softmax(where(column < 0, 0.0, x))  # a row left out may hold anything
        return where(column < 0, 0.0, (p - one_hot) * unsqueeze(out_grad, -1))


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    axis: int = 1,
) -> Tensor:
    """Minus the log-probability that the softmax of `x` gives to the target.

    Parameters
    ----------
    x : Tensor (N, C, ...), or (C,) for a single sample
        Logits, with the classes on `axis`.
    target : Tensor, array or list
        Class labels of the shape of `x` without `axis`, whole numbers in [0, C); or, of the shape
        of `x`, the probabilities of the classes, floats.
    weight : Tensor (C,), optional
        What each class counts. The mean is weighted with it.
    ignore_index : int
        A label that does not count, whatever its row holds. The mean of none is NaN (as PyTorch).
    label_smoothing : float in [0, 1]
        The share of the target that is spread evenly over all classes (Szegedy et al., 2016).

    Raises
    ------
    ValueError
        When the shapes do not fit.
    TypeError
        When probabilities are integers or bools.
    IndexError
        When a label is out of range; the message has its value and position.

    Notes
    -----
    A logit of -inf makes its class's loss infinite; with the target probability or the weight 0 it
    adds 0, and no gradient (PyTorch: NaN). Smoothing gives every class a share.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.ops.cross_entropy(babygrad.Tensor([[1e4, 0.0]]), [1]).item()
    10000.0
    """
    op = "cross_entropy"
    x, weight = floats(op, x, weight)
    if label_smoothing != 0:
        check_probability(op, "label_smoothing", label_smoothing)
    rows, shape = _rows(op, x, axis, weight)
    if getattr(target, "shape", None) == x.shape:
        amounts = _rows(op, _probabilities(op, target, x), axis, None)[0]
        amounts = amounts * (1 - label_smoothing) + label_smoothing / rows.shape[1]
        losses = -_times(_weigh(amounts, weight), logsoftmax(rows)).sum(-1)
        # The mean is over the samples, whatever the classes count, as in PyTorch.
        return _reduce(op, losses.reshape(shape), reduction)
    ids = _labels(op, x, target, shape, rows.shape[1], ignore_index)
    counts = _counts(ids, weight, rows)
    losses = _of_labels(rows, ids, weight, counts, label_smoothing)
    return _weighted_mean(op, losses, counts, shape, reduction)


def _of_labels(
    rows: Tensor, ids: Tensor, weight: Tensor | None, counts: Tensor | None, smoothing: float
) -> Tensor:
    """Each row's loss, with a share of the mean of those that all classes have."""
    losses = CrossEntropy(ids._data)(rows)
    if counts is not None and weight is not None:
        losses = _times(counts, losses)
    if not smoothing:
        return losses
    left_out = ids < 0
    logs = logsoftmax(where(unsqueeze(left_out, -1), 0.0, rows))
    total = (logs if weight is None else _times(weight, logs)).sum(-1)
    spread = where(left_out, 0.0, total * (-smoothing / rows.shape[1]))
    # A share of 0 would make NaN of an infinite loss.
    return losses * (1 - smoothing) + spread if smoothing < 1 else spread


def _weigh(amounts: Tensor, weight: Tensor | None) -> Tensor:
    return amounts if weight is None else amounts * weight


def _probabilities(op: str, target: Any, x: Tensor) -> Tensor:
    """A target of the shape of the scores: probabilities, not labels of a wrong shape."""
    tensor = lifted(op, target, x)
    if tensor.dtype.kind != "f":
        raise TypeError(
            f"{op}: target has the shape of x, {x.shape}, and dtype {tensor.dtype}; probabilities "
            "are floats, and labels have the shape of x without its classes"
        )
    found: list[Tensor] = floats(op, tensor)
    return found[0]


def nll_loss(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = 1,
) -> Tensor:
    """Minus the log-probability of the target: `cross_entropy` after its `logsoftmax`.

    The parameters are those of `cross_entropy`; `x` holds log-probabilities, of which one of -inf
    adds 0 where its class has the weight 0.
    """
    x, weight = floats("nll_loss", x, weight)
    rows, shape = _rows("nll_loss", x, axis, weight)
    ids = _labels("nll_loss", x, target, shape, rows.shape[1], ignore_index)
    picked = gather(rows, 1, unsqueeze(where(ids < 0, 0, ids), 1)).reshape(ids.shape)
    counts = _counts(ids, weight, rows)
    losses = -picked if counts is None else _times(counts, where(ids < 0, 0.0, -picked))
    return _weighted_mean("nll_loss", losses, counts, shape, reduction)


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared difference.

    Raises
    ------
    ValueError
        When the shapes differ, even where they would broadcast.
    """
    x, target = _pair("mse_loss", x, target)
    return _reduce("mse_loss", square(x - target), reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute difference; its derivative at 0 is 0. Shapes must be equal."""
    x, target = _pair("l1_loss", x, target)
    return _reduce("l1_loss", (x - target).abs(), reduction)


def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared difference up to `delta`, linear beyond (Huber, 1964).

    Shapes must be equal, and `delta` positive.
    """
    x, target = _pair("huber_loss", x, target)
    check_positive("huber_loss", "delta", delta)
    distance = (x - target).abs()
    near = distance <= delta
    # Far out the square, of which nothing is taken, would overflow.
    losses = where(near, square(where(near, distance, 0.0)) * 0.5, (distance - 0.5 * delta) * delta)
    return _reduce("huber_loss", losses, reduction)


def bce_with_logits(
    x: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """The binary cross-entropy of `sigmoid(x)`, stable for every logit.

    Parameters
    ----------
    x, target : Tensor
        Logits, and probabilities of the same shape.
    weight, pos_weight : Tensor, optional
        What each element counts, and what its positive part counts; they broadcast.

    Notes
    -----
    Loss and gradient keep their digits where the prediction is sure and right, however small they
    are. What counts 0 adds 0, beside an infinite logit too.

    Examples
    --------
    >>> import babygrad
    >>> print(f"{babygrad.ops.bce_with_logits([-18.0], [0.0]).item():.6g}")
    1.523e-08
    """
    op = "bce_with_logits"
    x, target = _pair(op, x, target)
    # -target log s(x) - (1 - target) log s(-x): two terms of one sign, of which none cancels.
    positive = target if pos_weight is None else target * pos_weight
    losses = _times(1 - target, softplus(x)) + _times(positive, softplus(-x))
    if weight is not None:
        losses = _times(lifted(op, weight, x), losses)
    return _reduce(op, losses, reduction)


def kl_div(x: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence `target * (log(target) - x)`, elementwise.

    Parameters
    ----------
    x : Tensor
        Log-probabilities.
    target : Tensor
        Probabilities of the same shape, or their logarithms with `log_target`. Where the
        probability is 0 the divergence is 0, with a gradient of 0, even if `x` is -inf there.
    reduction : {"mean", "sum", "none", "batchmean"}
        "mean" divides by the number of elements, as in PyTorch; the divergence itself is
        "batchmean", which divides by the length of axis 0.
    """
    check_reduction("kl_div", reduction, "batchmean")
    x, target = _pair("kl_div", x, target)
    if log_target:
        p = exp(target)
        absent = p == 0
        losses = p * (where(absent, 0.0, target) - where(absent, 0.0, x))
    else:
        present = target > 0
        logs = log(where(present, target, 1.0))
        losses = where(present, target * logs, 0.0) - _times(target, x)
    if reduction == "batchmean":
        total = losses.sum()
        return divide(total, x.shape[0]) if x.ndim else total
    return _reduce("kl_div", losses, reduction)


def _times(amount: Tensor, loss: Tensor) -> Tensor:
    """The loss as often as it counts; 0, with a gradient of 0, where an infinite one counts 0."""
    xp = loss._device.backend
    infinite = xp.isinf(loss._data)
    if xp.any(infinite):
        lost = xp.logical_and(infinite, xp.equal(amount._data, 0))
        loss = where(like(lost, loss), 0.0, loss)
    return amount * loss


def _pair(op: str, x: Any, target: Any) -> list[Tensor]:
    x, target = floats(op, lifted(op, x, target), lifted(op, target, x))
    if x.shape != target.shape:
        raise ValueError(
            f"{op}: the prediction has shape {x.shape} and the target {target.shape}; "
            "they must be equal, for a loss does not broadcast"
        )
    return [x, target]


def _reduce(op: str, losses: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    check_reduction(op, reduction)
    return losses


def _weighted_mean(
    op: str, losses: Tensor, counts: Tensor | None, shape: tuple[int, ...], reduction: str
) -> Tensor:
    """The reduction of losses of which each counts as much as `counts` says, or 1."""
    if reduction == "mean" and counts is not None:
        return losses.sum() / counts.sum()
    return _reduce(op, losses if losses.shape == shape else losses.reshape(shape), reduction)


def _rows(op: str, x: Tensor, axis: int, weight: Tensor | None) -> tuple[Tensor, tuple[int, ...]]:
    """(N, C, ...) -> (N * ..., C) with the classes last, and the shape without them."""
    if x.ndim == 0:
        raise ValueError(f"{op}: x has shape (); it needs an axis of classes")
    axis = normalize_axis(op, axis if x.ndim > 1 else 0, x.shape)
    check_channels(op, "weight", weight, x.shape[axis])
    if x.ndim == 2 and axis == 1:
        return x, x.shape[:1]
    others = tuple(i for i in range(x.ndim) if i != axis)
    shape = tuple(x.shape[i] for i in others)
    classes = x.shape[axis]
    count = x.size // classes if classes else 0
    return permute(x, (*others, axis)).reshape((count, classes)), shape


def _labels(
    op: str, x: Tensor, target: Any, shape: tuple[int, ...], classes: int, ignore_index: int
) -> Tensor:
    """Checked labels, int64 in a row, -1 for those that are ignored."""
    ids = class_ids(target, classes, op, ignore_index)
    if ids.shape != shape:
        raise ValueError(
            f"{op}: x has shape {x.shape} and the labels {ids.shape}; "
            f"labels must have the shape of x without its classes, {shape}"
        )
    return like(ids.reshape(-1), x)


def _counts(ids: Tensor, weight: Tensor | None, rows: Tensor) -> Tensor | None:
    """What each row counts in the mean: its class's weight, or 1; 0 when it is ignored.

    None when there are rows, and each counts 1.
    """
    if weight is None and ids.size and ids._data.min() >= 0:
        return None
    present = (ids >= 0).astype(rows.dtype)
    return present if weight is None else take(weight, where(ids < 0, 0, ids), 0) * present
