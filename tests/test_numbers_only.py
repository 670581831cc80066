"""One rule at every door: only real numbers come in, the rest is refused with what to do instead.

numpy would make numbers of nearly all of it: NaN of None, days since 1970 of a date.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import warnings

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, data, nn, ops

MASKED = np.ma.array([1.0, 2.0], mask=[False, True])
# What is refused, with a word of the advice that must come with it.
NO_NUMBERS = {
    "text": (np.array(["1", "2"]), "float()"),
    "text of any length": (np.array(["1", "2"], np.dtypes.StringDType()), "float()"),
    "bytes": (np.array([b"1", b"2"]), "float()"),
    "dates": (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), "timedelta64"),
    "nanoseconds": (np.array(["2020-01-01", "2020-01-02"], "M8[ns]"), "timedelta64"),
    "time spans": (np.array([1, 2], "m8[s]"), "timedelta64"),
    "None": (np.array([None, None]), "float"),
    "objects": (np.array([1, 2], object), "astype(float)"),
    "complex": (np.array([1 + 2j, 2]), "real"),
    "records": (np.zeros(2, [("a", "f4"), ("b", "i4")]), "array['name']"),
    "masked": (MASKED, ".filled("),
    "masked nowhere": (np.ma.array([1.0, 2.0]), ".filled("),
    "list with None": ([1.0, None], "nan"),
    "tuple with None": ((1.0, None), "nan"),
    "nested list with None": ([[1.0], [None]], "nan"),
    "list of text": (["1", "2"], "float()"),
    "list of bytes": ([b"1", b"2"], "float()"),
    "list with text": ([1, "2"], "float()"),
    "list with complex": ([1j, 2], "real"),
    "list of dates": ([datetime.date(2020, 1, 1)] * 2, "float()"),
    "list of numpy's dates": ([np.datetime64("2020-01-01")] * 2, "timedelta64"),
    "list of decimals": ([decimal.Decimal(1)] * 2, "float()"),
    "list of fractions": ([fractions.Fraction(1, 2)] * 2, "float()"),
    "list with a masked element": ([1.0, np.ma.masked], ".filled("),
    "list of masked arrays": ([MASKED], ".filled("),
    "list of rows of two lengths": ([[1.0], [1.0, 2.0]], "one length"),
}
SCALARS = {
    "text": "1",
    "bytes": b"1",
    "complex": 1j,
    "numpy's complex": np.complex64(1),
    "date": np.datetime64("2020-01-01", "ns"),
    "time span": np.timedelta64(1, "ns"),
    "masked": np.ma.masked,
    "masked array without axes": np.ma.array(1.0),
    "object without axes": np.array(1, object),
    "date without axes": np.array("2020-01-01", "M8[ns]"),
    "decimal": decimal.Decimal(1),
    "fraction": fractions.Fraction(1, 2),
    "Python's date": datetime.datetime(2020, 1, 1),
}


def pair():
    return Tensor([1.0, 2.0])


def leaf():
    return Tensor([1.0, 2.0], requires_grad=True)


def assigned(name, make):
    return lambda value: setattr(make(), name, value)


def written(value):
    pair()[:] = value


def hooked(value):
    y = leaf() * 2
    y.register_hook(lambda _: value)
    y.sum().backward()


def loaded(value):
    module = nn.Module()
    module.w = nn.Parameter([1.0, 2.0])
    module.load_state_dict({"w": value})


class Constant(babygrad.Function):
    def __init__(self, value):
        self.value = value

    def forward(self, a):
        return self.value


DOORS = {
    "Tensor": Tensor,
    "Tensor of the array's type": lambda value: Tensor(value, dtype=None),
    "Parameter": nn.Parameter,
    "constant": lambda value: Tensor.constant(2, c=value),
    "operand": lambda value: pair() + value,
    "first operand": lambda value: ops.subtract(value, pair()),
    "the only operand": ops.exp,
    "a comparison's": lambda value: pair() < value,
    "in place": lambda value: pair().__iadd__(value),
    "matmul": lambda value: ops.matmul(pair(), value),
    "stack": lambda value: ops.stack([pair(), value]),
    "where": lambda value: ops.where(pair() > 1, pair(), value),
    "where's condition": lambda value: ops.where(value, pair(), pair()),
    "clip": lambda value: ops.clip(pair(), value),
    "loss": lambda value: ops.mse_loss(pair(), value),
    "labels": lambda value: ops.cross_entropy(Tensor(np.ones((2, 9))), value),
    "one_hot": lambda value: Tensor.one_hot(value, 9),
    "data": assigned("data", pair),
    "data of a leaf": assigned("data", leaf),
    "grad": assigned("grad", leaf),
    "setitem": written,
    "backward": lambda value: (leaf() * 2).backward(value),
    "hook": hooked,
    "load_state_dict": loaded,
    "dataset": data.ArrayDataset,
    "forward": lambda value: Constant(value)(pair()),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_number_is_refused_in_one_sentence_without_a_warning(device, door):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, (value, advice) in NO_NUMBERS.items():
            with pytest.raises(TypeError) as caught:
                DOORS[door](value)
            message = str(caught.value)
            assert "is not an array of numbers; " in message, name
            assert advice in message, name
            assert "\n" not in message
        for name, value in SCALARS.items():
            with pytest.raises(TypeError) as caught:
                DOORS[door](value)
            assert "number" in str(caught.value), name


def test_none_where_a_value_must_be_is_refused(device):
    for door in DOORS.keys() - {"grad", "backward", "hook", "clip"}:  # there it means nothing given
        with pytest.raises(TypeError, match="number"):
            DOORS[door](None)


def test_the_message_begins_with_the_door(device):
    value = np.array([1j, 2])
    for door, begins in {
        "Tensor": "Tensor",
        "Parameter": "Parameter",
        "operand": "add",
        "data": "data",
        "grad": "grad",
        "setitem": "setitem",
        "backward": "backward",
        "load_state_dict": "load_state_dict: w",
        "labels": "cross_entropy: label",
        "dataset": "ArrayDataset: array 0",
        "forward": "Constant.forward",
    }.items():
        with pytest.raises(TypeError) as caught:
            DOORS[door](value)
        assert str(caught.value).startswith(f"{begins}: data of type complex128 is not an array")


@pytest.mark.parametrize(
    "name", [n for n, (v, _) in NO_NUMBERS.items() if isinstance(v, np.ndarray)]
)
def test_from_numpy_refuses_them_too(device, name):
    value, advice = NO_NUMBERS[name]
    with pytest.raises(TypeError, match=r"^from_numpy: .* is not an array of numbers; ") as caught:
        babygrad.from_numpy(value)
    assert advice in str(caught.value)


def test_a_fill_value_is_a_number(device):
    for value in ("5", None, 1j, np.datetime64("2020-01-01", "ns"), np.ma.masked, [1.0]):
        with pytest.raises(TypeError, match=r"^pad: value .* must be a number"):
            ops.pad(pair(), 1, value)
    for value in (5, 5.0, np.float64(5), np.array(5), Tensor(5.0)):
        assert ops.pad(pair(), 1, value).tolist() == [5, 1, 2, 5]


def test_masked_arrays_are_refused_by_indices_and_files(device, tmp_path):
    from babygrad.serialization import save_file

    index = np.ma.array([0, 1], mask=[True, False])
    with pytest.raises(TypeError, match="getitem: data of type MaskedArray"):
        pair()[index]
    with pytest.raises(TypeError, match="save: w: data of type MaskedArray"):
        save_file({"w": MASKED}, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


class Array:
    """What is no array and can be read as one, as a data frame is."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def test_every_kind_of_number_still_comes_in(device):
    for value in (
        [1, 2],
        [1, 2.0],
        [True, 2],
        (np.float64(1), np.int8(2)),
        [np.array(1), np.array(2.0)],
        [Tensor(1.0), 2],
        Tensor([1.0, 2.0]),
        range(1, 3),
        np.array([1, 2], ">i2"),
        np.array([1, 2], np.longdouble),
        np.array([1, 2], np.longlong),
        np.array([1, 2], np.float16),
        np.array([[1], [2]])[:, 0],
        Array([1, 2]),
        memoryview(np.array([1.0, 2.0])),
    ):
        got = Tensor(value)
        assert got.dtype is np.dtype("float32")
        assert got.tolist() == [1.0, 2.0]
        assert nn.Parameter(value).tolist() == [1.0, 2.0]
    assert Tensor([np.array([1, 2]), [3.5, 4]]).tolist() == [[1, 2], [3.5, 4]]
    assert Tensor([10**20, 1]).tolist() == [float(np.float32(1e20)), 1]
    assert Tensor([]).shape == (0,)
    assert (pair() + np.array(1)).tolist() == (pair() + np.int64(1)).tolist() == [2, 3]
    with pytest.raises(TypeError, match="Tensor: data of type Array is not an array of numbers"):
        Tensor(Array(["a", "b"]))


def test_a_tensor_of_floats_keeps_its_type_when_data_is_assigned(device, dtype):
    other = "float64" if dtype == "float32" else "float32"
    for requires_grad in (True, False):
        for value in (np.array([3, 4], other), np.array([3, 4], ">f4"), [3, 4], [3.0, 4]):
            w = Tensor([1.0, 2.0], dtype=dtype, requires_grad=requires_grad)
            w.data = value
            assert w.dtype is np.dtype(dtype)
            assert w.tolist() == [3, 4]
            assert (w * 1.5).sum().dtype is np.dtype(dtype)
    w = Tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    w.data = w.data - 0.5 * np.ones(2)
    assert (w.dtype, w.tolist()) == (np.dtype(dtype), [0.5, 1.5])
    array = np.ones((3, 2), dtype)
    w.data = array
    assert w.data is array


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
def test_data_of_a_tensor_that_requires_grad_must_be_floats(device, kind):
    w = leaf()
    before = w.data
    for target, value in ((w, np.array([1, 0], kind)), (w, Tensor([1, 0], dtype=kind))):
        with pytest.raises(TypeError, match=f"^data: an array of {kind} was assigned to a tensor"):
            target.data = value
    assert w.data is before
    y = w * 2
    with pytest.raises(TypeError, match="requires grad"):
        y.data = np.array([1, 0], kind)
    free = pair()
    free.data = np.array([1, 0], kind)
    assert free.dtype is np.dtype(kind)


def test_an_assigned_gradient_takes_the_tensors_type_and_is_writable(device, dtype):
    w = Tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    read_only = np.ones(2, dtype)
    read_only.flags.writeable = False
    other = "float64" if dtype == "float32" else "float32"
    for value in (np.array([1, 1]), np.ones(2, other), [1, 1], read_only, Tensor([1.0, 1.0])):
        w.grad = value
        assert w.grad.dtype is np.dtype(dtype)
        (w * 2).sum().backward()
        assert w.grad.tolist() == [3, 3]
    assert read_only.tolist() == [1, 1]
    shared = np.ones(2, dtype)
    w.grad = shared
    assert w.grad is shared


def test_a_tensor_of_integers_has_no_gradient_to_assign(device):
    with pytest.raises(TypeError, match=r"^grad: a tensor of int64 has no gradient"):
        Tensor([1, 2], dtype="int64").grad = np.ones(2)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [([300], "uint8"), ([-1], "uint64"), ([2**70], "int64"), ([10**400], "float32")],
)
def test_a_number_that_the_type_does_not_have_is_refused_by_the_door(value, dtype):
    with pytest.raises(ValueError, match=f"^Tensor: a number does not fit the type {dtype}: "):
        Tensor(value, dtype=dtype)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_what_a_type_cannot_hold_is_infinite_without_a_warning(device, kind):
    w = leaf().astype(kind).detach().requires_grad_()
    for values in ([1e160, -1e160], np.array([1e160, -1e160])):
        w.grad = values
        assert w.grad.tolist() == [math.inf, -math.inf]
        assert Tensor(values, dtype=kind).tolist() == [math.inf, -math.inf]
    for value in (1e160, np.float64(1e160), np.array(1e160), 10**100):
        assert Tensor(value, dtype=kind).item() == math.inf
    assert Tensor(np.array([70000]), dtype="float16").tolist() == [math.inf]
    assert Tensor([65504.0, 1.0], dtype="float16").tolist() == [65504, 1]
