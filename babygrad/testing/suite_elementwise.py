"""The suite's elementwise half: unary, binary and ternary members, and the activations."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from babygrad.backends.aliases import Array
from babygrad.testing import oracles
from babygrad.testing.arrays import (
    FLOATS,
    INTEGERS,
    LENGTHS,
    frozen_call,
    layouts,
    rotations,
    special,
    values,
    with_every_layout,
)
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import ARITHMETIC, FUNCTION, FUSED, check, check_exact, check_type

SHAPE = (3, 4, 5)

# name: (oracle in longdouble, interval of the inputs, ulps)
UNARY: dict[str, tuple[Callable[[Array], Any], tuple[float, float], int]] = {
    "negative": (np.negative, (-3, 3), ARITHMETIC),
    "abs": (np.abs, (-3, 3), ARITHMETIC),
    "sign": (np.sign, (-3, 3), ARITHMETIC),
    "square": (np.square, (-3, 3), ARITHMETIC),
    "sqrt": (np.sqrt, (0, 9), ARITHMETIC),
    "reciprocal": (lambda x: 1 / x, (0.1, 3), ARITHMETIC),
    "rsqrt": (lambda x: 1 / np.sqrt(x), (0.1, 3), FUNCTION),
    "exp": (np.exp, (-20, 20), FUNCTION),
    "expm1": (np.expm1, (-3, 3), FUNCTION),
    "log": (np.log, (0.01, 9), FUNCTION),
    "log1p": (np.log1p, (-0.9, 9), FUNCTION),
    "log2": (np.log2, (0.01, 9), FUNCTION),
    "sin": (np.sin, (-6, 6), FUNCTION),
    "cos": (np.cos, (-6, 6), FUNCTION),
    "tan": (np.tan, (-1.5, 1.5), FUNCTION),
    "tanh": (np.tanh, (-6, 6), FUNCTION),
    "sinh": (np.sinh, (-6, 6), FUNCTION),
    "cosh": (np.cosh, (-6, 6), FUNCTION),
    "erf": (lambda x: exact(oracles.erf(np.asarray(x, float))), (-4, 4), FUNCTION),
    "floor": (np.floor, (-3, 3), ARITHMETIC),
    "ceil": (np.ceil, (-3, 3), ARITHMETIC),
    "round": (np.rint, (-3, 3), ARITHMETIC),
    "relu": (lambda x: np.where(x < 0, 0, x), (-3, 3), ARITHMETIC),
    "sigmoid": (oracles.sigmoid, (-20, 20), FUSED),
    "softplus": (oracles.softplus, (-20, 20), FUSED),
    "silu": (oracles.silu, (-20, 20), FUSED),
}
# Beyond this the angle's own rounding is larger than a period.
ANGLE_LIMIT = 1e4

PREDICATES: dict[str, Callable[..., Any]] = {
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "logical_not": lambda x: x == 0,
}
BINARY: dict[str, tuple[Callable[..., Any], int]] = {
    "add": (operator.add, ARITHMETIC),
    "subtract": (operator.sub, ARITHMETIC),
    "multiply": (operator.mul, ARITHMETIC),
    "divide": (operator.truediv, ARITHMETIC),
    "pow": (lambda x, y: np.abs(x) ** y, FUNCTION),
    "maximum": (lambda x, y: np.where(x > y, x, y), ARITHMETIC),
    "minimum": (lambda x, y: np.where(x < y, x, y), ARITHMETIC),
}
COMPARISONS: dict[str, Callable[..., Any]] = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "logical_and": lambda x, y: (x != 0) & (y != 0),
    "logical_or": lambda x, y: (x != 0) | (y != 0),
}
# name: (slope at x in longdouble, the output y or None when the member takes x, parameters)
Slope = tuple[Callable[..., Any], Callable[..., Any] | None, tuple[Any, ...]]
GRADIENTS: dict[str, Slope] = {
    "relu_grad": (lambda x: np.where(x > 0, 1, 0), lambda x: np.maximum(x, 0), ()),
    "sigmoid_grad": (oracles.sigmoid_slope, oracles.sigmoid, ()),
    "tanh_grad": (lambda x: 1 - np.tanh(x) ** 2, np.tanh, ()),
    "softplus_grad": (oracles.sigmoid, None, ()),
    "silu_grad": (oracles.silu_slope, None, ()),
    "gelu_grad": (oracles.gelu_slope, None, (False,)),
    "gelu_grad by tanh": (oracles.gelu_slope, None, (True,)),
    "elu_grad": (oracles.elu_slope, None, (0.7,)),
    "leaky_relu_grad": (lambda x, slope: np.where(x > 0, 1, exact(slope)), None, (0.01,)),
}
PARAMETRIC: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "gelu": (oracles.gelu, (False,)),
    "gelu by tanh": (oracles.gelu, (True,)),
    "elu": (oracles.elu, (0.7,)),
    "leaky_relu": (lambda x, slope: np.where(x > 0, x, x * exact(slope)), (0.01,)),
}
BROADCASTS = [((3, 4, 5), ()), ((3, 4, 5), (5,)), ((4, 1), (1, 5)), ((3, 1, 5), (4, 1)),
              ((0, 3), (3,)), ((1,), (7,)), ((), ())]  # fmt: skip

floats = pytest.mark.parametrize("dtype", FLOATS)


def member_of(xp: Any, name: str) -> Any:
    """The member behind a table's key: what stands before a space."""
    return getattr(xp, name.split()[0])


def sparse_zeros(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Values of which about a third are 0 and a third are equal to their neighbours'."""
    return np.asarray(np.round(values(shape, "float64", -1.5, 1.5, seed)), dtype)


@np.errstate(all="ignore")
def ignoring(oracle: Callable[..., Any], *args: Any) -> Any:
    return oracle(*args)


class ElementwiseSuite:
    """Values, dtypes, layouts, tails, special numbers and broadcasting."""

    @floats
    @pytest.mark.parametrize("name", UNARY)
    def test_unary(self, xp: Any, name: str, dtype: str) -> None:
        oracle, interval, ulps = UNARY[name]
        member, x = getattr(xp, name), values(SHAPE, dtype, *interval)
        want = oracle(exact(x))
        for layout, given in layouts(x):
            check(frozen_call(member, given), want, dtype, ulps, of=f"{name}, {layout}")
        swapped = np.array(x.T, order="C").T
        assert member(swapped).strides == np.empty_like(swapped).strides, f"{name}: not K order"
        column = np.broadcast_to(x[:, :1], SHAPE)
        check(member(column), oracle(exact(column)), dtype, ulps, of=f"{name}, 0-stride")
        for shape in ((), (0,), (2, 0, 3), (1,), (1, 1)):
            x = values(shape, dtype, *interval)
            check(member(x), oracle(exact(x)), dtype, ulps, of=f"{name}, shape {shape}")
        x = values((LENGTHS[-1],), dtype, *interval)
        want = oracle(exact(x))
        for n in LENGTHS:
            check(member(x[:n]), want[:n], dtype, ulps, of=f"{name}, length {n}")

    @floats
    @pytest.mark.parametrize("name", UNARY)
    def test_unary_special(self, xp: Any, name: str, dtype: str) -> None:
        oracle, _, ulps = UNARY[name]
        numbers = special(dtype)
        if name in ("sin", "cos", "tan"):
            numbers = numbers[~(np.abs(numbers) > ANGLE_LIMIT) | np.isinf(numbers)]
        for x in rotations(numbers):
            with np.errstate(all="ignore"):
                got = getattr(xp, name)(x)
            check(got, ignoring(oracle, exact(x)), dtype, ulps, of=name)

    @floats
    @pytest.mark.parametrize("name", PREDICATES)
    def test_predicate(self, xp: Any, name: str, dtype: str) -> None:
        for x in rotations(special(dtype)):
            for n in (1, 2, 31, len(x)):
                check_exact(getattr(xp, name)(x[:n]), PREDICATES[name](x[:n]), name)
        for layout, given in layouts(sparse_zeros(SHAPE, dtype)):
            check_exact(getattr(xp, name)(given), PREDICATES[name](given), f"{name}, {layout}")

    @floats
    @pytest.mark.parametrize("name", BINARY)
    def test_binary(self, xp: Any, name: str, dtype: str) -> None:
        oracle, ulps = BINARY[name]
        member = getattr(xp, name)

        def draw(shape: tuple[int, ...], seed: int) -> Array:
            x = values(shape, dtype, seed=seed)
            return np.abs(x) if name == "pow" and seed == 0 else x

        a, b = draw(SHAPE, 0), draw(SHAPE, 1)
        want = oracle(exact(a), exact(b))
        for layout, (x, y) in with_every_layout(a, b):
            check(frozen_call(member, x, y), want, dtype, ulps, of=f"{name}, {layout}")
        for first, second in BROADCASTS:
            x, y = draw(first, 0), draw(second, 1)
            want = oracle(exact(x), exact(y))
            check(member(x, y), want, dtype, ulps, of=f"{name}, {first} with {second}")
        x, y = draw((LENGTHS[-1],), 0), draw((LENGTHS[-1],), 1)
        want, by_scalar = oracle(exact(x), exact(y)), oracle(exact(x), exact(np.array(1.5, dtype)))
        scalar_first = oracle(exact(np.array(1.5, dtype)), exact(y))
        for n in LENGTHS:
            check(member(x[:n], y[:n]), want[:n], dtype, ulps, of=f"{name}, length {n}")
            check(member(x[:n], 1.5), by_scalar[:n], dtype, ulps, of=f"{name} with a number")
            check(member(1.5, y[:n]), scalar_first[:n], dtype, ulps, of=f"number {name}")

    @floats
    @pytest.mark.parametrize("name", BINARY)
    def test_binary_special(self, xp: Any, name: str, dtype: str) -> None:
        oracle, ulps = BINARY[name]
        numbers = special(dtype)
        numbers = numbers[np.abs(numbers) != np.finfo(dtype).smallest_subnormal]
        for x in rotations(numbers):
            y = x[::-1].copy()
            if name == "pow":
                x = np.abs(x)
            with np.errstate(all="ignore"):
                got, want = getattr(xp, name)(x, y), oracle(exact(x), exact(y))
                if name in ("maximum", "minimum"):
                    want = np.where(np.isnan(x) | np.isnan(y), np.nan, want)
            check(got, want, dtype, ulps, of=name)

    @pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
    @pytest.mark.parametrize("name", COMPARISONS)
    def test_comparison(self, xp: Any, name: str, dtype: str) -> None:
        member, oracle = getattr(xp, name), COMPARISONS[name]
        a, b = sparse_zeros(SHAPE, dtype, 0), sparse_zeros(SHAPE, dtype, 1)
        for layout, (x, y) in with_every_layout(a, b):
            check_exact(member(x, y), oracle(a, b), f"{name}, {layout}")
        for first, second in BROADCASTS:
            x, y = sparse_zeros(first, dtype, 0), sparse_zeros(second, dtype, 1)
            check_exact(member(x, y), np.asarray(oracle(x, y)), f"{name}, {first} with {second}")
        x, y = sparse_zeros((LENGTHS[-1],), dtype, 0), sparse_zeros((LENGTHS[-1],), dtype, 1)
        for n in LENGTHS:
            check_exact(member(x[:n], y[:n]), oracle(x, y)[:n], f"{name}, length {n}")
            check_exact(member(x[:n], 1), oracle(x, np.ones((), dtype))[:n], f"{name} with 1")
        if dtype in FLOATS:
            for x in rotations(special(dtype)):
                y = x[::-1].copy()
                check_exact(member(x, y), oracle(x, y), f"{name}, special")

    @pytest.mark.parametrize("name", COMPARISONS)
    def test_comparison_of_uint64_with_int64(self, xp: Any, name: str) -> None:
        x, y = np.array([0, 1 << 63, (1 << 64) - 1, 5], "uint64"), np.array([-1, 0, 5])[:, None]
        pairs = [[COMPARISONS[name](a, b) for a in x.tolist()] for (b,) in y.tolist()]
        check_exact(getattr(xp, name)(x, y), np.array(pairs), f"{name} of uint64 and int64")

    @pytest.mark.parametrize("dtype", INTEGERS)
    @pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum"])
    def test_integer_arithmetic(self, xp: Any, name: str, dtype: str) -> None:
        a, b = distinct_pair(dtype)
        want = np.asarray(BINARY[name][0](a, b), dtype)
        for layout, (x, y) in with_every_layout(a, b):
            check_exact(getattr(xp, name)(x, y), want, f"{name}, {layout}")

    @pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
    @pytest.mark.parametrize("name", ["floor_divide", "remainder"])
    def test_python_division(self, xp: Any, name: str, dtype: str) -> None:
        """The signs are those of Python's // and %, and an integer divided by 0 gives 0."""
        numbers = [-7, -6, -1, 0, 1, 6, 7]
        pairs = np.array([(a, b) for a in numbers for b in numbers if b], dtype)
        x, y = pairs[:, 0].copy(), pairs[:, 1].copy()
        python = operator.floordiv if name == "floor_divide" else operator.mod
        want = np.array([python(a.item(), b.item()) for a, b in pairs], dtype)
        for n in range(1, len(x) + 1):
            check_exact(getattr(xp, name)(x[:n], y[:n]) + 0, want[:n] + 0, f"{name}, length {n}")
        check_exact(
            getattr(xp, name)(x, 4), np.array([python(a.item(), 4) for a in x], dtype), name
        )
        if dtype in INTEGERS:
            check_exact(getattr(xp, name)(x, np.zeros_like(x)), np.zeros_like(x), f"{name} by 0")
        else:
            by_0 = getattr(xp, name)(np.array([1, -1, 0], dtype), np.zeros(3, dtype))
            ends = [np.inf, -np.inf, np.nan] if name == "floor_divide" else [np.nan] * 3
            check_exact(by_0, np.array(ends, dtype), f"{name} by 0")

    @floats
    def test_division_by_zero(self, xp: Any, dtype: str) -> None:
        x, zeros = np.array([1, -1, 0, np.nan, 1], dtype), np.array([0, 0, 0, 0, -0.0], dtype)
        want = np.array([np.inf, -np.inf, np.nan, np.nan, -np.inf], dtype)
        check_exact(xp.divide(x, zeros), want, "divide")
        check_exact(xp.reciprocal(zeros[3:]), np.array([np.inf, -np.inf], dtype), "reciprocal")

    @pytest.mark.parametrize("dtype", [*FLOATS, "int64", "bool"])
    def test_where(self, xp: Any, dtype: str) -> None:
        a, b = sparse_zeros(SHAPE, dtype, 0), sparse_zeros(SHAPE, dtype, 1)
        condition = values(SHAPE, "bool")
        want = _where(condition, a, b)
        for layout, (c, x, y) in with_every_layout(condition, a, b):
            check_exact(frozen_call(xp.where, c, x, y), want, f"where, {layout}")
        check_exact(xp.where(condition[0, 0], a, b[:, :1]), _where(condition[0, 0], a, b[:, :1]))
        one, zero = np.ones((), dtype), np.zeros((), dtype)
        check_exact(xp.where(condition, a, one.item()), _where(condition, a, one), "a number")
        check_exact(xp.where(condition, zero.item(), b), _where(condition, zero, b), "a number")
        x, c = sparse_zeros((LENGTHS[-1],), dtype), values((LENGTHS[-1],), "bool")
        for n in LENGTHS:
            got = xp.where(c[:n], x[:n], zero.item())
            check_exact(got, (x * c).astype(dtype)[:n], f"length {n}")

    @pytest.mark.parametrize("dtype", [*FLOATS, "int64"])
    def test_clip(self, xp: Any, dtype: str) -> None:
        x = np.asarray(values(SHAPE, "float64", -9, 9), dtype)
        lo, hi = np.asarray(values((5,), "float64", -4, 0), dtype), np.array(3, dtype)
        bounds: list[tuple[Any, Any]] = [(-2, 3), (None, 3), (-2, None), (lo, hi), (lo, None)]
        for low, high in bounds:
            want = x if low is None else np.where(x < low, low, x)
            want = want if high is None else np.where(want > high, high, want)
            for layout, given in layouts(x):
                check_exact(xp.clip(given, low, high), want.astype(dtype), f"clip, {layout}")
        if dtype in FLOATS:
            numbers = np.array([np.nan, np.inf, -np.inf, 0.5], dtype)
            check_exact(xp.clip(numbers, -1, 1), np.array([np.nan, 1, -1, 0.5], dtype), "clip")

    @floats
    @pytest.mark.parametrize("name", PARAMETRIC)
    def test_activation(self, xp: Any, name: str, dtype: str) -> None:
        oracle, parameters = PARAMETRIC[name]
        member, x = member_of(xp, name), values(SHAPE, dtype, -4, 4)
        for layout, given in layouts(x):
            want = oracle(exact(x), *parameters)
            got = frozen_call(member, given, *parameters)
            check(got, want, dtype, FUSED, scale=np.abs(x), of=f"{name}, {layout}")
        x = values((LENGTHS[-1],), dtype, -4, 4)
        for n in LENGTHS:
            want = oracle(exact(x[:n]), *parameters)
            check(member(x[:n], *parameters), want, dtype, FUSED, scale=np.abs(x[:n]), of=name)
        numbers = np.array([np.nan, np.inf, 0.0], dtype)
        check_exact(member(numbers, *parameters), numbers, f"{name}, special")
        for shape in ((), (0, 2)):
            check_type(member(np.ones(shape, dtype), *parameters), dtype, shape, name)

    @floats
    @pytest.mark.parametrize("name", GRADIENTS)
    def test_activation_grad(self, xp: Any, name: str, dtype: str) -> None:
        slope, output, parameters = GRADIENTS[name]
        member = member_of(xp, name)

        def run(shape: tuple[int, ...]) -> tuple[Array, Array, Any, Any]:
            gy, x = values(shape, dtype, seed=1), values(shape, dtype, -4, 4)
            saved = x if output is None else np.asarray(output(exact(x)), dtype)
            scale = np.abs(gy) * (1 + np.abs(x))  # the terms 1 and x s of a slope may cancel
            want = exact(gy) * slope(exact(x), *parameters)
            if output is not None and name != "relu_grad":  # y, not x, is what is given exactly
                y = exact(saved)
                want = exact(gy) * (y * (1 - y) if name == "sigmoid_grad" else 1 - y * y)
            return gy, saved, want, scale

        gy, saved, want, scale = run(SHAPE)
        for layout, (g, s) in with_every_layout(gy, saved):
            got = frozen_call(member, g, s, *parameters)
            check(got, want, dtype, FUSED, scale=scale, of=f"{name}, {layout}")
        spread = np.broadcast_to(gy[0, 0, 0], SHAPE)
        check(
            member(spread, saved, *parameters), want / gy * gy[0, 0, 0], dtype, FUSED,
            scale=np.abs(spread) * 5, of=f"{name}, 0-stride",
        )  # fmt: skip
        for n in (*LENGTHS, 0):
            gy, saved, want, scale = run((n,))
            check(member(gy, saved, *parameters), want, dtype, FUSED, scale=scale, of=name)
        if name not in ("relu_grad", "leaky_relu_grad"):  # whose slopes are constants
            nan = np.full(3, np.nan, dtype)
            check_exact(member(np.ones(3, dtype), nan, *parameters), nan, f"{name}, NaN")

    @floats
    @pytest.mark.parametrize("name", ["silu", "gelu", "gelu by tanh"])
    def test_limits(self, xp: Any, name: str, dtype: str) -> None:
        """Far out the function is x or 0 and its slope 1 or 0, at the infinities as well."""
        far = np.array([np.inf, np.finfo(dtype).max, 1e20, 1e3], dtype)
        x, zero, one = np.concatenate([far, -far]), np.zeros(4, dtype), np.ones(4, dtype)
        member, parameters = name.split()[0], () if name == "silu" else (name != "gelu",)
        want, slope = np.concatenate([far, zero]), np.concatenate([one, zero])
        check_exact(getattr(xp, member)(x, *parameters), want, name)
        got = getattr(xp, f"{member}_grad")(np.ones(8, dtype), x, *parameters)
        check_exact(got, slope, f"the slope of {name}")

    @floats
    def test_chain(self, xp: Any, dtype: str) -> None:
        """A zero gradient stays 0 whatever it is multiplied or divided by."""
        g, x = values(SHAPE, dtype), values(SHAPE, dtype, 0.5, 3, seed=1)
        for layout, (gy, given) in with_every_layout(g, x):
            got = frozen_call(xp.chain_multiply, gy, given)
            check(got, exact(g) * exact(x), dtype, ARITHMETIC, of=f"chain_multiply, {layout}")
            got = frozen_call(xp.chain_divide, gy, given)
            check(got, exact(g) / exact(x), dtype, ARITHMETIC, of=f"chain_divide, {layout}")
        nothing = np.zeros(4, dtype)
        singular = np.array([np.inf, -np.inf, np.nan, 0], dtype)
        check_exact(xp.chain_multiply(nothing, singular), nothing, "chain_multiply")
        check_exact(xp.chain_divide(nothing, singular), nothing, "chain_divide")

    @floats
    def test_kinks(self, xp: Any, dtype: str) -> None:
        one, zero = np.ones(3, dtype), np.zeros(3, dtype)
        check_exact(xp.relu_grad(one, zero), zero, "relu'(0) = 0")
        check_exact(xp.leaky_relu_grad(one, zero, 0.5), one / 2, "leaky_relu'(0) = slope")
        nan = np.full(3, np.nan, dtype)
        check_exact(xp.relu_grad(one, nan), one, "a NaN output passes the gradient")


def _where(condition: Array, x: Array, y: Array) -> Array:
    condition, x, y = np.broadcast_arrays(condition, x, y)
    chosen = [a if c else b for c, a, b in zip(condition.flat, x.flat, y.flat, strict=True)]
    return np.array(chosen, x.dtype).reshape(x.shape)


def distinct_pair(dtype: str) -> tuple[Array, Array]:
    return (
        np.asarray(values(SHAPE, "float64", -1000, 1000, 0), dtype),
        np.asarray(values(SHAPE, "float64", -1000, 1000, 1), dtype),
    )
