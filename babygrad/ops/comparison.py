"""Comparisons, logic and tests: tensors of bools, which have no gradient.

`equal not_equal less less_equal greater greater_equal`, `logical_and logical_or logical_xor
logical_not`, `isnan isinf isfinite`. Every comparison with NaN is false but `not_equal`. uint64
and signed integers compare by their values, whatever the sizes of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygrad.ops._common import Discrete, lifted, operands
from babygrad.tensor import Tensor

# fmt: off
__all__ = [
    "equal", "greater", "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal",
    "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal",
]
# fmt: on


def _comparison(name: str, doc: str) -> Callable[[Any, Any], Tensor]:
    def function(a: Any, b: Any) -> Tensor:
        a, b = operands(name, a, b, any_number=True)
        return Discrete(name)(a, b) if isinstance(b, Tensor) else Discrete(name, b)(a)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _test(name: str, doc: str) -> Callable[[Any], Tensor]:
    def function(a: Any) -> Tensor:
        return Discrete(name)(lifted(name, a))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


equal = _comparison("equal", "`a == b`, elementwise.")
not_equal = _comparison("not_equal", "`a != b`, elementwise.")
less = _comparison("less", "`a < b`, elementwise.")
less_equal = _comparison("less_equal", "`a <= b`, elementwise.")
greater = _comparison("greater", "`a > b`, elementwise.")
greater_equal = _comparison("greater_equal", "`a >= b`, elementwise.")
logical_and = _comparison("logical_and", "True where both are true; a number is, unless 0.")
logical_or = _comparison("logical_or", "True where one is true, elementwise.")

logical_not = _test("logical_not", "True where `a` is false or 0.")
isnan = _test("isnan", "True where `a` is NaN.")
isinf = _test("isinf", "True where `a` is an infinity of either sign.")
isfinite = _test("isfinite", "True where `a` is neither NaN nor an infinity.")


def logical_xor(a: Any, b: Any) -> Tensor:
    """True where exactly one is true."""
    return not_equal(logical_not(a), logical_not(b))
