"""Reads a saved optimizer: everything is checked here, before anything is taken over.

A state that went through JSON has strings of digits for positions and lists for arrays; it is read
like the original.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from babygrad.dtypes import FLOAT16, FLOAT32
from babygrad.optim import _checks
from babygrad.tensor import NDArray, Tensor

Group = dict[str, Any]


def settings(op: str, groups: list[Group], saved: Any) -> list[Group]:
    """The hyperparameters of each group of a state whose groups hold the same parameters."""
    if not isinstance(saved, list | tuple) or not all(isinstance(g, Mapping) for g in saved):
        raise TypeError(f"{op}: 'param_groups' must be a list of dicts")
    sizes = [len(group["params"]) for group in groups]
    positions = iter(range(sum(sizes)))
    expected = [[next(positions) for _ in range(size)] for size in sizes]
    found = [_positions(op, i, group.get("params", [])) for i, group in enumerate(saved)]
    if found != expected:
        theirs = [len(p) for p in found]
        raise ValueError(
            f"{op}: the state is of groups with {theirs} parameters, the optimizer's have {sizes}"
            if theirs != sizes
            else f"{op}: the state's groups have their parameters at {found}, not at {expected}"
        )
    loaded = []
    for group, other in zip(groups, saved, strict=True):
        if group.keys() != other.keys():
            differing = ", ".join(sorted(map(str, group.keys() ^ other.keys())))
            raise ValueError(
                f"{op}: the state is of another optimizer: only one of the two has {differing}"
            )
        loaded.append({k: _checks.setting(op, k, v) for k, v in other.items() if k != "params"})
    return loaded


def _positions(op: str, i: int, saved: Any) -> list[int]:
    """The positions of the parameters of group i."""
    if not isinstance(saved, list | tuple) or not all(map(_is_integer, saved)):
        raise TypeError(
            f"{op}: 'params' of group {i} is {saved!r}; it must be a list of the parameters' "
            "positions"
        )
    return list(map(int, saved))


def _is_integer(value: Any) -> bool:
    """Whether it is an integer; True and 0.0, which equal integers, are none."""
    return _checks.as_count(value) is not None


def by_position(op: str, saved: Any, size: int) -> list[Mapping[str, Any]]:
    """The states of the parameters, by their positions, which may be strings."""
    if not isinstance(saved, Mapping):
        raise TypeError(f"{op}: 'state' is a {type(saved).__name__}; it must be a dict")
    places: dict[Any, int] = {str(i): i for i in range(size)}
    places |= {i: i for i in range(size)}
    found: dict[int, Mapping[str, Any]] = {}
    for key, value in saved.items():
        place = places.get(key) if isinstance(key, str) or _is_integer(key) else None
        if place is None or place in found:
            raise ValueError(
                f"{op}: 'state' has the key {key!r}; its keys must be the positions of the "
                f"optimizer's {size} parameters, each once"
            )
        if not isinstance(value, Mapping):
            raise TypeError(
                f"{op}: the state of parameter {place} is a {type(value).__name__}; "
                "it must be a dict"
            )
        found[place] = value
    missing = [str(i) for i in range(size) if i not in found]
    if missing:
        raise ValueError(f"{op}: 'state' lacks the parameters at {', '.join(missing)}")
    return [found[i] for i in range(size)]


def check_names(
    op: str, i: int, saved: Mapping[str, Any], known: Collection[str], needed: Collection[str]
) -> None:
    """Raise unless the states of parameter i are known, and none that it needs is left out."""
    for name in saved:
        if name not in known:
            raise ValueError(
                f"{op}: parameter {i} has a state {name!r}, which this optimizer does not keep"
            )
    missing = [name for name in needed if saved and name not in saved]
    if missing:
        raise ValueError(f"{op}: the state of parameter {i} lacks {', '.join(missing)}")


def array(op: str, name: str, value: Any, p: Tensor) -> NDArray:
    """A private copy of a saved array or list, in the type in which updates of p are computed."""
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if kind not in "iuf" or isinstance(value, str | bytes | bool | None):
        found = getattr(value, "dtype", type(value).__name__)
        raise ValueError(f"{op}: {name} is of type {found}; it must be an array of numbers")
    try:
        copied = Tensor(value, dtype=FLOAT32 if p.dtype == FLOAT16 else p.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{op}: {name} is no array of numbers ({error})") from None
    if copied.shape != p.shape:
        raise ValueError(f"{op}: {name} has shape {copied.shape}, the parameter has {p.shape}")
    return copied.data
