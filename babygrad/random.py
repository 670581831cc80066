"""Where random numbers come from: numpy's global generator, or a seed of babygrad's own.

Until `manual_seed` is called everything draws from numpy's global generator, so that
`np.random.seed(0)` makes a run repeat, as in the book. From then on numpy's global state is
neither read nor changed. Numbers are always drawn here and never by a backend: one seed gives the
same initial values, order and masks on every device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from babygrad import _state
from babygrad.dtypes import DType

if TYPE_CHECKING:
    # numpy imports its random module when it is first used; importing babygrad is no use of it.
    from numpy.random import Generator as Generator

_generator: Generator | None = None


def manual_seed(seed: int | None) -> None:
    """Seed babygrad's own generator and stop using numpy's global one.

    Parameters
    ----------
    seed : int or None
        A non-negative integer, or None to return to numpy's global generator.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.manual_seed(0)
    >>> first = babygrad.Tensor.rand(2).tolist()
    >>> babygrad.manual_seed(0)
    >>> babygrad.Tensor.rand(2).tolist() == first
    True
    >>> babygrad.manual_seed(None)
    """
    global _generator
    if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
        raise ValueError(f"manual_seed: seed (={seed!r}) must be a non-negative integer or None")
    _generator = None if seed is None else np.random.default_rng(seed)


def get_state() -> dict[str, Any]:
    """The state of the generator in use, to be given back to `set_state`."""
    if _generator is None:
        return {"numpy_global": np.random.get_state(legacy=False)}
    return {"generator": _generator.bit_generator.state}


def set_state(state: dict[str, Any]) -> None:
    """Return to a state that `get_state` gave; one that went through JSON will do.

    Raises
    ------
    ValueError
        When `state` is none that `get_state` could give; nothing has changed then.
    """
    global _generator
    if not isinstance(state, dict) or set(state) not in ({"numpy_global"}, {"generator"}):
        found = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"set_state: state has the keys {found}; it must come from get_state()")
    ((kind, values),) = state.items()
    try:
        if kind == "generator":
            generator = np.random.default_rng()
            generator.bit_generator.state = values
        else:
            generator = None
            _set_global_state(values)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise ValueError(
            f"set_state: {kind!r} is no state of numpy's ({error!r}); it must come from get_state()"
        ) from None
    _generator = generator


def _set_global_state(values: Any) -> None:
    before: Any = np.random.get_state(legacy=False)
    place = values["state"]["pos"]
    if not 0 <= place <= len(before["state"]["key"]):  # numpy would read outside of its array
        raise ValueError(f"pos is {place}")
    try:
        np.random.set_state(values)
    except Exception:
        np.random.set_state(before)  # some of it may be written
        raise


class Draws:
    """The generators that a block drew from, and the states in which they were before.

    `with draws.noted():` runs the block, and `with draws.replayed():` later lets it draw the same
    numbers again, after which everything goes on as if it had drawn none.
    """

    def __init__(self) -> None:
        self._default = get_state()
        self._given: dict[int, tuple[Any, Any]] = {}  # bit generators by identity, with states

    @contextmanager
    def noted(self) -> Iterator[None]:
        outer = _state.local.draws
        _state.local.draws = self
        try:
            yield
        finally:
            _state.local.draws = outer
            if outer is not None:
                outer._given = self._given | outer._given

    @contextmanager
    def replayed(self) -> Iterator[None]:
        outer, default = _state.local.draws, get_state()
        given = [(bits, bits.state) for bits, _ in self._given.values()]
        _state.local.draws = None
        try:
            set_state(self._default)
            for bits, state in self._given.values():
                bits.state = state
            yield
        finally:
            _state.local.draws = outer
            set_state(default)
            for bits, state in given:
                bits.state = state


def __getattr__(name: str) -> Any:
    if name == "Generator":
        return np.random.Generator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def check_generator(op: str, generator: Any) -> None:
    """Refuse what is neither a Generator nor None, the number 0 included.

    Raises
    ------
    TypeError
        With the way to a generator from a seed.
    """
    if generator is not None and not isinstance(generator, np.random.Generator):
        raise TypeError(
            f"{op}: generator (={generator!r:.60}) must be a babygrad.random.Generator, such as "
            "numpy.random.default_rng(seed) gives, or None"
        )


def _source(generator: Generator | None) -> Generator | None:
    """What to draw from; None stands for numpy's global generator."""
    if generator is None:
        return _generator
    check_generator("random", generator)
    draws = _state.local.draws
    if draws is not None:
        bits = generator.bit_generator
        draws._given.setdefault(id(bits), (bits, bits.state))
    return generator


def uniform(shape: tuple[int, ...], generator: Generator | None = None) -> np.ndarray[Any, DType]:
    """float64 values, uniform on [0, 1)."""
    source = _source(generator)
    # np.random.rand() without arguments gives a float, hence asarray.
    return np.asarray(np.random.rand(*shape) if source is None else source.random(shape))


def uniform_between(
    shape: tuple[int, ...],
    low: float,
    high: float,
    dtype: DType,
    generator: Generator | None = None,
) -> np.ndarray[Any, DType]:
    """Values of type `dtype`, uniform on [low, high): drawn in float64, then rounded.

    Raises
    ------
    ValueError
        When `low` is above `high`, one is infinite or NaN, or the type has no number
        between them.
    """
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"rand: low (={low}) must be at most high (={high}), and both finite")
    low, high = float(low), float(high)
    end_of_type = float(np.finfo(dtype).max) if dtype.kind == "f" else math.inf
    if low > end_of_type or high < -end_of_type:
        raise ValueError(
            f"rand: there is no {dtype} between low (={low}) and high (={high}); the type ends at "
            f"{end_of_type}"
        )
    draws = uniform(shape, generator)
    span = high - low
    # The span of two finite bounds may be infinite.
    values = draws * span + low if span < math.inf else low * (1 - draws) + high * draws
    if dtype.kind not in "iuf" or low == high:
        return values.astype(dtype)
    if dtype.kind != "f":
        # A cast would round negative values up, perhaps to `high`.
        return np.minimum(np.floor(values), math.ceil(high) - 1).astype(dtype)
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
        first, end = np.array([low, high]).astype(dtype)
        reached = rounded >= end
        if not reached.any():
            return rounded
        below = np.nextafter(end, dtype.type(-math.inf))
    # Of a span that is narrower than the type's numbers are apart, `low` is all there is.
    largest = first if below < first and float(first) < high else below
    return np.where(reached, largest, rounded)


def normal(shape: tuple[int, ...], generator: Generator | None = None) -> np.ndarray[Any, DType]:
    """float64 values of the standard normal distribution."""
    source = _source(generator)
    return np.asarray(np.random.randn(*shape) if source is None else source.standard_normal(shape))


def shuffled(n: int, generator: Generator | None = None) -> np.ndarray[Any, DType]:
    """A random order of 0 to n - 1, int64."""
    order = np.arange(n)
    source = _source(generator)
    (np.random if source is None else source).shuffle(order)
    return order


def integers(low: int, high: int, generator: Generator | None = None) -> int:
    """One integer of [low, high), uniform."""
    source = _source(generator)
    if source is None:
        return int(np.random.randint(low, high))
    return int(source.integers(low, high))
