"""What all optimizers share: parameter groups, the walk over gradients, saving and loading.

An optimizer is a subclass of `Optimizer` with a method `update(xp, params, grads, group)`, which
writes new values into the arrays of `params` through the backend `xp`. The state that it keeps for
a parameter, such as a momentum buffer, is in dictionaries keyed by the parameter, whose names are
listed in `states`; from that list the base class saves and restores them. Those that hold integers
instead of arrays are in `counts` too.

float16 is for storage: while `update` runs, a float16 parameter's array and gradient are float32,
and so are the buffers that it makes. The new values are rounded once, when it is done.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from babygrad import _state
from babygrad.dtypes import FLOAT16, FLOAT32, is_float
from babygrad.optim import _checks, _loading
from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend

Group = dict[str, Any]
# The parameters of a group that are on one backend, with their gradients.
Job = tuple[Group, "Backend", list[Tensor], list[NDArray]]
HALF = FLOAT16.itemsize


class Hyperparameter:
    """A setting of the parameter groups: read from the first, written to all of them."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        if optimizer is None:
            return self
        try:
            return optimizer.param_groups[0][self.name]
        except KeyError:
            raise AttributeError(f"{owner.__name__} has no {self.name}") from None

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        value = _checks.setting(type(optimizer).__name__, self.name, value)
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer:
    """Base class of all optimizers.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        The parameters to optimize, or groups of them: `{"params": [...], "lr": 0.01}`. What a
        group does not set it takes from `defaults`. A list without parameters, such as that of a
        model of dropout alone, is taken with a warning.
    **defaults
        The optimizer's hyperparameters.

    Attributes
    ----------
    params : list of Tensor
        All parameters, in the order of the groups.
    param_groups : list of dict
        The groups, each with its `"params"` and every hyperparameter. `optimizer.lr` and the
        other hyperparameters read the first group and write to all.
    t : int
        The number of steps that this optimizer has made.

    Raises
    ------
    ValueError
        When `params` is an iterator that yields nothing, a parameter is given twice or is not a
        leaf, a group has a setting that the optimizer does not know, or a hyperparameter is out of
        its range.
    TypeError
        When `params` holds something that is neither a Tensor of floats nor a group.
    """

    states: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()

    lr = Hyperparameter()

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], **defaults: Any) -> None:
        self.t = 0
        self.defaults = defaults
        self.param_groups: list[Group] = []
        for name in self.states:
            setattr(self, name, {})
        for group in _as_groups(type(self).__name__, params):
            self.add_param_group(group)
        if not self.params:
            message = f"{type(self).__name__}: params is empty, there is nothing to optimize"
            warnings.warn(message, stacklevel=_levels_to_caller(self))

    def add_param_group(self, group: Group) -> None:
        """Optimize the parameters of one more group from the next step on.

        A schedule that was made before takes the group's learning rate for its base.
        """
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(
                f"{name}: group {len(self.param_groups)} must be a dict with a list under 'params'"
            )
        unknown = sorted(set(group) - set(self.defaults) - {"params"})
        if unknown:
            known = ", ".join(sorted(self.defaults))
            raise ValueError(f"{name}: a group sets {', '.join(unknown)}; it may set {known}")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else _listed(name, params)
        seen = set(self.params)
        for position, p in enumerate(params):
            _check_parameter(name, position, p, seen)
            seen.add(p)
        settings = {**self.defaults, **group, "params": params}
        added = {key: _checks.setting(name, key, value) for key, value in settings.items()}
        self.check_group(added)
        self.param_groups.append(added)

    def check_group(self, group: Group) -> None:
        """Raise when the settings of a group, complete, do not go together."""

    @property
    def params(self) -> list[Tensor]:
        """All parameters, in the order of the groups."""
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Set every parameter's gradient to None."""
        for group in self.param_groups:
            for p in group["params"]:
                p._grad = None

    def step(self) -> None:
        """Update, in place, every parameter that has a gradient.

        Raises
        ------
        ValueError
            When such a parameter is read-only; nothing has changed then.
        """
        halves: list[Tensor] = []
        jobs = [job for group in self.param_groups for job in self._jobs(group, halves)]
        self.t += 1
        if halves:
            self._run_in_float32(jobs, halves)
        else:
            self._run(jobs)

    def _jobs(self, group: Group, halves: list[Tensor]) -> list[Job]:
        """The group's parameters that have a gradient, by backend; `halves` notes float16 ones."""
        jobs: dict[Backend, Job] = {}
        xp: Any = None
        for p in group["params"]:
            grad: Any = p._grad
            if grad is None:
                continue
            data = p._data
            if not data.flags.writeable:
                self._refuse_read_only(p)
            if p._device.backend is not xp:
                xp = p._device.backend
                _, _, params, grads = jobs.setdefault(xp, (group, xp, [], []))
            if data.itemsize == HALF:
                halves.append(p)
                grad = xp.astype(grad, FLOAT32)
            elif grad.dtype is not data.dtype:
                grad = xp.astype(grad, data.dtype)
            params.append(p)
            grads.append(grad)
        return list(jobs.values())

    def _refuse_read_only(self, p: Tensor) -> None:
        place = next(i for i, other in enumerate(self.params) if other is p)
        raise ValueError(
            f"{type(self).__name__}: parameter {place}, of shape {p.shape}, is read-only, and a "
            "step writes into its array; assign a copy, p.data = p.numpy()"
        )

    def _run(self, jobs: list[Job]) -> None:
        for group, xp, params, grads in jobs:
            self.update(xp, params, grads, group)
            tick = _state.tick()
            for p in params:
                p._version[0] = tick

    def _run_in_float32(self, jobs: list[Job], halves: list[Tensor]) -> None:
        """The updates, with float32 arrays in the place of the float16 ones for so long."""
        stored = [(p, p._data) for p in halves]
        try:
            for p in halves:
                p._data = p._device.backend.astype(p._data, FLOAT32)
            self._run(jobs)
            for p, data in stored:
                xp = p._device.backend
                xp.setitem(data, ..., xp.astype(p._data, FLOAT16))
        finally:
            for p, data in stored:
                p._data = data

    def update(self, xp: Backend, params: list[Tensor], grads: list[NDArray], group: Group) -> None:
        """Write new values into `p.data` of the parameters of one group, all on backend `xp`."""
        raise NotImplementedError(f"{type(self).__name__} must define update() or step()")

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next step depends on besides parameters and gradients.

        Returns
        -------
        dict
            `"t"`; `"param_groups"`, the groups with each parameter as its position in
            `params`; and `"state"`, for each position its arrays and counts by name.
        """
        position = {p: i for i, p in enumerate(self.params)}
        return {
            "t": self.t,
            "param_groups": [
                {**group, "params": [position[p] for p in group["params"]]}
                for group in self.param_groups
            ],
            "state": {
                i: {
                    name: copy.copy(getattr(self, name)[p])
                    for name in self.states
                    if p in getattr(self, name)
                }
                for p, i in position.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the optimizer that gave `state` stood; the next step is bit-identical.

        A state that was written as JSON, with lists for arrays, is read as well: there the
        positions are strings.

        Raises
        ------
        TypeError, ValueError
            When `state` has other groups, parameters, shapes or settings, or lacks something;
            nothing has changed then.
        """
        op = f"{type(self).__name__}.load_state_dict"
        _checks.check_keys(op, "the state", state, ("t", "param_groups", "state"))
        t = _checks.count(op, "t", state["t"])
        settings = _loading.settings(op, self.param_groups, state["param_groups"])
        found = _loading.by_position(op, state["state"], len(self.params))
        restored: dict[str, dict[Tensor, Any]] = {name: {} for name in self.states}
        pairs = ((p, group) for group in self.param_groups for p in group["params"])
        for i, (p, group) in enumerate(pairs):
            _loading.check_names(op, i, found[i], self.states, self.needed_states(group))
            for name, value in found[i].items():
                what = f"{name} of parameter {i}"
                restored[name][p] = (
                    _checks.count(op, what, value)
                    if name in self.counts
                    else _loading.array(op, what, value, p)
                )
        self.t = t
        for group, loaded in zip(self.param_groups, settings, strict=True):
            group.update(loaded)
        for name, values in restored.items():
            setattr(self, name, values)

    def needed_states(self, group: Group) -> tuple[str, ...]:
        """Which states a parameter of the group cannot go on without once it has others."""
        return ()

    def __repr__(self) -> str:
        groups = [
            ", ".join(
                [f"{len(group['params'])} parameters"]
                + [f"{key}={value}" for key, value in group.items() if key != "params"]
            )
            for group in self.param_groups
        ]
        return f"{type(self).__name__}({'; '.join(groups)})"


def buffers(xp: Backend, state: dict[Tensor, NDArray], params: list[Tensor]) -> list[NDArray]:
    """The state's array of each parameter, zeros when it has none yet."""
    for p in params:
        if p not in state:
            state[p] = xp.zeros(p.shape, p.dtype)
    return [state[p] for p in params]


def _as_groups(name: str, params: Any) -> Iterator[Group]:
    """The groups that were given, or one group of the parameters that were."""
    if isinstance(params, Tensor | dict):
        raise TypeError(
            f"{name}: params is a {type(params).__name__}; give a list of parameters or of groups"
        )
    listed = _listed(name, params)
    if any(isinstance(p, dict) for p in listed):
        yield from listed
    else:
        yield {"params": listed}


def _listed(name: str, params: Any) -> list[Any]:
    """The elements of `params`, of which an iterator must have some: else it is used up."""
    if not isinstance(params, Iterable):
        raise TypeError(
            f"{name}: params is a {type(params).__name__}; give a list of parameters or of groups"
        )
    listed = list(params)
    if not listed and isinstance(params, Iterator):
        raise ValueError(
            f"{name}: params is a {type(params).__name__} that yields nothing, perhaps because it "
            "was read before; give a list"
        )
    return listed


def _levels_to_caller(optimizer: Optimizer) -> int:
    """The `stacklevel` of the line that makes the optimizer, outside of its constructors."""
    level = 2
    caller: FrameType | None = sys._getframe(level)
    while (
        caller is not None
        and caller.f_code.co_name == "__init__"
        and caller.f_locals.get("self") is optimizer
    ):
        level, caller = level + 1, caller.f_back
    return level


def _check_parameter(name: str, position: int, p: Any, seen: set[Tensor]) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"{name}: parameter {position} is a {type(p).__name__}, not a Tensor")
    if not is_float(p.dtype):
        raise TypeError(
            f"{name}: parameter {position}, of shape {p.shape}, has dtype {p.dtype}; "
            "only floating-point tensors can be optimized"
        )
    if p._node is not None:
        raise ValueError(
            f"{name}: parameter {position}, of shape {p.shape}, is the result of an operation; "
            "only leaves can be optimized"
        )
    if p in seen:
        raise ValueError(f"{name}: parameter {position}, of shape {p.shape}, is given twice")
