"""The C++ engine behind ``cpu:cpp``: the reference with the members that `babygrad._core` has.

Each kernel is a builtin made by ``_core.bind(name, fallback)``. Builtins do not bind as methods, so
``xp.add(a, b)`` is one C call with no Python frame; what a kernel does not cover (other dtypes,
wrong shapes, subclasses of ndarray) goes to the reference, whose result or error is the answer.
"""

from __future__ import annotations

from babygrad import _core
from babygrad.backends.numpy import NumpyBackend


class CppBackend(NumpyBackend):
    """NumpyBackend with the engine's kernels in place of its members of the same name."""

    name = "cpp"


_reference = NumpyBackend()
for _name in _core.names():
    setattr(CppBackend, _name, _core.bind(_name, getattr(_reference, _name)))
