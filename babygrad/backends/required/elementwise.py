"""The required elementwise members.

Operands broadcast against each other. Arrays in one call have one dtype, but that uint64 and int64
are compared, by their values; a Python number takes the dtype of the array beside it. The result
keeps numpy's K order: the memory layout of its inputs. Singular points follow IEEE 754, and raise
neither an exception nor a warning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from babygrad.backends.aliases import Array, Operand


class RequiredElementwise(ABC):
    """Functions of one, two or three operands, applied element by element."""

    # ----- Unary -----

    @abstractmethod
    def negative(self, x: Array) -> Array:
        """-x."""

    @abstractmethod
    def abs(self, x: Array) -> Array:
        """|x|."""

    @abstractmethod
    def sign(self, x: Array) -> Array:
        """-1, 0 or 1; NaN where x is NaN."""

    @abstractmethod
    def square(self, x: Array) -> Array:
        """x * x."""

    @abstractmethod
    def sqrt(self, x: Array) -> Array:
        """Square root; NaN below 0."""

    @abstractmethod
    def exp(self, x: Array) -> Array:
        """e ** x."""

    @abstractmethod
    def expm1(self, x: Array) -> Array:
        """e ** x - 1, accurate near 0."""

    @abstractmethod
    def log(self, x: Array) -> Array:
        """Natural logarithm; -inf at 0, NaN below."""

    @abstractmethod
    def log1p(self, x: Array) -> Array:
        """log(1 + x), accurate near 0."""

    @abstractmethod
    def log2(self, x: Array) -> Array:
        """Logarithm to base 2."""

    @abstractmethod
    def sin(self, x: Array) -> Array:
        """Sine; NaN at an infinity."""

    @abstractmethod
    def cos(self, x: Array) -> Array:
        """Cosine; NaN at an infinity."""

    @abstractmethod
    def tan(self, x: Array) -> Array:
        """Tangent; NaN at an infinity."""

    @abstractmethod
    def tanh(self, x: Array) -> Array:
        """Hyperbolic tangent."""

    @abstractmethod
    def sinh(self, x: Array) -> Array:
        """Hyperbolic sine."""

    @abstractmethod
    def cosh(self, x: Array) -> Array:
        """Hyperbolic cosine."""

    @abstractmethod
    def erf(self, x: Array) -> Array:
        """Error function, 2 / sqrt(pi) times the integral of exp(-t ** 2) from 0 to x."""

    @abstractmethod
    def floor(self, x: Array) -> Array:
        """Largest whole number <= x."""

    @abstractmethod
    def ceil(self, x: Array) -> Array:
        """Smallest whole number >= x."""

    @abstractmethod
    def round(self, x: Array) -> Array:
        """Nearest whole number, halves to even."""

    @abstractmethod
    def reciprocal(self, x: Array) -> Array:
        """1 / x; a signed infinity at a signed 0."""

    @abstractmethod
    def isnan(self, x: Array) -> Array:
        """Whether x is NaN; bool."""

    @abstractmethod
    def isinf(self, x: Array) -> Array:
        """Whether x is an infinity; bool."""

    @abstractmethod
    def isfinite(self, x: Array) -> Array:
        """Whether x is neither NaN nor an infinity; bool."""

    @abstractmethod
    def logical_not(self, x: Array) -> Array:
        """Whether x is 0; bool."""

    @abstractmethod
    def bitwise_invert(self, x: Array) -> Array:
        """The bits that an integer or bool has not."""

    # ----- Binary -----

    @abstractmethod
    def add(self, x: Operand, y: Operand) -> Array:
        """x + y."""

    @abstractmethod
    def subtract(self, x: Operand, y: Operand) -> Array:
        """x - y."""

    @abstractmethod
    def multiply(self, x: Operand, y: Operand) -> Array:
        """x * y."""

    @abstractmethod
    def divide(self, x: Operand, y: Operand) -> Array:
        """x / y; IEEE infinities and NaN where y is 0."""

    @abstractmethod
    def floor_divide(self, x: Operand, y: Operand) -> Array:
        """floor(x / y), rounded down for either sign as in Python; an integer over 0 gives 0."""

    @abstractmethod
    def remainder(self, x: Operand, y: Operand) -> Array:
        """x - floor_divide(x, y) * y, with the sign of y; integer remainder by 0 gives 0."""

    @abstractmethod
    def pow(self, x: Operand, y: Operand) -> Array:
        """x ** y; x ** 0 is 1 for every x."""

    @abstractmethod
    def maximum(self, x: Operand, y: Operand) -> Array:
        """The larger of the two; NaN when either is NaN."""

    @abstractmethod
    def minimum(self, x: Operand, y: Operand) -> Array:
        """The smaller of the two; NaN when either is NaN."""

    @abstractmethod
    def equal(self, x: Operand, y: Operand) -> Array:
        """x == y; bool, False with NaN."""

    @abstractmethod
    def not_equal(self, x: Operand, y: Operand) -> Array:
        """x != y; bool, True with NaN."""

    @abstractmethod
    def less(self, x: Operand, y: Operand) -> Array:
        """x < y; bool, False with NaN."""

    @abstractmethod
    def less_equal(self, x: Operand, y: Operand) -> Array:
        """x <= y; bool, False with NaN."""

    @abstractmethod
    def greater(self, x: Operand, y: Operand) -> Array:
        """x > y; bool, False with NaN."""

    @abstractmethod
    def greater_equal(self, x: Operand, y: Operand) -> Array:
        """x >= y; bool, False with NaN."""

    @abstractmethod
    def logical_and(self, x: Operand, y: Operand) -> Array:
        """Whether both are non-zero; bool."""

    @abstractmethod
    def logical_or(self, x: Operand, y: Operand) -> Array:
        """Whether either is non-zero; bool."""

    @abstractmethod
    def bitwise_and(self, x: Operand, y: Operand) -> Array:
        """The bits that both integers or bools have."""

    @abstractmethod
    def bitwise_or(self, x: Operand, y: Operand) -> Array:
        """The bits that either integer or bool has."""

    @abstractmethod
    def bitwise_xor(self, x: Operand, y: Operand) -> Array:
        """The bits that one integer or bool has and the other has not."""

    @abstractmethod
    def bitwise_left_shift(self, x: Operand, y: Operand) -> Array:
        """x * 2 ** y of integers, without the bits beyond the type; y >= 0."""

    @abstractmethod
    def bitwise_right_shift(self, x: Operand, y: Operand) -> Array:
        """floor(x / 2 ** y) of integers; y >= 0."""

    # ----- Ternary -----

    @abstractmethod
    def where(self, condition: Array, x: Operand, y: Operand) -> Array:
        """``x`` where ``condition`` (bool) holds, else ``y``."""

    @abstractmethod
    def clip(self, x: Array, lo: Operand | None, hi: Operand | None) -> Array:
        """``x`` limited to [lo, hi]; None means no limit. NaN stays NaN."""
