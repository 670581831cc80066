"""Whatever reaches a kernel is computed, handed to the reference, or refused: never read wildly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_cases import CASES, Maker, outputs

from babygrad.backends.numpy import NumpyBackend
from babygrad.testing.arrays import unaligned

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")

HANDED_OVER = object()
DTYPES = ["float32", "float64", "int32", "int64", "bool", "float16", "complex64", ">f4"]


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Arrays of odd shapes, dtypes, strides and alignment."""
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    x = np.full(shape, draw(st.integers(0, 3)), draw(st.sampled_from(DTYPES)))
    change = draw(st.sampled_from(["none", "flip", "transpose", "broadcast", "unaligned", "step"]))
    if change == "flip":
        x = x[::-1] if x.ndim else x
    elif change == "transpose":
        x = x.T
    elif change == "broadcast":
        x = np.broadcast_to(x, (2, *x.shape))
    elif change == "unaligned":
        raw = np.zeros(x.nbytes + 1, np.uint8)
        x = raw[1:].view(x.dtype).reshape(x.shape) if x.size else x
    elif change == "step":
        x = np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x
    return x


wild = st.one_of(
    arrays(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
    st.tuples(st.integers(-3, 5), st.integers(-3, 5)),
    st.lists(st.sampled_from([0, 1, 3, 2**24, 2**31, 2**62, 2**63 - 1]), max_size=4).map(tuple),
    st.tuples(*[st.tuples(st.integers(-1, 3), st.integers(-1, 3))] * 2),
    st.lists(arrays(), max_size=2),
    st.sampled_from([(2, 3), (1, 4, 4, 2), np.float32(1), np.ma.masked_array([1.0])]),
)


@pytest.mark.parametrize("name", _core.names())
def test_any_arguments_are_safe(name: str) -> None:
    function = _core.bind(name, lambda *args, **kwargs: HANDED_OVER)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(wild, min_size=1, max_size=8))
    def call(args: list[Any]) -> None:
        try:
            result = function(*args)
        except (TypeError, ValueError, IndexError, MemoryError):
            return
        for array in result if isinstance(result, tuple) else (result,):
            if isinstance(array, np.ndarray):
                array.copy()

    call()


# ----- Valid arguments in any memory layout, one of them perhaps wrong, beside the reference -----


def stepped(x: Any) -> Any:
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def overlapping(x: Any) -> Any:
    """Every axis advances by one element; other values, of the same range."""
    line = np.resize(x, sum(x.shape) + 1)
    return np.lib.stride_tricks.as_strided(line, x.shape, x.itemsize and (x.itemsize,) * x.ndim)


def frozen(x: Any) -> Any:
    x.flags.writeable = False
    return x


# The values of an array in other memory.
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda x: x,
    "negative strides": lambda x: np.flip(np.flip(x).copy()),
    "transposed": lambda x: np.array(x.T, order="C").T,
    "strided": stepped,
    "unaligned": unaligned,
    "read-only": frozen,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}
# Values that share memory: no kernel may write to them.
SHARING = {
    **LAYOUTS,
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "all one": lambda x: np.broadcast_to(x.flat[0], x.shape),
    "overlapping": overlapping,
}


def laid_out(arg: Any, layout: str) -> Any:
    """The argument with its arrays in another layout."""
    if isinstance(arg, list):
        safe = LAYOUTS.get(layout, LAYOUTS["as it is"])
        return [safe(x) if isinstance(x, np.ndarray) and x.ndim else x for x in arg]
    return SHARING[layout](arg) if isinstance(arg, np.ndarray) and arg.ndim else arg


def out_of_range(place: int) -> Callable[[Any], Any]:
    def change(x: Any) -> Any:
        x = x.copy()
        x.flat[-1:] = place if x.dtype == np.int64 else 1
        return x

    return change


def replaced(index: int, value: Any) -> Callable[[Any], Any]:
    return lambda given: type(given)([*given[:index], value, *given[index:][1:]])


# What can be wrong with an argument, by its kind.
WRONG: dict[type, list[Callable[[Any], Any]]] = {
    np.ndarray: [
        lambda x: x[0] if x.ndim else x[None],
        lambda x: x[None],
        lambda x: np.concatenate([x, x[:1]]),
        lambda x: np.concatenate([x, x[..., :1]], -1),
        lambda x: x[:0],
        lambda x: x[..., :0],
        *(lambda x, t=t: x.astype(t) for t in DTYPES),
        out_of_range(-(2**62)), out_of_range(2**62), out_of_range(-9), out_of_range(99),
        lambda x: x.view(np.ma.MaskedArray),
        lambda x: x.tolist(),
        lambda x: None,
        lambda x: 2.5,
    ],
    list: [
        lambda x: x[1:],
        lambda x: [*x, *x],
        lambda x: [None, *x[1:]],
        lambda x: [np.float32(1), *x[1:]],
        lambda x: [y[..., :1] if np.ndim(y) else y for y in x],
        tuple,
    ],
    tuple: [
        *(replaced(i, v) for i in range(4) for v in (0, -1, 7, 99, 1.5)),
        lambda x: x[1:],
        lambda x: (*x, 1),
        lambda x: x[0],
    ],
    int: [lambda x, v=v: v for v in (-9, -1, 0, 9, 2**62, 2**70, None, 1.0, (0,), (0, 0), "a")],
    float: [lambda x, v=v: v for v in (0, 2**70, None, "a", np.float64(0.5), np.ones(2))],
    bool: [lambda x, v=v: v for v in (None, 0, 1, "a")],
    str: [lambda x, v=v: v for v in ("float32", "int64", "float16", "nothing", None, float, 3)],
    type(None): [lambda x: 1, lambda x: np.ones(3, np.float32), lambda x: (0, 1), lambda x: 0.5],
}  # fmt: skip


def build(
    name: str, dtype: str, which: int, layouts: list[str], wrong: tuple[int, int] | None
) -> list[Any]:
    """New arguments for a kernel, the same ones for the same choices."""
    cases = CASES[name](Maker(dtype, large=False))
    args = list(cases[which % len(cases)])
    args = [laid_out(arg, layout) for arg, layout in zip(args, layouts, strict=False)]
    if wrong is not None:
        place = wrong[0] % len(args)
        ways = WRONG[type(args[place])]
        args[place] = ways[wrong[1] % len(ways)](args[place])
    return args


def answer(function: Callable[..., Any], args: list[Any]) -> list[Any] | Exception:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return outputs(function, tuple(args))
    except Exception as error:
        return error


def check_agreement(name: str, got: Any, want: Any) -> None:
    if isinstance(want, Exception):
        # Sizes beyond all memory: numpy has a limit of its own and names it.
        same = (MemoryError, ValueError) if isinstance(want, ValueError) else type(want)
        assert isinstance(got, same), f"{name}: {got!r} where the reference raises {want!r}"
        return
    if isinstance(got, IndexError):
        return  # the reference wraps negative places or leaves them out
    assert not isinstance(got, Exception), f"{name}: {got!r} where the reference gives {want!r}"
    assert len(got) == len(want)
    for x, y in zip(got, want, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape), name
        if x.dtype.kind not in "fc" or x.size == 0:
            np.testing.assert_array_equal(x, y)
            continue
        # Sums of at most a few hundred products of halves, and functions within 4 ulp.
        largest = np.abs(y[np.isfinite(y)]).max(initial=1)
        bound = 64 * np.finfo(x.dtype).eps * largest
        np.testing.assert_allclose(x, y, rtol=0, atol=bound)


choices = st.tuples(
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 5),
    # Half the arrays as they are: some kernels want several of theirs contiguous.
    st.lists(st.sampled_from([*["as it is"] * 9, *SHARING]), min_size=12, max_size=12),
    st.none() | st.tuples(st.integers(0, 11), st.integers(0, 59)),
)


@pytest.mark.parametrize("name", _core.names())
def test_every_kernel_agrees_with_the_reference(name: str) -> None:
    reference = getattr(NumpyBackend(), name)
    native = _core.bind(name, reference)
    isa = _core.isa()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(choices, st.sampled_from(_core.available_isas()))
    def compare(chosen: Any, isa: str) -> None:
        _core.set_isa(isa)
        want = answer(reference, build(name, *chosen))
        check_agreement(name, answer(native, build(name, *chosen)), want)

    try:
        compare()
    finally:
        _core.set_isa(isa)


@pytest.mark.parametrize("name", _core.names())
def test_every_wrong_argument_is_answered_as_the_reference_does(name: str) -> None:
    reference = getattr(NumpyBackend(), name)
    native = _core.bind(name, reference)
    cases = CASES[name](Maker("float32", large=False))
    for which, case in enumerate(cases):
        for place, arg in enumerate(case):
            for way in range(len(WRONG[type(arg)])):
                chosen = ("float32", which, ["as it is"] * len(case), (place, way))
                want = answer(reference, build(name, *chosen))
                got = answer(native, build(name, *chosen))
                check_agreement(f"{name}, case {which}, argument {place}, change {way}", got, want)


@pytest.mark.parametrize("target", [-2, 3, 2**62])
def test_targets_out_of_range_raise(target: int) -> None:
    cross_entropy = _core.bind("cross_entropy", lambda *args: HANDED_OVER)
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(IndexError, match=f"target {target} at position 1"):
        cross_entropy(x, np.array([0, target]))


@pytest.mark.parametrize("place", [-3, 2])
def test_places_out_of_range_are_the_references_to_refuse(place: int) -> None:
    take = _core.bind("take", np.take)
    with pytest.raises(IndexError):
        take(np.zeros((2, 3)), np.array([place]), 0)


def test_pooling_places_out_of_range_raise() -> None:
    grad = _core.bind("max_pool2d_grad", lambda *args: HANDED_OVER)
    gy = np.ones((1, 2, 2, 3), np.float32)
    index = np.full(gy.shape, 16)
    with pytest.raises(IndexError, match="outside the plane of 16"):
        grad(gy, index, (1, 4, 4, 3))
