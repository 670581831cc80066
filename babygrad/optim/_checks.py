"""The settings that optimizers and schedulers accept: numbers, counts, switches."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

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
SWITCHES = ("nesterov", "adamw")


def as_number(value: Any) -> float | None:
    """The value as a float; None when it is no number."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if kind not in "biuf" or isinstance(value, str | bytes):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def as_count(value: Any) -> int | None:
    """The value as an int; None when it is no integer, or a bool of Python's or numpy's."""
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def number(op: str, name: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    """The float of [low, high) that `value` is."""
    found = as_number(value)
    if found is None or not low <= found < high:
        raise ValueError(f"{op}: {name} (={value!r}) must be at least {low:g} and below {high:g}")
    return found


def count(op: str, name: str, value: Any, low: int = 0) -> int:
    """The integer from `low` on that `value` is."""
    found = as_count(value)
    if found is None or found < low:
        rule = "a positive integer" if low == 1 else f"an integer from {low} on"
        raise ValueError(f"{op}: {name} (={value!r}) must be {rule}")
    return found


def setting(op: str, key: str, value: Any) -> Any:
    """The value of a hyperparameter: a float within its range, a bool or a count."""
    if key in RANGES:
        return number(op, key, value, *RANGES[key])
    if key in SWITCHES:
        if as_number(value) not in (0.0, 1.0):
            raise ValueError(f"{op}: {key} (={value!r}) must be True or False")
        return bool(value)
    return count(op, key, value) if key == "rounds" else value


def check_optimizer(op: str, optimizer: Any) -> None:
    """Raise unless a schedule is given an optimizer, or what has its groups."""
    if isinstance(optimizer, type):
        raise TypeError(f"{op}: optimizer is the class {optimizer.__name__}; give an instance")
    if not isinstance(getattr(optimizer, "param_groups", None), list):
        raise TypeError(f"{op}: optimizer is a {type(optimizer).__name__}; it must be an Optimizer")


def check_keys(op: str, what: str, state: Any, expected: Iterable[str]) -> None:
    """Raise unless `state` is a dict with exactly the expected keys."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{op}: {what} is a {type(state).__name__}; it must be a dict")
    missing = [key for key in expected if key not in state]
    unknown = [key for key in state if key not in {*expected}]
    if missing or unknown:
        raise ValueError(
            f"{op}: {what} has the keys {_listed(state)}; it must have {_listed(expected)}"
        )


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
