"""RMSprop and Adagrad: a learning rate for each coordinate, from the squares of its gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from babygrad.optim.optimizer import Group, Hyperparameter, Optimizer, buffers
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square.

    With g the gradient plus `weight_decay * p`, and v and b zero at first:

        v = alpha * v + (1 - alpha) * g * g
        b = momentum * b + g / (sqrt(v) + eps)
        p = p - lr * b

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them.
    lr : float
        Learning rate.
    alpha : float
        Decay of the mean square, in [0, 1).
    eps : float
        Added to the root, against division by zero.
    weight_decay : float
        Weight of the L2 penalty.
    momentum : float
        Of [0, 1); 0 keeps no `b`.

    Attributes
    ----------
    v, velocity : dict
        Each parameter's `v` and `b`, arrays.

    Notes
    -----
    A float32 v holds at most 3.4e38, so that a gradient beyond sqrt(3.4e38 / (1 - alpha)), which is
    1.8e20 by default, counts as that, and v stays at its largest number when gradients stay beyond
    1.8e19: steps are then up to 1 / sqrt(1 - alpha) times too large. float64 has the same limits at
    1.3e155 and 1.3e154.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5, rmsprop", Neural networks for machine learning, 2012.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.RMSprop([w], lr=0.25, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5]
    """

    states = ("v", "velocity")
    v: dict[Tensor, NDArray]
    velocity: dict[Tensor, NDArray]

    alpha = Hyperparameter()
    eps = Hyperparameter()
    weight_decay = Hyperparameter()
    momentum = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum
        )

    def needed_states(self, group: Group) -> tuple[str, ...]:
        return ("v",)  # there is no velocity while there is no momentum

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        momentum = group["momentum"]
        xp.rmsprop_step(
            [p._data for p in params],
            grads,
            buffers(xp, self.v, params),
            buffers(xp, self.velocity, params) if momentum else [],
            group["lr"],
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            momentum,
        )


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far.

    With g the gradient plus `weight_decay * p`, and v zero at first:

        v = v + g * g
        p = p - lr * g / (sqrt(v) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them.
    lr : float
        Learning rate.
    eps : float
        Added to the root, against division by zero.
    weight_decay : float
        Weight of the L2 penalty.

    Attributes
    ----------
    v : dict
        Each parameter's sum of squares, an array.

    Notes
    -----
    A float32 v holds at most 3.4e38: a gradient beyond 1.8e19 (1.3e154 in float64) counts as that,
    and v stays at its largest number once it is there.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", 2011.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.Adagrad([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.75]
    """

    states = ("v",)
    v: dict[Tensor, NDArray]

    eps = Hyperparameter()
    weight_decay = Hyperparameter()

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, eps=eps, weight_decay=weight_decay)

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        xp.adagrad_step(
            [p._data for p in params],
            grads,
            buffers(xp, self.v, params),
            group["lr"],
            group["eps"],
            group["weight_decay"],
        )


def shrink(xp: Backend, p: NDArray, lr: float, weight_decay: float) -> None:
    """Decoupled weight decay, in place: p = p * (1 - lr * weight_decay)."""
    if weight_decay:
        xp.setitem(p, ..., xp.multiply(p, 1 - lr * weight_decay))


def descend(xp: Backend, p: NDArray, direction: NDArray, lr: float) -> None:
    """A step, in place: p = p - lr * direction."""
    xp.setitem(p, ..., xp.subtract(p, xp.multiply(direction, lr)))
