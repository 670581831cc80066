"""Shape operations: values against numpy's, views, round trips, joining and cutting, messages."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

X = np.arange(24.0).reshape(2, 3, 4)

CASES = {
    "reshape": (lambda t: t.reshape(4, -1), lambda x: x.reshape(4, -1)),
    "reshape-tuple": (lambda t: t.reshape((24,)), lambda x: x.reshape(24)),
    "flatten": (lambda t: t.flatten(1), lambda x: x.reshape(2, 12)),
    "flatten-part": (lambda t: t.flatten(0, 1), lambda x: x.reshape(6, 4)),
    "T": (lambda t: t.T, lambda x: x.swapaxes(-1, -2)),
    "transpose": (lambda t: t.transpose((0, 2)), lambda x: x.swapaxes(0, 2)),
    "transpose-ints": (lambda t: t.transpose(0, 1), lambda x: x.swapaxes(0, 1)),
    "permute": (lambda t: t.permute(2, 0, 1), lambda x: x.transpose(2, 0, 1)),
    "swapaxes": (lambda t: t.swapaxes(0, -1), lambda x: x.swapaxes(0, -1)),
    "movedim": (lambda t: t.movedim(0, -1), lambda x: np.moveaxis(x, 0, -1)),
    "movedim-many": (lambda t: t.movedim((0, 2), (-1, 0)),
                     lambda x: np.moveaxis(x, (0, 2), (-1, 0))),
    "unsqueeze": (lambda t: t.unsqueeze(-1), lambda x: x[..., None]),
    "squeeze": (lambda t: t[:1].squeeze(0), lambda x: x[0]),
    "squeeze-all": (lambda t: t[:1, :, :1].squeeze(), lambda x: x[0, :, 0]),
    "broadcast_to": (lambda t: t[:, :1].broadcast_to(5, 2, 3, 4),
                     lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4))),
    "expand": (lambda t: t[:, :1].expand(-1, 3, -1),
               lambda x: np.broadcast_to(x[:, :1], (2, 3, 4))),
    "flip": (lambda t: t.flip(), lambda x: x[::-1, ::-1, ::-1]),
    "flip-axes": (lambda t: t.flip((0, -1)), lambda x: x[::-1, :, ::-1]),
    "roll": (lambda t: t.roll(-5, 2), lambda x: np.roll(x, -5, 2)),
    "roll-flat": (lambda t: t.roll(3), lambda x: np.roll(x, 3)),
    "roll-many": (lambda t: t.roll((1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    "roll-alike": (lambda t: t.roll(1, (0, 2)), lambda x: np.roll(x, 1, (0, 2))),
    "repeat": (lambda t: t.repeat(2, 1), lambda x: np.repeat(x, 2, 1)),
    "repeat-counts": (lambda t: t.repeat([1, 0, 3], 1), lambda x: np.repeat(x, [1, 0, 3], 1)),
    "repeat-array": (lambda t: t.repeat(np.array([1, 0, 3]), 1),
                     lambda x: np.repeat(x, [1, 0, 3], 1)),
    "repeat-tensor": (lambda t: t.repeat(Tensor([1, 0, 3], dtype="int64"), 1),
                      lambda x: np.repeat(x, [1, 0, 3], 1)),
    "repeat-flat": (lambda t: t.repeat(2), lambda x: np.repeat(x, 2)),
    "tile": (lambda t: t.tile(2, 1, 3), lambda x: np.tile(x, (2, 1, 3))),
    "tile-more": (lambda t: t.tile((2, 1, 1, 2)), lambda x: np.tile(x, (2, 1, 1, 2))),
    "tile-fewer": (lambda t: t.tile(2), lambda x: np.tile(x, 2)),
    "tril": (lambda t: t.tril(), np.tril),
    "triu": (lambda t: t.triu(-1), lambda x: np.triu(x, -1)),
    "diagonal": (lambda t: t.diagonal(), lambda x: x.diagonal()),
    "diagonal-low": (lambda t: t.diagonal(-1, 2, 1), lambda x: x.diagonal(-1, 2, 1)),
    "diagonal-none": (lambda t: t.diagonal(9), lambda x: x.diagonal(9)),
    "pad": (lambda t: t.pad(((1, 0), (0, 2), (3, 1)), 7),
            lambda x: np.pad(x, ((1, 0), (0, 2), (3, 1)), constant_values=7)),
    "pad-all": (lambda t: t.pad(1), lambda x: np.pad(x, 1)),
    "concatenate": (lambda t: ops.concatenate([t, t[:, :1]], -2),
                    lambda x: np.concatenate([x, x[:, :1]], -2)),
    "stack": (lambda t: ops.stack([t, t], 1), lambda x: np.stack([x, x], 1)),
    "stack-last": (lambda t: ops.stack([t, t], -1), lambda x: np.stack([x, x], -1)),
    "undilate": (lambda t: ops.undilate(t, (1, 2), 1), lambda x: x[:, ::2, ::2]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool"])
def test_value(case: str, kind: str, device: str) -> None:
    ours, numpys = CASES[case]
    x = X.astype(kind)
    got, expected = ours(Tensor(x, dtype=None)), numpys(x)
    assert got.dtype == kind
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got.data, expected)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", ["transposed", "negative", "strided"])
def test_any_layout(case: str, layout: str, device: str) -> None:
    base = {
        "transposed": np.ascontiguousarray(X.transpose(2, 1, 0)).transpose(2, 1, 0),
        "negative": X[::-1, :, ::-1],
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
    }[layout]
    ours, numpys = CASES[case]
    np.testing.assert_array_equal(ours(babygrad.from_numpy(base)).data, numpys(base))


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_gradient_of_every_permutation(ndim: int, device: str) -> None:
    shape = (2, 3, 4, 5)[:ndim]
    for axes in itertools.permutations(range(ndim)):
        x = Tensor(np.zeros(shape), requires_grad=True)
        y = ops.permute(x, axes)
        upstream = np.arange(x.size, dtype="float32").reshape(y.shape)
        y.backward(Tensor(upstream))
        np.testing.assert_array_equal(x.grad, upstream.transpose(np.argsort(axes)))


def test_transpose_of_two_axes_in_the_middle(device: str) -> None:
    x = Tensor(np.zeros((2, 3, 4, 5)), requires_grad=True)
    upstream = np.arange(120, dtype="float32").reshape(2, 4, 3, 5)
    x.transpose((1, 2)).backward(Tensor(upstream))
    np.testing.assert_array_equal(x.grad, upstream.swapaxes(1, 2))


@pytest.mark.parametrize(
    "view", [lambda t: t.reshape(-1), lambda t: t.T, lambda t: t.flip(), lambda t: t.squeeze()]
)
def test_writing_to_a_view_writes_to_the_base(view, device: str) -> None:
    x = Tensor(np.zeros((2, 1, 3)))
    view(x)[...] = 1.0
    assert x.tolist() == [[[1, 1, 1]], [[1, 1, 1]]]


def test_round_trips(device: str) -> None:
    x = Tensor(X)
    assert np.array_equal(ops.concatenate(ops.split(x, 2, 2), 2).data, X)
    assert np.array_equal(ops.concatenate(ops.chunk(x, 2, 1), 1).data, X)
    assert np.array_equal(ops.stack([x[i] for i in range(2)]).data, X)
    assert np.array_equal(x.flip(1).flip(1).data, X)
    assert np.array_equal(x.roll(3, 1).roll(-3, 1).data, X)
    assert np.array_equal(x.unsqueeze(1).squeeze(1).data, X)
    assert np.array_equal(x.pad(2)[2:-2, 2:-2, 2:-2].data, X)
    assert np.array_equal(ops.undilate(ops.dilate(x, (0, 2), 2), (0, 2), 2).data, X)


def test_split_and_chunk_sizes(device: str) -> None:
    x = Tensor(np.arange(7.0))
    assert [len(t) for t in ops.split(x, 3)] == [3, 3, 1]
    assert [len(t) for t in ops.split(x, [2, 0, 5])] == [2, 0, 5]
    assert [len(t) for t in ops.chunk(x, 3)] == [3, 3, 1]
    assert [len(t) for t in ops.chunk(x, 4)] == [2, 2, 2, 1]
    assert [len(t) for t in ops.split(x[:0], 3)] == [0]


def test_dilate(device: str) -> None:
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = ops.dilate(x, (0, 1), 1)
    assert y.tolist() == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
    y.backward(Tensor(np.arange(9.0).reshape(3, 3)))
    assert x.grad.tolist() == [[0, 2], [6, 8]]
    assert ops.dilate(x, 0).shape == (3, 2)
    assert ops.dilate(x[:0], 0).shape == (0, 2)


def test_concatenate_promotes(device: str) -> None:
    parts = [Tensor([1], dtype="int64"), Tensor([2.5]), Tensor([1], dtype="float64")]
    assert ops.concatenate(parts).dtype == "float64"
    assert ops.stack(parts[:2]).dtype == "float32"


def test_astype_and_its_gradient(device: str) -> None:
    x = Tensor([1.5, 2.5], dtype="float64", requires_grad=True)
    y = x.astype("float32")
    assert (y.dtype, x.astype("float64") is x) == ("float32", True)
    (y * y).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == ("float64", [3.0, 5.0])
    assert not x.astype("int64").requires_grad
    half = Tensor([1.0], dtype="float16", requires_grad=True)
    (half.astype("float32") * 2).backward()
    assert half.grad.dtype == "float16"


# ----- Messages -----


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x: x.reshape(4, 2),
            ValueError,
            "reshape: a tensor of shape (2, 3) with 6 elements does not fit shape (4, 2)",
        ),
        (
            lambda x: x[:0].reshape(-1, 0),
            ValueError,
            "reshape: a tensor of shape (0, 3) with 0 elements does not fit shape (-1, 0)",
        ),
        (
            lambda x: x.reshape(-1, -1),
            ValueError,
            "reshape: a tensor of shape (2, 3) with 6 elements does not fit shape (-1, -1)",
        ),
        (lambda x: x.reshape(2.0, 3), TypeError, "reshape: a size (=2.0) must be an integer"),
        (
            lambda x: x.permute(0, 0),
            ValueError,
            "permute: axes (0, 0) must name each of 2 axes once",
        ),
        (
            lambda x: x.transpose((0, 2)),
            ValueError,
            "transpose: axis 2 is out of range for a tensor of shape (2, 3)",
        ),
        (
            lambda x: x.squeeze(1),
            ValueError,
            "squeeze: axis 1 of shape (2, 3) does not have size 1",
        ),
        (
            lambda x: x.broadcast_to(3, 3),
            ValueError,
            "broadcast_to: shape (2, 3) does not broadcast to (3, 3)",
        ),
        (
            lambda x: x.expand(3, -1),
            ValueError,
            "expand: shape (2, 3) does not broadcast to (3, 3)",
        ),
        (
            lambda x: ops.concatenate([x, x.T]),
            ValueError,
            "concatenate: tensor 1 has shape (3, 2) and tensor 0 has shape (2, 3); "
            "they may differ along axis 0 only",
        ),
        (lambda x: ops.concatenate([]), ValueError, "concatenate: there must be at least one"),
        (
            lambda x: ops.stack([x, x.T]),
            ValueError,
            "stack: there must be tensors, of one shape; their shapes are [(2, 3), (3, 2)]",
        ),
        (
            lambda x: ops.split(x, [1, 2]),
            ValueError,
            "split: sizes (1, 2) must add up to 2, the size of axis 0",
        ),
        (lambda x: ops.split(x, 0), ValueError, "split: size (=0) must be at least 1"),
        (
            lambda x: x.pad(((1, -1), (0, 0))),
            ValueError,
            "pad: widths (=((1, -1), (0, 0))) must be a pair of non-negative integers for each "
            "of 2 axes",
        ),
        (
            lambda x: x.repeat([1, 2, 3], 0),
            ValueError,
            "repeat: repeats (=[1, 2, 3]) must be one non-negative integer, or one for each of "
            "2 places along axis 0",
        ),
        (lambda x: x.roll((1, 2, 3), (0, 1)), ValueError, "roll: there are 3 shifts for 2 axes"),
        (
            lambda x: x.movedim((0, 0), (0, 1)),
            ValueError,
            "movedim: source (=(0, 0)) and destination (=(0, 1)) must name equally many axes, none "
            "twice",
        ),
        (
            lambda x: x[0].tril(),
            ValueError,
            "tril: a tensor of shape (3,) has no matrices; it needs two axes",
        ),
        (
            lambda x: x.flatten(1, 0),
            ValueError,
            "flatten: start_axis 1 comes after end_axis 0",
        ),
    ],
)
def test_messages(call, error, message: str, device: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(Tensor(np.ones((2, 3))))
