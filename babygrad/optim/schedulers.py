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

from babygrad.optim._checks import as_number, check_keys, check_optimizer, count, number
from babygrad.optim.optimizer import Optimizer


class Scheduler:
    """Base class of the schedules that depend on nothing but the step.

    Parameters
    ----------
    optimizer : Optimizer
        Each of its groups keeps its own base. A group that is added later brings its learning rate
        as the base, and is at the same step as the others from the next `step()` on.

    Attributes
    ----------
    t : int
        The number of calls of `step()`.
    base : list of float
        The base of each group.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        self.base = [float(group["lr"]) for group in optimizer.param_groups]
        self._go_to(0, self.base)

    def learning_rate(self, base: float, t: int) -> float:
        """The learning rate at step t, from 0, of a group whose own is `base`."""
        raise NotImplementedError(f"{type(self).__name__} must define learning_rate(base, t)")

    def step(self) -> None:
        """Set the learning rates of the next step."""
        self._go_to(self.t + 1, self._all_bases())

    def _all_bases(self) -> list[float]:
        """The base of each group, also of those that were added since the last step."""
        groups = self.optimizer.param_groups
        if len(groups) < len(self.base):
            raise ValueError(
                f"{type(self).__name__}: the optimizer has {len(groups)} parameter groups, fewer "
                f"than the {len(self.base)} that the schedule was made for"
            )
        return [*self.base, *(float(group["lr"]) for group in groups[len(self.base) :])]

    def _go_to(self, t: int, base: list[float]) -> None:
        rates = [self.learning_rate(own, t) for own in base]
        self.t, self.base = t, base
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here."""
        return {"t": self.t, "base": self._all_bases()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the schedule that gave `state` stood.

        A subclass that keeps more takes its own keys out first.

        Raises
        ------
        TypeError, ValueError
            When `state` has other keys, or is of another number of groups; nothing has changed
            then.
        """
        op = f"{type(self).__name__}.load_state_dict"
        check_keys(op, "the state", state, ("t", "base"))
        t, base = count(op, "t", state["t"]), state["base"]
        if not isinstance(base, list | tuple):
            raise TypeError(f"{op}: 'base' is a {type(base).__name__}; it must be a list")
        base = [number(op, f"base {i}", own) for i, own in enumerate(base)]
        groups = len(self.optimizer.param_groups)
        if len(base) != groups:
            raise ValueError(
                f"{op}: the state is of {len(base)} parameter groups, the optimizer has {groups}"
            )
        self._go_to(t, base)


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
        self.step_size = count("StepLR", "step_size", step_size, 1)
        self.gamma = number("StepLR", "gamma", gamma)
        super().__init__(optimizer)

    def learning_rate(self, base: float, t: int) -> float:
        try:
            rate = base * self.gamma ** (t // self.step_size)
        except OverflowError:
            rate = base and math.inf
        if rate == math.inf:
            raise ValueError(
                f"StepLR: gamma (={self.gamma:g}) has raised the learning rate {base:g} beyond all "
                f"floats at step {t}; choose one of at most 1"
            )
        return rate


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
        self.total_steps = count("CosineLR", "total_steps", total_steps, 1)
        self.min_lr = number("CosineLR", "min_lr", min_lr)
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
        check_optimizer("LinearWarmup", optimizer)
        self.warmup_steps = count("LinearWarmup", "warmup_steps", warmup_steps, 1)
        if not isinstance(after, Scheduler | None):
            raise TypeError(
                f"LinearWarmup: after is a {type(after).__name__}; it must be a Scheduler"
            )
        self.after = after
        if after is not None:
            # `after` may have moved the optimizer's rates to its own step 0 already.
            for group, base in zip(optimizer.param_groups, after._all_bases(), strict=True):
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
        total_steps = count("OneCycleLR", "total_steps", total_steps, 1)
        pct_start = _part("OneCycleLR", "pct_start", pct_start)
        self.max_lr = number("OneCycleLR", "max_lr", max_lr)
        self.first_lr = self.max_lr / _divisor("OneCycleLR", "div_factor", div_factor)
        self.last_lr = self.first_lr / _divisor("OneCycleLR", "final_div_factor", final_div_factor)
        if not math.isfinite(self.first_lr) or not math.isfinite(self.last_lr):
            raise ValueError(
                f"OneCycleLR: max_lr (={max_lr!r}) by div_factor (={div_factor!r}) and "
                f"final_div_factor (={final_div_factor!r}) must be finite"
            )
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
        No learning rate is lowered below it.

    Attributes
    ----------
    best : float
        The best metric so far; before there is one, the infinity that all others are better than.
    waited : int
        The number of `step(metric)` since the best, or since the rates were lowered.

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
        check_optimizer("ReduceLROnPlateau", optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode (={mode!r}) must be 'min' or 'max'")
        self.optimizer, self.mode = optimizer, mode
        self.factor = _part("ReduceLROnPlateau", "factor", factor)
        self.patience = count("ReduceLROnPlateau", "patience", patience)
        self.threshold = number("ReduceLROnPlateau", "threshold", threshold)
        self.min_lr = number("ReduceLROnPlateau", "min_lr", min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.waited = 0

    def step(self, metric: float) -> None:
        """Take note of the metric, and lower the learning rates if it has not improved for long.

        Parameters
        ----------
        metric : float, or Tensor of one element
            NaN is no improvement, and neither is an infinity on the worse side. The infinity on
            the better side is the best for good.

        Raises
        ------
        TypeError
            When it is no number.
        """
        found = as_number(metric)
        if found is None:
            raise TypeError(f"ReduceLROnPlateau.step: metric (={metric!r}) must be a number")
        if self._improves(found):
            self.best, self.waited = found, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.waited = 0
            for group in self.optimizer.param_groups:
                lowered = max(group["lr"] * self.factor, self.min_lr)
                group["lr"] = min(group["lr"], lowered)

    def _improves(self, metric: float) -> bool:
        # Of an infinite best there is no part that a new one could be asked to be better by.
        margin = 0.0 if math.isinf(self.best) else self.threshold * abs(self.best)
        if self.mode == "min":
            return metric < self.best - margin
        return metric > self.best + margin

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on from here; the rates are the optimizer's state."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the schedule that gave `state` stood.

        Raises
        ------
        TypeError, ValueError
            When `state` has other keys, or what is no number; nothing has changed then.
        """
        op = "ReduceLROnPlateau.load_state_dict"
        check_keys(op, "the state", state, ("best", "waited"))
        best, waited = as_number(state["best"]), count(op, "waited", state["waited"])
        if best is None or math.isnan(best):
            raise ValueError(f"{op}: best (={state['best']!r}) must be a number")
        self.best, self.waited = best, waited


def _cosine(start: float, end: float, part: float) -> float:
    """Half a cosine from `start` at part 0 to `end` at part 1, constant from there on."""
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def _part(op: str, name: str, value: Any) -> float:
    found = as_number(value)
    if found is None or not 0 < found < 1:
        raise ValueError(f"{op}: {name} (={value!r}) must be between 0 and 1")
    return found


def _divisor(op: str, name: str, value: Any) -> float:
    found = as_number(value)
    if found is None or not found > 0:
        raise ValueError(f"{op}: {name} (={value!r}) must be above 0")
    return found
