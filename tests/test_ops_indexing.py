"""Indexing: every kind of index against numpy, gradients, assignment, ranges, messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

X = np.arange(60.0).reshape(3, 4, 5)
MASK = X[..., 0] % 3 == 0

INDICES = {
    "int": 1,
    "negative": -1,
    "slice": slice(1, 3),
    "negative-step": (slice(None, None, -1), slice(3, 0, -2)),
    "ellipsis": (..., 2),
    "none": (None, 1, None, slice(2)),
    "all-ints": (1, 2, 3),
    "list": [0, 0, 2],
    "negative-list": [-1, 0],
    "pairs": ([0, 1, 1], [3, -1, -1]),
    "array-2d": np.array([[0, 1], [2, 2]]),
    "array-after-slice": (slice(None), [3, 3, 0]),
    "array-last": (..., [0, 4, 4]),
    "mixed": (slice(1, None), [1, 1], slice(None, None, 2)),
    "split-arrays": ([0, 1], slice(None), [2, 2]),
    "int-and-array": (2, [1, 1, 0]),
    "broadcast-arrays": ([[0], [1]], [0, 2]),
    "mask": MASK,
    "mask-list": [True, False, True],
    "mask-first-axis": (np.array([True, False, True]), 1),
    "mask-and-array": (np.array([True, False, True]), [1, 2]),
    "numpy-int": np.int64(2),
    "uint8": np.array([1, 1], "uint8"),
    "empty-list": [],
    "empty-slice": slice(2, 2),
    "true": True,
}


@pytest.mark.parametrize("kind", INDICES)
def test_value_and_gradient(kind: str, device: str, dtype: str) -> None:
    index = INDICES[kind]
    reference = index if kind != "empty-list" else np.zeros(0, int)
    expected = X[reference]
    x = Tensor(X, dtype=dtype, requires_grad=True)
    y = x[index]
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y.data, expected)
    upstream = np.arange(1.0, expected.size + 1).reshape(expected.shape).astype(dtype)
    y.backward(Tensor(upstream, dtype=dtype))
    accumulated = np.zeros(X.shape)
    for place, value in zip(
        np.arange(60).reshape(X.shape)[reference].ravel(), upstream.ravel(), strict=True
    ):
        accumulated.reshape(-1)[place] += value
    np.testing.assert_array_equal(x.grad, accumulated)


@pytest.mark.parametrize("kind", INDICES)
def test_assignment(kind: str, device: str) -> None:
    index = INDICES[kind]
    expected = X.copy()
    expected[index if kind != "empty-list" else np.zeros(0, int)] = -1.0
    x = Tensor(X, dtype="float64")
    memory = x.data
    x[index] = -1
    assert x.data is memory
    np.testing.assert_array_equal(x.data, expected)


def test_tensors_as_indices(device: str) -> None:
    x = Tensor(X)
    assert x[Tensor([2, 0], dtype="int32")].tolist() == X[[2, 0]].tolist()
    assert x[x > 50].tolist() == X[X > 50].tolist()
    assert x[Tensor(1, dtype="int64")].tolist() == X[1].tolist()
    assert x[:, Tensor([1], dtype="int64")].shape == (3, 1, 5)


def test_repeated_and_empty(device: str) -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[0, 0, 1]].sum().backward()
    assert x.grad.tolist() == [2, 1, 0]
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[]].sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_basic_indices_are_views(device: str) -> None:
    x = Tensor(np.zeros((2, 3)))
    for view in (x[0], x[0, 1], x[:, 1:], x[None, ..., 0]):
        view[...] = view + 1
    assert x.tolist() == [[2, 3, 2], [1, 1, 1]]
    copy = x[[0]]
    copy[...] = 100
    assert x.data.max() < 100


def test_iteration(device: str) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3, 4], [1, 2]]


# ----- Assignment in a graph -----


def test_assignment_is_differentiable(device: str) -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = Tensor([10.0], requires_grad=True)
    y = x * 2
    earlier = y + 0
    y[1:] = v
    assert y.tolist() == [2, 10, 10]
    assert earlier.tolist() == [2, 4, 6]
    (y * y).sum().backward()
    assert x.grad.tolist() == [8, 0, 0]
    assert v.grad.tolist() == [40]


def test_earlier_consumers_keep_their_gradients(device: str) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    earlier = y * 5
    y[0] = 7.0
    (earlier + y).sum().backward()
    assert x.grad.tolist() == [15, 18]


def test_earlier_consumers_that_saved_the_values_refuse(device: str) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    earlier = y * y
    y[0] = 7.0
    with pytest.raises(RuntimeError, match=r"an input of Multiply.* was modified in place"):
        earlier.sum().backward()
    assert x.grad is None


def test_assignment_of_a_graph_into_a_buffer(device: str) -> None:
    out = Tensor(np.zeros((2, 2)))
    w = Tensor([1.0, 2.0], requires_grad=True)
    out[0] = w
    out[1] = w * w
    out.sum().backward()
    assert out.requires_grad
    assert w.grad.tolist() == [3, 5]


def test_overwritten_elements_of_the_value_get_no_gradient(device: str) -> None:
    base, v = Tensor(np.zeros(3)), Tensor([1.0, 2.0, 3.0], requires_grad=True)
    base[[0, 0, 2]] = v
    assert base.tolist() == [2, 0, 3]
    (base * Tensor([10.0, 20.0, 30.0])).sum().backward()
    assert v.grad.tolist() == [0, 10, 30]


def test_assignment_without_recording_is_in_place(device: str) -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    y = w * w
    with babygrad.no_grad():
        w[0] = 5
    assert w.tolist() == [5, 2]
    with pytest.raises(RuntimeError, match="was modified in place"):
        y.sum().backward()


def test_assignment_casts_to_the_tensors_type(device: str) -> None:
    x = Tensor([1, 2, 3], dtype="int64")
    x[0] = 7
    x[1:] = Tensor([8.0, 9.0])
    assert (x.dtype, x.tolist()) == ("int64", [7, 8, 9])


# ----- Along an axis -----


def test_take(device: str) -> None:
    x = Tensor(X)
    ids = np.array([[3, -1], [0, 0]])
    assert np.array_equal(x.take(ids, 1).data, np.take(X, ids, 1))
    assert np.array_equal(x.take([59, 0]).data, [59, 0])
    assert x.take(2, axis=0).shape == (4, 5)


def test_gather_and_scatter_add(device: str) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    index = np.array([[2, 0], [2, 1]])
    assert ops.gather(x, 0, index).tolist() == [[5, 2], [5, 4]]
    assert ops.gather(x, 1, [[1], [0]]).tolist() == [[2], [3]]
    added = ops.scatter_add(x, 0, index, Tensor([[10.0, 20.0], [30.0, 40.0]]))
    assert added.tolist() == [[1, 22], [3, 44], [45, 6]]
    assert x.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_one_hot(device: str) -> None:
    rows = ops.one_hot(Tensor([1, 0], dtype="int64"), 3)
    assert rows.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert (rows.dtype, rows.requires_grad) == ("float32", False)
    with pytest.raises(IndexError, match=re.escape("index 3 at position (1,)")):
        ops.one_hot([0, 3], 3)


# ----- Messages -----


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: x[3],
            IndexError,
            "getitem: index 3 is out of range for axis 0 with size 3, "
            "in a tensor of shape (3, 4, 5)",
        ),
        (
            lambda x: x[0, -5],
            IndexError,
            "getitem: index -5 is out of range for axis 1 with size 4",
        ),
        (
            lambda x: x[..., 5],
            IndexError,
            "getitem: index 5 is out of range for axis 2 with size 5",
        ),
        (
            lambda x: x[[0, 7]],
            IndexError,
            "getitem: index 7 is out of range for axis 0 with size 3",
        ),
        (
            lambda x: x[:, np.array([[-9, 0]])],
            IndexError,
            "getitem: index -9 is out of range for axis 1 with size 4",
        ),
        (
            lambda x: x[0, 0, 0, 0],
            IndexError,
            "getitem: 4 indices for a tensor of shape (3, 4, 5)",
        ),
        (
            lambda x: x[np.array([True, False])],
            IndexError,
            "getitem: a mask of shape (2,) does not fit axis 0 of a tensor of shape (3, 4, 5)",
        ),
        (
            lambda x: x[[0.5]],
            IndexError,
            "getitem: an index must be of integers or of bools, not of float",
        ),
        (
            lambda x: x[Tensor([1.0])],
            IndexError,
            "getitem: an index must be of integers or of bools, not of float32",
        ),
        (
            lambda x: x["a"],
            IndexError,
            "getitem: an index must consist of integers, slices, ..., None and arrays of integers "
            "or bools, not str",
        ),
        (lambda x: x[..., ...], IndexError, "getitem: an index may have only one ellipsis (...)"),
        (
            lambda x: x.__setitem__(9, 0),
            IndexError,
            "setitem: index 9 is out of range for axis 0 with size 3",
        ),
        (
            lambda x: x.__setitem__(0, Tensor([1.0, 2.0])),
            ValueError,
            "setitem: a value of shape (2,) does not broadcast to a[index], of shape (4, 5)",
        ),
        (
            lambda x: Tensor([1.0], requires_grad=True).__setitem__(0, 1),
            RuntimeError,
            "setitem: this leaf of shape (1,) requires grad and cannot be modified in place while "
            "operations are recorded; use no_grad(), or build a new tensor with where, "
            "concatenate or stack",
        ),
        (
            lambda x: x.take([4], 1),
            IndexError,
            "take: index 4 is out of range for axis 1 with size 4",
        ),
        (
            lambda x: x.gather(0, np.zeros((3, 4), int)),
            ValueError,
            "gather: index has shape (3, 4); it must have the 3 axes of the tensor's shape "
            "(3, 4, 5), none larger but axis 0",
        ),
        (
            lambda x: x.scatter_add(0, np.zeros((1, 1, 2), int), Tensor([[[1.0]]])),
            ValueError,
            "scatter_add: source has shape (1, 1, 1); it must cover the index, of shape (1, 1, 2)",
        ),
    ],
)
def test_messages(call, error, message: str, device: str) -> None:
    x = Tensor(X)
    before = x.numpy()
    with pytest.raises(error, match=re.escape(message)):
        call(x)
    np.testing.assert_array_equal(x.data, before)


def test_a_leaf_is_untouched_by_a_refused_assignment(device: str) -> None:
    w = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="where, concatenate or stack"):
        w[0] = Tensor([5.0], requires_grad=True)
    assert w.tolist() == [1, 2]
