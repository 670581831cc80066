"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from babygrad.optim.optimizer import Group, Hyperparameter, Optimizer, buffers
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend


class Adam(Optimizer):
    """Adaptive moment estimation.

    With g the gradient plus `weight_decay * p`, m and v zero at first, and t the number of steps
    that the parameter has made with this one:

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * (m / (1 - beta1 ** t)) / (sqrt(v / (1 - beta2 ** t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them.
    lr : float
        Learning rate; about the size of a step in each coordinate.
    beta1, beta2 : float
        Decay of the two moments, in [0, 1).
    eps : float
        Added to the root, against division by zero.
    weight_decay : float
        Weight of the L2 penalty, which here is a part of g.

    Attributes
    ----------
    m, v : dict
        Each parameter's moments, arrays.
    steps : dict
        Each parameter's t: a parameter that has no gradient for a while does not count on.

    Notes
    -----
    A float32 v holds at most 3.4e38, so that a gradient beyond sqrt(3.4e38 / (1 - beta2)), which
    is 5.8e20 by default, counts as that, and v stays at its largest number when gradients stay
    beyond 1.8e19: steps are then up to 1 / sqrt(1 - beta2) times too large. float64 has the same
    limits at 4.2e155 and 1.3e154.

    References
    ----------
    D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist(), optimizer.t
    ([0.75], 1)
    """

    states = ("m", "v", "steps")
    counts = ("steps",)
    m: dict[Tensor, NDArray]
    v: dict[Tensor, NDArray]
    steps: dict[Tensor, int]

    beta1 = Hyperparameter()
    beta2 = Hyperparameter()
    eps = Hyperparameter()
    weight_decay = Hyperparameter()

    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay
        )

    def needed_states(self, group: Group) -> tuple[str, ...]:
        return self.states

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        for p in params:
            self.steps[p] = self.steps.get(p, 0) + 1
        xp.adam_step(
            [p._data for p in params],
            grads,
            buffers(xp, self.m, params),
            buffers(xp, self.v, params),
            [self.steps[p] for p in params],
            group["lr"],
            group["beta1"],
            group["beta2"],
            group["eps"],
            group["weight_decay"],
            self.decoupled,
        )


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p shrinks by `1 - lr * weight_decay` first.

    Parameters
    ----------
    params, lr, beta1, beta2, eps
        As for `Adam`.
    weight_decay : float
        How much p shrinks in a step, per unit of `lr`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.AdamW([w], lr=0.25, weight_decay=1.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.5]
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)
