"""The suite's indexing: values taken from arrays and put into them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from babygrad.testing.arrays import FLOATS, distinct, frozen_call, layouts, values
from babygrad.testing.oracles import exact
from babygrad.testing.tolerance import check_exact, check_sum

SHAPE = (3, 4, 5)
AXES = (None, 0, 1, -1, (0, 2), (0, 1, 2), ())
DTYPES = (*FLOATS, "int64", "bool")

floats = pytest.mark.parametrize("dtype", FLOATS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


INDICES: list[Any] = [
    1, -1, slice(None, None, -2), (..., 0), (None, 1), (slice(1, 3), slice(None), -1),
    np.array([0, 2, -1, 0]), (np.array([0, 1]), np.array([3, -4])), np.array([], np.int64),
    (slice(None), np.array([[0, 1], [2, 3]])), (np.array([True, False, True]),),
    (slice(None, None, 2), np.array([1, 1]), 3),
]  # fmt: skip


class IndexingSuite:
    @dtypes
    def test_getitem_setitem(self, xp: Any, dtype: str) -> None:
        x = np.asarray(distinct(SHAPE, "int64"), dtype)
        for layout, given in layouts(x):
            for index in INDICES:
                got = frozen_call(xp.getitem, given, index)
                check_exact(got, np.asarray(x[index]), f"getitem, {layout}, {index}")
            if not given.flags.writeable:
                continue
            written = given.copy(order="K")
            assert xp.setitem(written, (slice(None), 1), 1) is written
            assert (written[:, 1] == 1).all()
            assert (written[:, 0] == x[:, 0]).all()
        with pytest.raises(IndexError):
            xp.getitem(x, 3)
        with pytest.raises(IndexError):
            xp.getitem(x, np.array([0, -4]))

    @dtypes
    def test_take(self, xp: Any, dtype: str) -> None:
        x = np.asarray(distinct(SHAPE, "int64"), dtype)
        indices = np.array([[0, -1], [2, 0]])
        for (layout, given), axis in itertools.product(layouts(x), (0, 1, -1)):
            got, where = xp.take(given, indices, axis), axis % 3
            for i, j in itertools.product(range(2), range(2)):
                part = np.take(np.take(got, i, where), j, where)
                check_exact(part, np.moveaxis(x, axis, 0)[indices[i, j]], f"take, {layout}")
            empty = xp.take(given, np.array([], np.int64), axis)
            assert empty.shape[where] == 0
        for outside in (5, -6):
            with pytest.raises(IndexError):
                xp.take(x, np.array([outside]), 2)

    @dtypes
    def test_take_along_axis(self, xp: Any, dtype: str) -> None:
        x = np.asarray(distinct(SHAPE, "int64"), dtype)
        indices = np.random.default_rng(0).integers(-5, 5, (3, 4, 2))
        want = np.empty((3, 4, 2), dtype)
        for place in np.ndindex(3, 4, 2):
            want[place] = x[place[0], place[1], indices[place]]
        for layout, given in layouts(x):
            check_exact(xp.take_along_axis(given, indices, 2), want, f"take_along_axis, {layout}")
        with pytest.raises(IndexError):
            xp.take_along_axis(x, indices + 5, 2)

    @floats
    def test_scatter(self, xp: Any, dtype: str) -> None:
        indices = np.array([[0, 3], [-1, 0]])
        target = (3, 4, 5)
        for axis, shape in ((1, (3, 2, 2, 5)), (0, (2, 2, 4, 5)), (-1, (3, 4, 2, 2))):
            src, places = values(shape, dtype), indices % target[axis]
            places[1, 0] -= target[axis]  # a negative index counts from the end
            want = np.zeros(target, np.longdouble)
            along = np.moveaxis(want, axis, 0)
            axes = [axis % 3, axis % 3 + 1]
            for i, j in itertools.product(range(2), range(2)):
                along[places[i, j]] += np.moveaxis(exact(src), axes, [0, 1])[i, j]
            for layout, given in layouts(src):
                got = frozen_call(xp.scatter_add, target, places, given, axis)
                check_sum(got, want, dtype, 4, 3, f"scatter_add, {layout}, axis {axis}")
        with pytest.raises(IndexError):
            xp.scatter_add((3, 4), np.array([4]), np.ones((3, 1), dtype), 1)
        nothing = xp.scatter_add((3, 4), np.array([], np.int64), np.ones((3, 0), dtype), 1)
        check_exact(nothing, np.zeros((3, 4), dtype), "scatter_add of nothing")

    @floats
    def test_index_add(self, xp: Any, dtype: str) -> None:
        for index in INDICES:
            places = np.arange(60).reshape(SHAPE)[index]
            src = values(places.shape, dtype)
            want = np.zeros(60, np.longdouble)
            for place, value in zip(np.ravel(places), np.ravel(src), strict=True):
                want[place] += value
            got = xp.index_add(SHAPE, index, src)
            check_sum(got, want.reshape(SHAPE), dtype, 2, 3, f"index_add at {index}")

    @floats
    def test_scatter_along_axis(self, xp: Any, dtype: str) -> None:
        indices = np.random.default_rng(0).integers(0, 4, (3, 6, 5))
        src, want = values((3, 6, 5), dtype), np.zeros((3, 4, 5), np.longdouble)
        for a, b, c in np.ndindex(3, 6, 5):
            want[a, indices[a, b, c], c] += src[a, b, c]
        for layout, given in layouts(src):
            got = xp.scatter_along_axis((3, 4, 5), indices, given, 1)
            check_sum(got, want, dtype, 6, 3, f"scatter_along_axis, {layout}")
