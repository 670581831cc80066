"""Where a tensor lives: device strings, the default device, and ways to choose it.

    babygrad.Tensor([1.0], device="cpu:numba")      for one tensor
    with babygrad.device("cpu:numba"): ...          for a block, in this thread
    babygrad.set_default_device("cpu:cpp")          for the program
    BABYGRAD_DEVICE=cpu:numpy python train.py       from outside

`"cpu:numpy"`, `"cpu:cpp"` and `"cpu:numba"` name a backend; `"cpu"` is cpp if it loads, else numpy.
Numba is not taken unasked: it computes all but small networks faster than numpy, but its first use
takes half a second, and up to 14 of them where nothing is compiled yet (benchmarks/README.md).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from babygrad import _environment, _state
from babygrad._scope import Scope
from babygrad.backends import registry

if TYPE_CHECKING:
    from babygrad.backends.base import Backend


class Device:
    """A device string together with the backend that it stands for."""

    __slots__ = ("backend", "name")

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend

    def __repr__(self) -> str:
        return f"Device({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Devices are compared with `is`: a copy, also one in another process, is the one of there.
        return find, (self.name,)


@cache
def find(name: str) -> Device:
    """The `Device` for a device string; its backend is loaded the first time it is asked for.

    Raises
    ------
    ValueError
        When no backend has that name; the message lists those there are.
    RuntimeError
        When the backend exists and cannot be loaded; the message says why.
    """
    return Device(name, registry.resolve(name))


def set_default_device(name: str) -> None:
    """Put tensors that name no device on `name` from now on, in every thread."""
    _state.default_device = find(name)


class device(Scope):  # noqa: N801 - named like no_grad
    """Put the tensors that this block, or a decorated function, creates on `name`.

    Only this thread is affected, and tensors that exist already stay where they are.

    Examples
    --------
    >>> import babygrad
    >>> with babygrad.device("cpu:numpy"):
    ...     babygrad.Tensor([1.0]).device
    'cpu:numpy'
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._chosen = find(name)

    def __enter__(self) -> None:
        self._previous.append(_state.local.device)
        _state.local.device = self._chosen

    def __exit__(self, *exc_info: object) -> None:
        _state.local.device = self._previous.pop()


def current() -> Device:
    """The device of a tensor that is created now without naming one."""
    return _state.local.device or _state.default_device or _first_default()


def _first_default() -> Device:
    """The default device before any is set: `BABYGRAD_DEVICE` if there is such a one, else "cpu".

    One that there is and that does not load is an error: it was meant, and its cure is known.
    """
    name = _environment.device()
    try:
        chosen = find(name or "cpu")
    except ValueError:
        chosen = find("cpu")
        _environment.no_such_device(registry.devices())
    _state.default_device = chosen
    return chosen


def get_default_device() -> str:
    """The device string of a tensor that is created now without naming one."""
    return current().name
