"""Loading state into tensors: everything is checked before anything is written.

What loads is what babygrad's layout says; a shape never decides. Values that are known to be in
PyTorch's layout are refused where the two differ: a square matrix would fit, transposed.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from babygrad._numbers import array_of, as_numbers
from babygrad.tensor import NDArray, Tensor


class LoadReport(NamedTuple):
    """What a load that is not strict left out."""

    missing: list[str]
    unexpected: list[str]


class Layout(NamedTuple):
    """A parameter whose axes PyTorch stores in another order, and what brings them into ours."""

    layer: str
    own: str
    pytorch: str
    conversion: str


def load_into(
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    strict: bool,
    ignored: Collection[str] = (),
    layouts: Mapping[str, Layout] | None = None,
) -> LoadReport:
    """Copy the values of `state` into the arrays of the tensors with the same names.

    Values without such a name are not looked at. A tensor with several names is there when one of
    them is.

    Parameters
    ----------
    ignored : collection of str
        Names that are not unexpected.
    layouts : mapping of str to Layout, optional
        Of the tensors that PyTorch stores otherwise.

    Raises
    ------
    TypeError
        When the state is no mapping.
    ValueError
        With one line for each name that does not fit; nothing has been written then.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"load_state_dict: the state is a {type(state).__name__}; it must map names to arrays"
        )
    found = {id(tensor) for name, tensor in tensors.items() if name in state}
    missing = [name for name, tensor in tensors.items() if id(tensor) not in found]
    unexpected = [str(name) for name in state if name not in tensors and name not in ignored]
    values: dict[str, NDArray] = {}
    problems: list[str] = []
    for name, target in tensors.items():
        if name not in state:
            continue
        layout = (layouts or {}).get(name)
        value = state[name]
        if layout is not None and (_is_torch(value) or _is_torch_file(state)):
            problems.append(_layout_problem(name, layout, value))
            continue
        values[name] = _private(name, value)
        if values[name].shape != target.shape:
            problems.append(_shape_problem(name, values[name], target, layout))
    if problems and _is_torch_file(state):
        problems.append(_file_hint(state))
    problems += _tie_problems(tensors, values)
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
    return as_numbers(f"load_state_dict: {name}", array_of(_plain(value)), copy=True)


def _is_torch(value: Any) -> bool:
    """Whether a value is a tensor of PyTorch's, found out without importing it."""
    return any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__)


def _is_torch_file(state: Any) -> bool:
    """Whether a state is a file that says so itself; see `serialization.Archive`."""
    return getattr(state, "is_pytorch", False)


def _plain(value: Any) -> Any:
    """A tensor of PyTorch's as an array of its type, bfloat16 as float32; others as they are."""
    if not _is_torch(value):
        return value
    value = value.detach().cpu()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()


def _layout_problem(name: str, layout: Layout, value: Any) -> str:
    array = f"state[{name!r}]"
    source = f"{array}.detach().numpy()" if _is_torch(value) else array
    return (
        f"layout: {name} is PyTorch's {layout.pytorch}, and {layout.layer} has {layout.own}; "
        f"convert it: {array} = {source}{layout.conversion}"
    )


def _file_hint(state: Any) -> str:
    name = os.fspath(state.filename)
    return (
        "hint: the file's metadata say {'format': 'pt'}; convert "
        f"state = babygrad.serialization.load_file({name!r}), then load_state_dict(state)"
    )


def _tie_problems(tensors: Mapping[str, Tensor], values: Mapping[str, NDArray]) -> list[str]:
    """A line for each name of a tensor whose value is another than that of its first name."""
    first: dict[int, str] = {}
    problems = []
    for name, value in values.items():
        target = tensors[name]
        other = first.setdefault(id(target), name)
        if other == name:
            continue
        one, two = (x.astype(target.dtype).tobytes() for x in (values[other], value))
        if one != two:
            problems.append(
                f"tied: {other} and {name} are one tensor in the module and differ in the state"
            )
    return problems


def _write(target: Tensor, value: NDArray) -> None:
    """Copy into the target's own array, so that whoever holds it sees the new values.

    The array of a result may be a view of an input's; a buffer that is one gets a new array.
    """
    if target._data.flags.writeable and target._node is None:
        target._data[...] = value
        target._touch()
    else:
        target.data = value.astype(target.dtype)


def _shape_problem(name: str, value: NDArray, target: Tensor, layout: Layout | None) -> str:
    line = f"shape: {name} is {value.shape} in the state and {target.shape} in the module"
    if layout is not None and _without_ones(value.shape) == _without_ones(target.shape):
        transposed = "transposed: " if value.shape == target.shape[::-1] else ""
        line += f" ({transposed}{layout.layer} stores {layout.own}, PyTorch {layout.pytorch})"
    return line


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return sorted(n for n in shape if n != 1)


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
