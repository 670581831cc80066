"""The twins in C++ of `Function.__call__` and of the backward walk, and which of the two run.

The code in `autograd.py` and `engine.py` is the definition. The twins do the same, in a third of
the time, on the same objects: they run when the extension has been built, unless
`BABYGRAD_ENGINE=python` asks for the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygrad import _environment, _state
from babygrad._sharing import forget_dead
from babygrad.autograd import Function, Node, PartialGradient, _result
from babygrad.device import Device
from babygrad.dtypes import FLOAT16, NATIVE
from babygrad.tensor import Tensor

_definition_of_call = Function.__call__


def use_native_call(wanted: bool) -> bool:
    """Call Functions through the twin of `Function.__call__`, or by the definition.

    Returns whether it is the twin now: it is not when the extension has not been built.
    """
    call: Any = _definition_of_call
    if wanted:
        try:
            from babygrad._core import function_call
        except ImportError:
            pass
        else:
            call = function_call(
                Function,
                Node,
                Tensor,
                Device,
                _state,
                tuple(NATIVE),
                FLOAT16,
                forget_dead,
                _definition_of_call,
                _result,
            )
    Function.__call__ = call  # type: ignore[method-assign]
    return is_native_call()


def is_native_call() -> bool:
    """Whether Functions are called through the twin."""
    return Function.__call__ is not _definition_of_call


def native_walk(*helpers: Callable[..., Any]) -> Callable[[Tensor, Tensor, bool], bool] | None:
    """The twin of the engine's walk when calls go through theirs too, else None.

    In the rare cases it calls `helpers`, which are the engine's own.
    """
    if not is_native_call():
        return None
    from babygrad import _core

    _core.init_backward_walk(PartialGradient, *helpers)
    walk: Callable[[Tensor, Tensor, bool], bool] = _core.backward_walk
    return walk


use_native_call(_environment.engine() == "native")
