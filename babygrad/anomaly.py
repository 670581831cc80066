"""`detect_anomaly`: find the operation that made the first NaN or infinity.

    with babygrad.detect_anomaly():
        loss = loss_fn(model(x), y)
        loss.backward()

The block raises where an operation's result, or in `backward` a gradient that it passes on, has a
NaN or an infinity that went into it from nowhere, and names the operation and the line that called
it.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from babygrad import _state, engine, native
from babygrad._scope import Scope

if TYPE_CHECKING:
    from babygrad.autograd import Function, NDArray, Node
    from babygrad.tensor import Tensor

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

_KINDS = {"a NaN": np.isnan, "an infinity": np.isinf}


class AnomalyWatch:
    """Looks at what operations make, in a thread whose state holds it."""

    def check_forward(self, op: Function, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Note where the operation was called, and raise if it made the first NaN or infinity.

        What a backward pass computes on the way is left to `check_backward`, for an infinity may be
        multiplied away there before anybody sees it.
        """
        frame, in_backward = _users_frame()
        op._site = _described(frame)
        fault = None if in_backward else _new_fault([t._data for t in inputs], out._data)
        if fault is not None:
            raise RuntimeError(
                f"{type(op).__name__}: the result of shape {out.shape} has {fault}, "
                f"and its inputs have none\n  called in {op._site}"
            )

    def check_backward(self, node: Node, gradient: Tensor, gradients: tuple[Any, ...]) -> None:
        """Raise if one of the gradients that are wanted has the first NaN or infinity."""
        for i, given in enumerate(gradients):
            if given is None or not node._needs >> i & 1:
                continue
            fault = _new_fault([gradient._data], given._data)
            if fault is not None:
                site = getattr(node._op, "_site", "a line outside of detect_anomaly()")
                raise RuntimeError(
                    f"{type(node._op).__name__}: in backward, the gradient of input {i} of shape "
                    f"{given.shape} has {fault}, and the gradient of its result has none\n"
                    f"  called in {site}"
                )


class detect_anomaly(Scope):  # noqa: N801 - named like no_grad
    """Raise in this block, in this thread, where the first NaN or infinity is made.

    Every operation is looked at, forward and backward, which takes several times as long; it is for
    finding faults, not for training.

    Raises
    ------
    RuntimeError
        With the operation's name, the kind and place of the fault, and the file and line of the
        call; for a gradient, the line of the forward call that it belongs to.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([0.0, 1.0], requires_grad=True)
    >>> try:
    ...     with babygrad.detect_anomaly():
    ...         babygrad.ops.log(x).sum().backward()
    ... except RuntimeError as error:
    ...     print(str(error).splitlines()[0])
    Log: the result of shape (2,) has an infinity at (0,), and its inputs have none
    """

    def __enter__(self) -> None:
        self._previous.append(_state.local.anomaly)
        _state.local.anomaly = AnomalyWatch()
        _watches.begin()

    def __exit__(self, *exc_info: object) -> None:
        _watches.end()
        _state.local.anomaly = self._previous.pop()


def is_watched() -> bool:
    """Whether this thread is within a `detect_anomaly()` block."""
    return _state.local.anomaly is not None


class _Watches:
    """How many blocks are being watched, in all threads together.

    While there are any, calls go through the definition in Python: its native twin, which all
    threads share, does not look for a watch.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._was_native = False

    def begin(self) -> None:
        with self._lock:
            if self._count == 0:
                self._was_native = native.is_native_call()
                native.use_native_call(False)
            self._count += 1

    def end(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._was_native:
                native.use_native_call(True)


_watches = _Watches()


def first_fault(array: NDArray) -> tuple[str, tuple[int, ...]] | None:
    """The kind and first place of a NaN in an array, or else of an infinity."""
    for kind in _KINDS:
        if (place := _first(kind, array)) is not None:
            return kind, place
    return None


def _first(kind: str, array: NDArray) -> tuple[int, ...] | None:
    if array.dtype.kind != "f" or not (found := _KINDS[kind](array)).any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(found.argmax()), found.shape))


def _new_fault(inputs: list[NDArray], result: NDArray) -> str | None:
    """The kind and first place of a NaN or infinity in the result that no input has."""
    for kind in _KINDS:
        place = _first(kind, result)
        if place is not None and all(_first(kind, a) is None for a in inputs):
            return f"{kind} at {place}"
    return None


def _users_frame() -> tuple[FrameType | None, bool]:
    """The innermost frame outside of this package, and whether a backward pass is under way."""
    user: FrameType | None = sys._getframe(1)
    frame = user
    while user is not None and os.path.abspath(user.f_code.co_filename).startswith(_PACKAGE):
        user = user.f_back
    while frame is not None and frame.f_code is not engine._pass_on.__code__:
        frame = frame.f_back
    return user, frame is not None


def _described(frame: FrameType | None) -> str:
    if frame is None:
        return "an unknown place"
    code, line = frame.f_code, frame.f_lineno
    text = linecache.getline(code.co_filename, line).strip()
    place = f"{code.co_filename}:{line}, in {code.co_name}"
    return f"{place}: {text}" if text else place
