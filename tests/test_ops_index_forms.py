"""The forms that indices come in: tuples and ranges beside lists, and either keyword."""

from __future__ import annotations

import re

import numpy as np
import pytest

from babygrad import Tensor, ops

CUBE = np.arange(60.0).reshape(3, 4, 5)
# Indices that are arrays by another name, alone and beside others.
FORMS = [
    ((0, 1), (2, 3)),
    ((0, 1), [2, 3]),
    ([0, 1], (2, 3), (4, -5)),
    ((0, 1), 2),
    (slice(None), (0, -1)),
    ((0, 2), slice(1, 3), (4, 0)),
    (..., (4, 0, 4)),
    (None, (0, 1), (2, 3)),
    ((0, 1), None, (2, 3)),
    (((0, 1), (2, 0)), 1),
    (((0, 1), (2, 0)), slice(None), range(2)),
    range(2),
    range(2, -1, -1),
    range(0),
    (range(3), range(3)),
    (slice(None), range(0, 4, 2)),
    ([range(2), range(1, 3)],),
    ((np.int64(0), np.int8(1)), (np.uint8(2), 3)),
    (np.int64(1), np.int32(-1)),
    ((True, False, True),),
    ((True, False, True), (0, 3)),
    ((),),
    ((), slice(1)),
    (np.array([0, 1]), (2, 3)),
]


@pytest.mark.parametrize("index", FORMS, ids=repr)
def test_tuples_and_ranges_are_arrays_of_indices(index, device: str) -> None:
    want = CUBE[index]
    x = Tensor(CUBE, requires_grad=True)
    y = x[index]
    assert (y.shape, y.tolist()) == (want.shape, want.tolist())
    upstream = np.random.default_rng(0).integers(1, 9, want.shape).astype(float)
    y.backward(Tensor(upstream))
    gradient = np.zeros_like(CUBE)
    np.add.at(gradient, index, upstream)
    assert x.grad.tolist() == gradient.tolist()
    written, into = CUBE.copy(), Tensor(CUBE)
    written[index] = 7.0
    into[index] = 7.0
    assert into.tolist() == written.tolist()


def test_a_tensor_in_a_tuple_is_one_index_beside_others(device: str) -> None:
    x = Tensor(CUBE)
    rows, columns = Tensor([0, 1], dtype="int64"), Tensor([2, 3], dtype="int64")
    assert (
        x[(rows, columns)].tolist() == x[(0, 1), (2, 3)].tolist() == CUBE[[0, 1], [2, 3]].tolist()
    )


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (((0, 3), (2, 3)), "index 3 is out of range for axis 0 with size 3"),
        ((slice(None), range(5)), "index 4 is out of range for axis 1 with size 4"),
        (((0, 1.5),), "an index must be of integers or of bools, not of "),
        (((0, True),), "an index must be of integers or of bools, not of "),
        (({0, 1},), "an index must consist of integers, slices, ..., None and arrays"),
    ],
)
def test_tuples_and_ranges_are_checked(index, message: str, device: str) -> None:
    for call in (lambda x: x[index], lambda x: x.__setitem__(index, 0.0)):
        with pytest.raises(IndexError, match=re.escape(message)):
            call(Tensor(CUBE))


def test_indices_go_by_either_name_and_in_every_form(device: str) -> None:
    values = np.arange(6.0).reshape(2, 3)
    x, places = Tensor(values), [[0, 1, 0]]
    for name in ("index", "indices"):
        assert x.gather(0, **{name: places}).tolist() == [[0.0, 4.0, 2.0]]
        assert ops.take(x, axis=1, **{name: range(2)}).tolist() == values[:, :2].tolist()
        ones = Tensor(np.ones((1, 3)))
        added = x.scatter_add(0, source=ones, **{name: ((0, 1, 0),)})
        assert added.tolist() == [[1.0, 1.0, 3.0], [3.0, 5.0, 5.0]]
    for call in (
        lambda: x.gather(0),
        lambda: x.take(axis=0),
        lambda: ops.take(x, [0], index=[0]),
        lambda: x.scatter_add(0, places, ones, indices=places),
    ):
        with pytest.raises(TypeError, match="give index or indices, two names for one"):
            call()


def test_what_is_missing_is_named(device):
    x = Tensor([0.0, 0.0])
    with pytest.raises(TypeError, match=r"gather: give index or indices, .*, not neither"):
        x.gather(0)
    with pytest.raises(TypeError, match="scatter_add: source is missing"):
        x.scatter_add(0, [1])
    with pytest.raises(TypeError, match=r"diagonal: offset \(=\(0, 7\)\) must be an integer"):
        ops.diagonal(Tensor(np.ones((2, 3))), (0, 7))
