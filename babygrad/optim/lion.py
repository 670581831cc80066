"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from babygrad.optim.adaptive import descend, shrink
from babygrad.optim.optimizer import Group, Hyperparameter, Optimizer, buffers
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend


class Lion(Optimizer):
    """Steps of equal size in every coordinate, in the direction of the momentum's sign.

    With m zero at first:

        p = p * (1 - lr * weight_decay)
        p = p - lr * sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them.
    lr : float
        The size of a step in each coordinate; about a tenth of what suits Adam.
    beta1, beta2 : float
        Weight of the momentum in the step, and its decay, in [0, 1).
    weight_decay : float
        How much p shrinks in a step, per unit of `lr`.

    Attributes
    ----------
    m : dict
        Each parameter's momentum, an array.

    References
    ----------
    X. Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.Lion([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.75]
    """

    states = ("m",)
    m: dict[Tensor, NDArray]

    beta1 = Hyperparameter()
    beta2 = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, beta1=beta1, beta2=beta2, weight_decay=weight_decay)

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        lr, beta1, beta2 = group["lr"], group["beta1"], group["beta2"]
        for p, g, m in zip(params, grads, buffers(xp, self.m, params), strict=True):
            mixed = xp.add(xp.multiply(m, beta1), xp.multiply(g, 1 - beta1))
            shrink(xp, p._data, lr, group["weight_decay"])
            descend(xp, p._data, xp.sign(mixed), lr)
            xp.setitem(m, ..., xp.add(xp.multiply(m, beta2), xp.multiply(g, 1 - beta2)))
