"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from babygrad.optim.optimizer import Group, Hyperparameter, Optimizer, buffers
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    With g the gradient plus `weight_decay * p`, and v zero at first:

        v = momentum * v + g
        p = p - lr * v                       or, with `nesterov`, p - lr * (g + momentum * v)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them.
    lr : float
        Learning rate.
    momentum : float
        Of [0, 1); 0 is plain gradient descent and keeps no `v`.
    weight_decay : float
        Weight of the L2 penalty.
    nesterov : bool
        Look ahead along the momentum.

    Attributes
    ----------
    velocity : dict
        Each parameter's `v`, an array.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum
    in deep learning", 2013, with the learning rate outside of v, as in PyTorch.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5]
    """

    states = ("velocity",)
    velocity: dict[Tensor, NDArray]

    momentum = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
        )

    def check_group(self, group: Group) -> None:
        if group["nesterov"] and not group["momentum"]:
            raise ValueError("SGD: nesterov needs momentum above 0")

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        momentum = group["momentum"]
        xp.sgd_step(
            [p._data for p in params],
            grads,
            buffers(xp, self.velocity, params) if momentum else [],
            group["lr"],
            momentum,
            group["weight_decay"],
            group["nesterov"],
        )
