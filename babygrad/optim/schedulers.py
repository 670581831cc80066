"""Learning rates that change during training.

A schedule is made around an optimizer, whose learning rates become its base; `step()` after every
optimizer step (or every epoch, whichever its counts are meant in) sets the next one. A subclass of
`Scheduler` says only what the learning rate is at step t:

    class HalfWay(Scheduler):
        def learning_rate(self, base, t):
            return base if t < 500 else base / 2
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.optim.optimizer import Optimizer


class Scheduler:
    """Base class of the schedules that depend on nothing but the step.

    Parameters
    ----------
    optimizer : Optimizer
        Each of its groups keeps its own base.

    Attributes
    ----------
    t : int
        The number of calls of `step()`.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.base = [float(group["lr"]) for group in optimizer.param_groups]
        self.t = 0
        self._apply()

    def learning_rate(self, base: float, t: int) -> float:
        """The learning rate at step t, from 0, of a group whose own is `base`."""
        raise NotImplementedError(f"{type(self).__name__} must define learning_rate(base, t)")

    def step(self) -> None:
        """Set the learning rates of the next step."""
        self.t += 1
        self._apply()

    def _apply(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = self.learning_rate(base, self.t)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here."""
        return {"t": self.t, "base": list(self.base)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the schedule that gave `state` stood."""
        if len(state["base"]) != len(self.base):
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state is of {len(state['base'])} "
                f"parameter groups, the optimizer has {len(self.base)}"
            )
        self.t, self.base = state["t"], list(state["base"])
        self._apply()


class StepLR(Scheduler):
    """The base times `gamma` to the number of whole `step_size`s so far.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.SGD([w], lr=1.0)
    >>> schedule = babygrad.optim.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     schedule.step()
    >>> optimizer.lr
    0.25
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        _check_count("StepLR", "step_size", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def learning_rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class CosineLR(Scheduler):
    """From the base down to `min_lr` along half a cosine, in `total_steps`; `min_lr` afterwards.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq. 5.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.SGD([w], lr=1.0)
    >>> schedule = babygrad.optim.CosineLR(optimizer, total_steps=2)
    >>> schedule.step()
    >>> round(optimizer.lr, 6)
    0.5
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, min_lr: float = 0.0) -> None:
        _check_count("CosineLR", "total_steps", total_steps)
        self.total_steps, self.min_lr = total_steps, min_lr
        super().__init__(optimizer)

    def learning_rate(self, base: float, t: int) -> float:
        return _cosine(base, self.min_lr, t / self.total_steps)


class LinearWarmup(Scheduler):
    """From base / `warmup_steps` up to the base in equal parts; then the schedule `after`, if any.

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        The step from which on the learning rate is the full one, less one.
    after : Scheduler, optional
        What follows; its step 0 is step `warmup_steps` here. Call `step()` of this one only.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, sec. 2.2.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.SGD([w], lr=1.0)
    >>> after = babygrad.optim.CosineLR(optimizer, total_steps=1000)
    >>> schedule = babygrad.optim.LinearWarmup(optimizer, 4, after)
    >>> optimizer.lr
    0.25
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, after: Scheduler | None = None
    ) -> None:
        _check_count("LinearWarmup", "warmup_steps", warmup_steps)
        self.warmup_steps, self.after = warmup_steps, after
        if after is not None:
            # `after` may have moved the optimizer's rates to its own step 0 already.
            for group, base in zip(optimizer.param_groups, after.base, strict=True):
                group["lr"] = base
        super().__init__(optimizer)

    def learning_rate(self, base: float, t: int) -> float:
        if t < self.warmup_steps:
            return base * (t + 1) / self.warmup_steps
        return base if self.after is None else self.after.learning_rate(base, t - self.warmup_steps)


class OneCycleLR(Scheduler):
    """Up to `max_lr` and down to almost nothing within `total_steps`, both along half a cosine.

    Parameters
    ----------
    optimizer : Optimizer
        The base of its groups is not used.
    max_lr : float
        The peak.
    total_steps : int
        The length of the cycle; the rate stays at its last value afterwards.
    pct_start : float
        The part of the cycle that goes up, in (0, 1).
    div_factor : float
        The cycle starts at `max_lr / div_factor`.
    final_div_factor : float
        It ends at `max_lr / div_factor / final_div_factor`.

    References
    ----------
    L. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", 2018, with cosines as in PyTorch.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.SGD([w], lr=1.0)
    >>> schedule = babygrad.optim.OneCycleLR(optimizer, max_lr=0.5, total_steps=100)
    >>> round(optimizer.lr, 6)
    0.02
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        _check_count("OneCycleLR", "total_steps", total_steps)
        if not 0 < pct_start < 1:
            raise ValueError(f"OneCycleLR: pct_start (={pct_start!r}) must be between 0 and 1")
        self.max_lr = max_lr
        self.first_lr = max_lr / div_factor
        self.last_lr = self.first_lr / final_div_factor
        self.last = total_steps - 1
        self.peak = pct_start * total_steps - 1
        super().__init__(optimizer)

    def learning_rate(self, base: float, t: int) -> float:
        if t <= self.peak:
            return _cosine(self.first_lr, self.max_lr, t / self.peak if self.peak > 0 else 1.0)
        return _cosine(self.max_lr, self.last_lr, (t - self.peak) / (self.last - self.peak))


class ReduceLROnPlateau:
    """Multiply the learning rates by `factor` when a metric has stopped to improve.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether the metric improves by falling or by rising.
    factor : float
        In (0, 1).
    patience : int
        The number of `step(metric)` without improvement to wait for.
    threshold : float
        By which part of the best value so far a new one must be better.
    min_lr : float
        Lower bound of the learning rates.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> optimizer = babygrad.optim.SGD([w], lr=1.0)
    >>> schedule = babygrad.optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for validation_loss in (3.0, 2.0, 2.0, 2.0):
    ...     schedule.step(validation_loss)
    >>> optimizer.lr
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode (={mode!r}) must be 'min' or 'max'")
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor (={factor!r}) must be between 0 and 1")
        self.optimizer, self.mode, self.factor = optimizer, mode, factor
        self.patience, self.threshold, self.min_lr = patience, threshold, min_lr
        self.best = math.inf if mode == "min" else -math.inf
        self.waited = 0

    def step(self, metric: float) -> None:
        """Take note of the metric, and lower the learning rates if it has not improved for long."""
        if self._improves(float(metric)):
            self.best, self.waited = float(metric), 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.waited = 0
            for group in self.optimizer.param_groups:
                group["lr"] = max(group["lr"] * self.factor, self.min_lr)

    def _improves(self, metric: float) -> bool:
        if math.isinf(self.best):
            return not math.isnan(metric)
        margin = self.threshold * abs(self.best)
        if self.mode == "min":
            return metric < self.best - margin
        return metric > self.best + margin

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here; the rates are the optimizer's state."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the schedule that gave `state` stood."""
        self.best, self.waited = state["best"], state["waited"]


def _cosine(start: float, end: float, part: float) -> float:
    """Half a cosine from `start` at part 0 to `end` at part 1, constant from there on."""
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def _check_count(name: str, setting: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {setting} (={value!r}) must be a positive integer")
