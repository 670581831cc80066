"""`& | ^ ~ << >>` on integers and bools, against Python's own integers."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from babygrad import Tensor, ops

OPERATORS = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}
DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def numbers(dtype: str) -> list[int]:
    return [0, 1, 2, 5, 85, 127] + ([-1, -2, -86, -128] if dtype[0] == "i" else [128, 200, 255])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_bits_of_integers(name: str, dtype: str, device: str) -> None:
    f = OPERATORS[name]
    a = numbers(dtype)
    b = a[::-1]
    x, y = Tensor(a, dtype=dtype), Tensor(b, dtype=dtype)
    want = [f(n, m) for n, m in zip(a, b, strict=True)]
    assert f(x, y).tolist() == getattr(ops, f"bitwise_{name}")(x, y).tolist() == want
    assert f(x, y).dtype == np.dtype(dtype)
    assert f(x, 6).tolist() == f(6, x).tolist() == [f(n, 6) for n in a]
    assert f(x, np.array(b, dtype)).tolist() == f(np.array(b, dtype), x).tolist() == want
    assert f(x, Tensor([[6]], dtype=dtype)).shape == (1, len(a))


@pytest.mark.parametrize("dtype", DTYPES)
def test_invert_and_shifts_of_integers(dtype: str, device: str) -> None:
    a = numbers(dtype)
    x = Tensor(a, dtype=dtype)
    info = np.iinfo(dtype)
    flipped = [~n if dtype[0] == "i" else int(info.max) - n for n in a]
    assert (~x).tolist() == ops.bitwise_invert(x).tolist() == flipped
    for places in (0, 1, 3, info.bits - 1):
        assert (x >> places).tolist() == [n >> places for n in a]
        kept = [(n << places) % 2**info.bits for n in a]
        want = [n - 2**info.bits if n > info.max else n for n in kept]
        assert (x << places).tolist() == ops.bitwise_left_shift(x, places).tolist() == want
    assert (1 << Tensor([0, 3], dtype=dtype)).tolist() == [1, 8]
    assert (64 >> Tensor([0, 3], dtype=dtype)).tolist() == [64, 8]
    assert ops.bitwise_right_shift(x, Tensor(1, dtype=dtype)).tolist() == [n >> 1 for n in a]


def test_bits_of_bools_are_logic_and_of_a_mixture_integers(device: str) -> None:
    a = Tensor([True, True, False, False], dtype="bool")
    b = Tensor([True, False, True, False], dtype="bool")
    assert ops.bitwise_and(a, b).tolist() == (a & b).tolist() == [True, False, False, False]
    assert ops.bitwise_xor(a, b).tolist() == [False, True, True, False]
    assert ops.bitwise_invert(a).tolist() == (~a).tolist() == [False, False, True, True]
    assert (a & b).dtype == (a | True).dtype == np.bool_
    mixed = a | Tensor([4, 5, 6, 7], dtype="int32")
    assert (mixed.tolist(), mixed.dtype) == ([5, 5, 6, 7], np.int32)
    assert ((a & 3).tolist(), (a & 3).dtype) == ([1, 1, 0, 0], np.int64)


def test_in_place_operators_write_into_the_memory(device: str) -> None:
    x = Tensor([6, 5], dtype="int32")
    view, same = x[:1], x
    x &= 3
    x |= 8
    x ^= Tensor([1, 1], dtype="int32")
    x <<= 2
    x >>= 1
    want = [((n & 3 | 8) ^ 1) << 2 >> 1 for n in (6, 5)]
    assert (x.tolist(), view.tolist(), same is x) == (want, want[:1], True)
    mask = Tensor([True, False], dtype="bool")
    mask &= x > 0
    assert mask.tolist() == [True, False]
    with pytest.raises(TypeError, match="&=: the result is of type int64"):
        mask &= 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x & 1.5, TypeError, "&: operands must be bools or integers, not float32"),
        (lambda x: x ^ Tensor([1.0]), TypeError, "^: operands must be bools or integers, not fl"),
        (lambda x: ~Tensor([1.0]), TypeError, "~: operands must be bools or integers, not float32"),
        (lambda x: x & "a", TypeError, "&: an operand is a str, not a tensor or number"),
        (lambda x: x << Tensor([0.5]), TypeError, "<<: operands must be bools or integers, not"),
        (lambda x: (x > 0) << (x > 0), TypeError, "<<: operands must be integers, not bool"),
        (lambda x: x << -1, ValueError, "<<: the shift -1 is negative; it must be at least 0"),
        (lambda x: x >> Tensor([1, -2], dtype="int32"), ValueError, ">>: the shift -2 is negative"),
        (lambda x: ops.bitwise_or(x, 0.5), TypeError, "bitwise_or: operands must be bools or int"),
        (lambda x: x & Tensor([1, 2, 3], dtype="int32"), ValueError, "&: shapes (2,) and (3,) do"),
        (lambda x: x | 2**40, ValueError, "|: the number 1099511627776 does not fit the tensor's"),
    ],
)
def test_messages(call, error: type[Exception], message: str, device: str) -> None:
    x = Tensor([1, 2], dtype="int32")
    with pytest.raises(error) as caught:
        call(x)
    assert str(caught.value).startswith(message)
    assert x.tolist() == [1, 2]
