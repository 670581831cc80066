"""Loading state into tensors: everything is checked before anything is written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from babygrad._numbers import array_of, as_numbers
from babygrad.tensor import NDArray, Tensor


class LoadReport(NamedTuple):
    """What a load that is not strict left out."""

    missing: list[str]
    unexpected: list[str]


def load_into(tensors: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool) -> LoadReport:
    """Copy the values of `state` into the arrays of the tensors with the same names.

    Raises
    ------
    ValueError
        With one line for each name that does not fit; nothing has been written then.
    """
    missing = [name for name in tensors if name not in state]
    unexpected = [name for name in state if name not in tensors]
    values = {name: _private(name, state[name]) for name in tensors if name in state}
    problems = [
        _shape_problem(name, value, tensors[name])
        for name, value in values.items()
        if value.shape != tensors[name].shape
    ]
    if strict:
        problems += [f"missing: {name}" for name in missing]
        problems += [f"unexpected: {name}{_did_you_mean(name, missing)}" for name in unexpected]
        problems += _prefix_hint(missing, unexpected)
    if problems:
        listed = "\n  ".join(problems)
        raise ValueError(f"load_state_dict: the state does not fit; nothing was loaded\n  {listed}")
    for name, value in values.items():
        _write(tensors[name], value)
    return LoadReport(missing, unexpected)


def _private(name: str, value: Any) -> NDArray:
    """A copy of a state's value, which may share memory with the target."""
    return as_numbers(f"load_state_dict: {name}", array_of(value), copy=True)


def _write(target: Tensor, value: NDArray) -> None:
    """Copy into the target's own array, so that whoever holds it sees the new values."""
    if target._data.flags.writeable:
        target._data[...] = value
        target._touch()
    else:
        target.data = value.astype(target.dtype)


def _shape_problem(name: str, value: NDArray, target: Tensor) -> str:
    line = f"shape: {name} is {value.shape} in the state and {target.shape} in the module"
    if value.ndim == 2 and value.shape == target.shape[::-1]:
        line += " (transposed: nn.Linear stores (in, out), PyTorch (out, in))"
    return line


def _did_you_mean(name: str, missing: list[str]) -> str:
    close = difflib.get_close_matches(name, missing, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _prefix_hint(missing: list[str], unexpected: list[str]) -> list[str]:
    """A line for names that differ by a prefix alone, such as the `module.` of a wrapper."""
    for name in unexpected:
        for wanted in missing:
            if name.endswith("." + wanted):
                prefix = name[: -len(wanted)]
                if all(other.startswith(prefix) for other in unexpected):
                    return [f"hint: the names of the state begin with {prefix!r}; remove it"]
    return []
