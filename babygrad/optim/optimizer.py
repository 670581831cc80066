"""What all optimizers share: parameter groups, the walk over gradients, saving and loading.

An optimizer is a subclass of `Optimizer` with a method `update(xp, params, grads, group)`, which
writes new values into the arrays of `params` through the backend `xp`. The state that it keeps for
a parameter, such as a momentum buffer, is in dictionaries keyed by the parameter, whose names are
listed in `states`; from that list the base class saves and restores them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from babygrad.tensor import NDArray, Tensor

if TYPE_CHECKING:
    from babygrad.backends.base import Backend

Group = dict[str, Any]

# Each hyperparameter that is a number lies in [low, high).
RANGES = {
    "lr": (0.0, math.inf),
    "eps": (0.0, math.inf),
    "weight_decay": (0.0, math.inf),
    "momentum": (0.0, 1.0),
    "alpha": (0.0, 1.0),
    "beta1": (0.0, 1.0),
    "beta2": (0.0, 1.0),
}


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
        value = _setting(type(optimizer).__name__, self.name, value)
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer:
    """Base class of all optimizers.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        The parameters to optimize, or groups of them: `{"params": [...], "lr": 0.01}`. What a
        group does not set it takes from `defaults`.
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
        When there are no parameters, one is given twice or is not a leaf, a group has a setting
        that the optimizer does not know, or a hyperparameter is out of its range.
    TypeError
        When `params` holds something that is neither a Tensor nor a group.
    """

    states: ClassVar[tuple[str, ...]] = ()

    lr = Hyperparameter()

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], **defaults: Any) -> None:
        self.t = 0
        self.defaults = defaults
        self.param_groups: list[Group] = []
        for name in self.states:
            setattr(self, name, {})
        for group in _as_groups(type(self).__name__, params):
            self.add_param_group(group)

    def add_param_group(self, group: Group) -> None:
        """Optimize the parameters of one more group from the next step on."""
        name = type(self).__name__
        unknown = sorted(set(group) - set(self.defaults) - {"params"})
        if unknown:
            known = ", ".join(sorted(self.defaults))
            raise ValueError(f"{name}: a group sets {', '.join(unknown)}; it may set {known}")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        seen = set(self.params)
        for position, p in enumerate(params):
            _check_parameter(name, position, p, seen)
            seen.add(p)
        settings = {**self.defaults, **group, "params": params}
        self.param_groups.append({key: _setting(name, key, v) for key, v in settings.items()})

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
        """Update, in place, every parameter that has a gradient."""
        self.t += 1
        for group in self.param_groups:
            for xp, params in _ready(group["params"]).items():
                self.update(xp, params, [_gradient(xp, p) for p in params], group)
                for p in params:
                    p._touch()

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

        Raises
        ------
        ValueError
            When `state` has other groups, parameters or shapes; nothing has changed then.
        """
        found = [group["params"] for group in state["param_groups"]]
        position = iter(range(len(self.params)))
        expected = [[next(position) for _ in group["params"]] for group in self.param_groups]
        if found != expected:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state is of groups with "
                f"{[len(g) for g in found]} parameters, the optimizer's have "
                f"{[len(g) for g in expected]}"
            )
        for group, saved in zip(self.param_groups, state["param_groups"], strict=True):
            if group.keys() != saved.keys():
                differing = ", ".join(sorted(group.keys() ^ saved.keys()))
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: the state is of another optimizer: "
                    f"only one of the two has {differing}"
                )
        restored: dict[str, dict[Tensor, Any]] = {name: {} for name in self.states}
        for i, p in enumerate(self.params):
            for name, value in state["state"].get(i, {}).items():
                if name not in restored:
                    raise ValueError(
                        f"{type(self).__name__}.load_state_dict: parameter {i} has a state "
                        f"{name!r}, which this optimizer does not keep"
                    )
                restored[name][p] = self._restored(i, p, name, value)
        self.t = state["t"]
        for group, saved in zip(self.param_groups, state["param_groups"], strict=True):
            group.update({key: value for key, value in saved.items() if key != "params"})
        for name, values in restored.items():
            setattr(self, name, values)

    def _restored(self, i: int, p: Tensor, name: str, value: Any) -> Any:
        """A private copy of a saved array or count, in the parameter's dtype."""
        if isinstance(value, int):
            return value
        if value.shape != p.shape:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: {name} of parameter {i} has shape "
                f"{value.shape}, the parameter has {p.shape}"
            )
        xp = p._device.backend
        return xp.copy(xp.astype(value, p.dtype))

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
    listed = list(params)
    if not listed:
        raise ValueError(f"{name}: params is empty, there is nothing to optimize")
    if not any(isinstance(p, dict) for p in listed):
        yield {"params": listed}
        return
    for position, group in enumerate(listed):
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"{name}: group {position} must be a dict with a list under 'params'")
        yield group


def _check_parameter(name: str, position: int, p: Any, seen: set[Tensor]) -> None:
    if not isinstance(p, Tensor):
        raise TypeError(f"{name}: parameter {position} is a {type(p).__name__}, not a Tensor")
    if p._node is not None:
        raise ValueError(
            f"{name}: parameter {position}, of shape {p.shape}, is the result of an operation; "
            "only leaves can be optimized"
        )
    if p in seen:
        raise ValueError(f"{name}: parameter {position}, of shape {p.shape}, is given twice")


def _setting(name: str, key: str, value: Any) -> Any:
    """The value of a hyperparameter: a float, within its range, if it is a number."""
    if key not in RANGES:
        return value
    low, high = RANGES[key]
    if isinstance(value, str) or not low <= value < high:
        raise ValueError(f"{name}: {key} (={value!r}) must be at least {low:g} and below {high:g}")
    return float(value)


def _ready(params: list[Tensor]) -> dict[Backend, list[Tensor]]:
    """The parameters that have a gradient, by backend."""
    ready: dict[Backend, list[Tensor]] = {}
    for p in params:
        if p._grad is not None:
            ready.setdefault(p._device.backend, []).append(p)
    return ready


def _gradient(xp: Backend, p: Tensor) -> NDArray:
    """The parameter's gradient, cast to its dtype when a user assigned one of another."""
    grad: Any = p._grad
    return grad if grad.dtype == p._data.dtype else xp.astype(grad, p._data.dtype)
