"""Comparisons, logic, bits and tests: what has no gradient.

`equal not_equal less less_equal greater greater_equal`, `logical_and logical_or logical_xor
logical_not`, `isnan isinf isfinite` give tensors of bools. Every comparison with NaN is false but
`not_equal`. uint64 and signed integers compare by their values, whatever the sizes of both.
`bitwise_and bitwise_or bitwise_xor bitwise_invert bitwise_left_shift bitwise_right_shift`, the
operators `& | ^ ~ << >>`, are for integers; of bools the first four are the logic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygrad.ops._common import Discrete, lifted, operands, pair
from babygrad.tensor import Tensor

# fmt: off
__all__ = [
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "equal", "greater", "greater_equal", "isfinite", "isinf", "isnan", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "not_equal",
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


# ----- Bits -----


def bitwise_and(a: Any, b: Any) -> Tensor:
    """`a & b`: the bits that both have; of bools, whether both are true.

    Raises
    ------
    TypeError
        When an operand is neither of integers nor of bools.

    Examples
    --------
    >>> import babygrad
    >>> (babygrad.Tensor([6, 3], dtype="int64") & 5).tolist()
    [4, 1]
    """
    return bits("bitwise_and", "bitwise_and", a, b)


def bitwise_or(a: Any, b: Any) -> Tensor:
    """`a | b`: the bits that one of them has; of bools, whether one is true."""
    return bits("bitwise_or", "bitwise_or", a, b)


def bitwise_xor(a: Any, b: Any) -> Tensor:
    """`a ^ b`: the bits that exactly one has; of bools, whether exactly one is true."""
    return bits("bitwise_xor", "bitwise_xor", a, b)


def bitwise_invert(a: Any) -> Tensor:
    """`~a`: the bits that `a` has not; of bools, whether it is false."""
    return inverted("bitwise_invert", a)


def bitwise_left_shift(a: Any, b: Any) -> Tensor:
    """`a << b`: the bits of integers `b` places higher; what leaves the type at its top is lost.

    Raises
    ------
    TypeError
        When the operands are not of integers.
    ValueError
        When `b` is negative.
    """
    return shifted("bitwise_left_shift", "bitwise_left_shift", a, b)


def bitwise_right_shift(a: Any, b: Any) -> Tensor:
    """`a >> b`: the bits of integers `b` places lower, which divides by `2 ** b` rounding down."""
    return shifted("bitwise_right_shift", "bitwise_right_shift", a, b)


def bits(op: str, member: str, a: Any, b: Any) -> Tensor:
    """A bitwise member of the backend, for integers and bools, by the name it was called by."""
    a, b = pair(op, a, b)
    return Discrete(member)(_whole(op, a), b)


def inverted(op: str, a: Any) -> Tensor:
    """`bitwise_invert` by the name that it was called by."""
    return Discrete("bitwise_invert")(_whole(op, lifted(op, a)))


def shifted(op: str, member: str, a: Any, b: Any) -> Tensor:
    """A shift by the name that it was called by."""
    a, b = pair(op, a, b)
    if a.dtype.kind == "b":
        raise TypeError(f"{op}: operands must be integers, not bool")
    _whole(op, a)
    if (b._data < 0).any():
        raise ValueError(f"{op}: the shift {b._data.min()} is negative; it must be at least 0")
    return Discrete(member)(a, b)


def _whole(op: str, a: Tensor) -> Tensor:
    if a.dtype.kind == "f":
        raise TypeError(
            f"{op}: operands must be bools or integers, not {a.dtype}; compare them first"
        )
    return a
