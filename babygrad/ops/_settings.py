"""Checks of settings that an operation and the layer of its name share.

A layer runs them in its constructor, so that a wrong setting is an error where it was written, not
at the first call.
"""

from __future__ import annotations

import math
from typing import Any

from babygrad.ops._common import Scalar, number, weak, whole


def count_of(op: str, role: str, value: Any, least: int = 1) -> int:
    """An int from an integer of at least `least`.

    Raises
    ------
    TypeError, ValueError
        When it is no integer, or too small.
    """
    if isinstance(value, bool):
        raise TypeError(f"{op}: {role} (={value!r}) must be an integer")
    count = whole(op, role, value)
    if count < least:
        raise ValueError(f"{op}: {role} (={value!r}) must be at least {least}")
    return count


def number_of(op: str, role: str, value: Any) -> Scalar:
    """A number that is not NaN, of which every result would be NaN.

    Raises
    ------
    TypeError, ValueError
        When it is no number, or NaN.
    """
    plain = number(op, role, value)
    if math.isnan(plain):
        raise ValueError(f"{op}: {role} (={value}) must be a number other than nan")
    return plain


def check_switches(op: str, **switches: Any) -> None:
    """Raise unless each setting is True or False, or the number 1 or 0."""
    for role, value in switches.items():
        if value.__class__ is not bool:
            plain = weak(value)
            if not isinstance(plain, Scalar) or plain not in (0, 1):
                raise ValueError(f"{op}: {role} (={value!r}) must be True or False")


def check_probability(op: str, role: str, p: Any) -> None:
    """Raise unless `p` is a probability."""
    if not 0 <= number(op, role, p) <= 1:
        raise ValueError(f"{op}: {role} (={p}) must lie in [0, 1]")


def check_eps(op: str, eps: Any) -> None:
    """Raise unless `eps`, which a layer adds to a variance, is finite and at least 0.

    The operations take any number, as PyTorch's do.
    """
    if not 0 <= number(op, "eps", eps) < math.inf:
        raise ValueError(f"{op}: eps (={eps}) must be finite and at least 0")


def check_positive(op: str, role: str, value: Any) -> None:
    """Raise unless a setting is above 0."""
    if not number(op, role, value) > 0:
        raise ValueError(f"{op}: {role} (={value}) must be positive")


def check_bounds(op: str, low: Any, high: Any) -> None:
    """Raise unless two numbers are the ends of an interval."""
    if not number(op, "low", low) <= number(op, "high", high):
        raise ValueError(f"{op}: low (={low}) must not exceed high (={high})")


def check_choice(op: str, role: str, value: Any, *choices: str) -> None:
    """Raise unless a setting is one of some words."""
    if value not in choices:
        *others, last = map(repr, choices)
        raise ValueError(f"{op}: {role} (={value!r}) must be {', '.join(others)} or {last}")


def check_reduction(op: str, reduction: Any, *more: str) -> None:
    """Raise unless a loss can be reduced in this way; `more` are ways of its own."""
    check_choice(op, "reduction", reduction, "mean", "sum", "none", *more)


def check_axis_types(op: str, axes: Any) -> None:
    """Raise unless axes are None or integers, each named once; their range is the tensor's."""
    if axes is None:
        return
    listed = axes if isinstance(axes, tuple | list) else (axes,)
    plain = [whole(op, "axis", axis) for axis in listed]
    if len(set(plain)) != len(plain):
        raise ValueError(f"{op}: axes {axes} name an axis twice")
