"""Tensors have one dtype object for each type, however many of them numpy makes.

An array that was pickled brings an object of its own that equals numpy's and is another one, and
C's `long long` is a second int64. A comparison with `is` must not tell them apart.
"""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, ops
from babygrad.dtypes import as_dtype, promote

HALF = np.dtype("float16")
N = 70000  # more than the largest float16


def through_a_file(array):
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    return np.load(file)


# Ways to an array with an equal dtype; most give it an object of its own.
WAYS = {
    "as it is": lambda a: a,
    "pickled": lambda a: pickle.loads(pickle.dumps(a)),
    "pickled out of band": lambda a: pickle.loads(pickle.dumps(a, 5)),
    "from a file": through_a_file,
    "deep copy": copy.deepcopy,
    "native byte order": lambda a: a.view(a.dtype.newbyteorder("=")),
    "with metadata": lambda a: a.view(np.dtype(a.dtype, metadata={"unit": "m"})),
}
DOORS = {
    "from_numpy": babygrad.from_numpy,
    "Tensor": lambda a: Tensor(a, dtype=None),
    "Tensor of the array's dtype": lambda a: Tensor(a, dtype=a.dtype),
    "Tensor of a Tensor": lambda a: Tensor(babygrad.from_numpy(a), dtype=a.dtype),
    "Parameter": lambda a: nn.Parameter(babygrad.from_numpy(a), requires_grad=False),
    "data": lambda a: with_data(a),
    "astype": lambda a: Tensor(a).astype(a.dtype),
    "forward": lambda a: Given(a)(Tensor([0.0])),
    "pickle": lambda a: pickle.loads(pickle.dumps(babygrad.from_numpy(a))),
    "deepcopy": lambda a: copy.deepcopy(babygrad.from_numpy(a)),
}


def with_data(array):
    tensor = Tensor([0.0], dtype=array.dtype)
    tensor.data = array
    return tensor


class Given(babygrad.Function):
    def __init__(self, result):
        self.result = result

    def forward(self, a):
        return self.result


def test_some_of_the_ways_make_another_object():
    made = [way(np.ones(1, HALF)).dtype for way in WAYS.values()]
    assert all(dtype == HALF for dtype in made)
    assert sum(dtype is not HALF for dtype in made) >= 3


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "name", ["float16", "float32", "float64", "int32", "int64", "uint64", "bool"]
)
def test_whatever_comes_in_has_the_one_object(device, name, door):
    for way in WAYS.values():
        tensor = DOORS[door](way(np.ones(3, name)))
        assert tensor.dtype is np.dtype(name)
        assert tensor.tolist() == [1, 1, 1]


def test_c_long_long_is_int64(device):
    array = np.ones(3, np.longlong)
    for door in DOORS.values():
        assert door(array).dtype is np.dtype("int64")
    shared = babygrad.from_numpy(array)
    array[0] = 5
    assert shared.tolist() == [5, 1, 1]
    assert as_dtype(np.longlong) is as_dtype("int64") is np.dtype("int64")


def test_from_numpy_and_data_share_memory_whatever_the_object(device):
    for way in WAYS.values():
        array = way(np.ones((4, 3), HALF))[::-2].T
        for tensor in (babygrad.from_numpy(array), with_data(array)):
            assert np.shares_memory(tensor.data, array)
            assert tensor.data.strides == array.strides


def test_promotion_gives_the_one_object_for_others():
    other = np.dtype(np.float64, metadata={"unit": "m"})
    assert promote(other, np.dtype("int64")) is np.dtype("float64")
    assert promote(np.dtype("int8"), other) is np.dtype("float64")


# What is computed of N numbers of float16, in float64: each overflows or loses digits in float16.
OPERATIONS = {
    "sum": (lambda t: t.sum(), np.sum),
    "mean": (lambda t: t.mean(), np.mean),
    "norm": (lambda t: t.norm(), np.linalg.norm),
    "prod": (lambda t: (t + 0.5).prod(), lambda a: (a + 0.5).prod()),
    "var": (lambda t: t.var(), lambda a: a.var(ddof=1)),
    "std": (lambda t: t.std(), lambda a: a.std(ddof=1)),
    "exp": (lambda t: t.exp(), np.exp),
    "relu": (lambda t: t.relu(), lambda a: np.maximum(a, 0)),
    "softmax": (lambda t: t.softmax(0), lambda a: np.exp(a) / np.exp(a).sum()),
    "logsumexp": (lambda t: t.logsumexp(), lambda a: np.log(np.exp(a).sum())),
    "cumsum": (lambda t: t.cumsum(0), np.cumsum),
    "multiply": (lambda t: t * t, lambda a: a * a),
    "dot": (lambda t: t.dot(t), lambda a: a @ a),
    "matmul": (lambda t: t.reshape(1, N) @ t, lambda a: (a @ a).reshape(1)),
    "layer_norm": (
        lambda t: ops.layer_norm(t, (N,)),
        lambda a: (a - a.mean()) / np.sqrt(a.var() + 1e-5),
    ),
    "conv": (
        lambda t: ops.conv2d(t.reshape(1, 700, 10, 10), t.reshape(1, 700, 10, 10)),
        lambda a: (a @ a).reshape(1, 1, 1, 1),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic_on_float16_is_done_in_float32(device, name, way):
    values = np.random.default_rng(0).uniform(0, 1, N).astype(HALF)
    function, oracle = OPERATIONS[name]
    for door in (babygrad.from_numpy, DOORS["Tensor"], DOORS["forward"]):
        got = function(door(WAYS[way](values)))
        assert got.dtype is np.dtype("float32")
        want = oracle(values.astype("float64"))
        # 70000 float32 roundings that partly cancel; prod has that many factors.
        np.testing.assert_allclose(got.data, want, rtol=1e-2 if name == "prod" else 2e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_gradients_of_unpickled_arrays_have_the_one_object(device, name):
    w = babygrad.from_numpy(WAYS["pickled"](np.ones(3, name))).requires_grad_()
    w.grad = WAYS["pickled"](np.ones(3, name))
    (w * 2).sum().backward()
    assert w.grad.dtype is np.dtype(name)
    assert w.grad.tolist() == [3, 3, 3]
    (g,) = babygrad.grad((w * 2).sum(), [w])
    assert g.dtype is np.dtype(name)


def test_forward_may_return_what_numpy_reads_as_numbers(device):
    swapped = np.array([1.0, 2.0], ">f4")
    for result, dtype in (
        (3, "int64"),
        (3.5, "float32"),
        ([1, 2], "int64"),
        (np.float32(2), "float32"),
        (swapped, "float32"),
        (np.ones((1, 2)).view(np.recarray), "float64"),
    ):
        y = Given(result)(Tensor([1.0]))
        assert y.dtype is np.dtype(dtype)
        assert type(y.data) is np.ndarray
        assert y.tolist() == np.asarray(result).tolist()
    for result in (None, "text", [None], 1j, np.ma.array([1.0]), np.longdouble(1)):
        with pytest.raises(TypeError, match=r"^Given\.forward: "):
            Given(result)(Tensor([1.0]))
