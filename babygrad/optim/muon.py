"""Muon, with AdamW for what is no matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from babygrad.optim._norm import euclidean_norm
from babygrad.optim.adam import Adam
from babygrad.optim.adaptive import descend, shrink
from babygrad.optim.optimizer import Group, Hyperparameter, Optimizer, buffers
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend

# The quintic a x + b x^3 + c x^5, tuned by Jordan so that five rounds bring every singular value
# of (0, 1] near 1; it converges to about [0.7, 1.2], which trains as well as exact ones.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(Adam):
    """Momentum with all singular values made about 1, for the weight matrices of hidden layers.

    With m zero at first:

        m = momentum * m + (1 - momentum) * g
        u = (1 - momentum) * g + momentum * m if nesterov else m
        p = p * (1 - lr * weight_decay)
        p = p - lr * sqrt(max(1, columns / max(rows, 1))) * orthogonalize(u)

    A weight of shape (in, out), as `nn.Linear` keeps it, so moves more when it widens. Biases,
    embeddings, convolutions and the last layer belong in a group with `"adamw": True`, whose
    steps are those of `AdamW`.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Matrices, or groups:
        `[{"params": matrices}, {"params": others, "adamw": True, "lr": 3e-4}]`.
    lr : float
        Learning rate.
    momentum : float
        Of [0, 1).
    weight_decay : float
        How much p shrinks in a step, per unit of `lr`.
    nesterov : bool
        Look ahead along the momentum.
    rounds : int
        Rounds of the Newton-Schulz iteration.
    beta1, beta2, eps : float
        For groups with `"adamw": True`.

    Attributes
    ----------
    m, v, steps : dict
        The momentum of a matrix; the state of `AdamW` for other parameters.

    Raises
    ------
    ValueError
        When a parameter outside of a group with `"adamw": True` has not two axes.

    References
    ----------
    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon/. Computed in the parameter's dtype (float16 in
    float32), not in bfloat16.

    Examples
    --------
    >>> from babygrad import nn, optim
    >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    >>> hidden = model[0].weight
    >>> others = [p for p in model.parameters() if p is not hidden]
    >>> groups = [{"params": [hidden]}, {"params": others, "adamw": True, "lr": 1e-3}]
    >>> optim.Muon(groups, lr=0.02).param_groups[1]["lr"]
    0.001
    """

    decoupled = True

    momentum = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        nesterov: bool = True,
        rounds: int = 5,
        beta1: float = 0.9,
        beta2: float = 0.95,
        eps: float = 1e-8,
    ) -> None:
        # Not Adam's own constructor, whose hyperparameters are fewer.
        Optimizer.__init__(
            self,
            params,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            rounds=rounds,
            adamw=False,
        )

    def check_group(self, group: Group) -> None:
        for position, p in enumerate(group["params"]):
            if p.ndim != 2 and not group["adamw"]:
                raise ValueError(
                    f"Muon: parameter {position} has shape {p.shape}, which is no matrix; "
                    'put it in a group with "adamw": True'
                )

    def needed_states(self, group: Group) -> tuple[str, ...]:
        return self.states if group["adamw"] else ("m",)

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        if group["adamw"]:
            super().update(xp, params, grads, group)
            return
        momentum = group["momentum"]
        for p, g, m in zip(params, grads, buffers(xp, self.m, params), strict=True):
            fresh = xp.multiply(g, 1 - momentum)
            xp.setitem(m, ..., xp.add(xp.multiply(m, momentum), fresh))
            u = xp.add(fresh, xp.multiply(m, momentum)) if group["nesterov"] else m
            rows, columns = p.shape
            lr = group["lr"]
            shrink(xp, p._data, lr, group["weight_decay"])
            direction = orthogonalize(xp, u, group["rounds"])
            descend(xp, p._data, direction, lr * math.sqrt(max(1.0, columns / rows)))


def orthogonalize(xp: Backend, x: NDArray, rounds: int) -> NDArray:
    """The matrix with the singular vectors of `x` and singular values near 1.

    Each round of the Newton-Schulz iteration applies QUINTIC to every singular value.
    """
    rows, columns = x.shape
    if rows > columns:
        return xp.permute_dims(orthogonalize(xp, xp.permute_dims(x, (1, 0)), rounds), (1, 0))
    a, b, c = QUINTIC
    norm = euclidean_norm([(xp, x)])
    # Infinite elements have no direction, and infinity times 0 would be a warning of numpy's.
    x = xp.multiply(x, 1 / (norm + 1e-7) if norm < math.inf else math.nan)
    for _ in range(rounds):
        gram = xp.matmul(x, xp.permute_dims(x, (1, 0)))
        polynomial = xp.add(xp.multiply(gram, b), xp.multiply(xp.matmul(gram, gram), c))
        x = xp.add(xp.multiply(x, a), xp.matmul(polynomial, x))
    return x
