"""T11, T12, T22, T23 of docs/semantics.md: types, construction, numpy, operators."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

pytestmark = pytest.mark.usefixtures("twins")

F32, F64, I32, I64 = (np.dtype(name) for name in ("float32", "float64", "int32", "int64"))


def of(dtype, values=(1, 2)):
    return Tensor(np.array(values), dtype=dtype)


# ----- T11: promotion -----


@pytest.mark.parametrize(
    "scalar",
    [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0), np.array(2)],
    ids=repr,
)
@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "**", "//", "%"])
def test_scalars_are_weak(device, dtype, scalar, operator):
    x = of(dtype, [1.0, 4.0])
    for text, a, b in ((f"x {operator} s", [1.0, 4.0], 2.0), (f"s {operator} x", 2.0, [1.0, 4.0])):
        y = eval(text, {"x": x, "s": scalar})
        assert y.dtype == np.dtype(dtype)
        expected = eval(f"a {operator} b", {"a": np.array(a), "b": np.array(b)})
        np.testing.assert_array_equal(y.data, expected)


# What two tensors become: a float beats every integer, the wider of one kind wins.
TABLE = [
    ("float32", "int32", "float32"),
    ("float32", "int64", "float32"),
    ("float32", "bool", "float32"),
    ("float64", "int32", "float64"),
    ("float32", "float64", "float64"),
    ("float16", "int64", "float32"),
    ("float16", "float16", "float32"),
    ("float16", "float32", "float32"),
    ("int32", "int64", "int64"),
    ("bool", "int32", "int32"),
    ("uint8", "int8", "int16"),
]


@pytest.mark.parametrize(("a", "b", "expected"), TABLE)
def test_two_tensors(device, a, b, expected):
    for x, y in ((of(a), of(b)), (of(b), of(a))):
        assert (x + y).dtype == expected
        assert ops.maximum(x, y).dtype == expected
        assert ops.where([True, False], x, y).dtype in (expected, np.promote_types(a, a))


@pytest.mark.parametrize(("a", "b"), list(itertools.product(["int32", "int64", "bool"], repeat=2)))
def test_true_division_of_integers(device, a, b):
    y = of(a, [1, 1]) / of(b, [1, 1])
    assert y.dtype == F32


def test_integers_with_python_numbers(device):
    x = of("int32", [7, -7])
    assert (x + 1).dtype == I32
    assert (x + 1.5).dtype == F32
    assert (x / 2).dtype == F32
    assert (of("bool") + 1).dtype == I64
    np.testing.assert_array_equal((x + 1.5).data, [8.5, -5.5])


TYPES = {"uint8": (0, 255), "int8": (-128, 127), "int64": (-(2**63), 2**63 - 1)}
COMPUTES = {
    "add": lambda a, n: a + n,
    "subtract": lambda a, n: n - a,
    "multiply": lambda a, n: a * n,
    "floor_divide": lambda a, n: a // n,
    "remainder": lambda a, n: n % a,
    "maximum": ops.maximum,
    "where": lambda a, n: ops.where([True, False], n, a),
    "setitem": lambda a, n: a.__setitem__(0, n),
    "pad": lambda a, n: ops.pad(a, 1, n),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", COMPUTES)
def test_a_number_that_the_type_lacks_raises_before_a_byte_changes(device, name, dtype):
    low, high = TYPES[dtype]
    a = of(dtype)
    for number in (low - 1, high + 1, np.array(high + 1) if high == 255 else high + 2):
        message = (
            rf"^{name}: the number -?\d+ does not fit the tensor's type {dtype}, which has {low} "
        )
        with pytest.raises(ValueError, match=message):
            COMPUTES[name](a, number)
        assert a.tolist() == [1, 2]
    if name != "setitem":  # the bounds themselves fit, whatever an overflow does then
        for number in (low, high):
            with np.errstate(all="ignore"):
                assert COMPUTES[name](a, number).dtype == dtype


def test_comparisons_and_quotients_take_any_number(device):
    a = of("uint8")
    assert (a < 300).tolist() == [True, True]
    assert (a == -1).tolist() == [False, False]
    assert ((a / 300).data == np.array([1, 2], "float32") / np.float32(300)).all()
    assert ops.clip(a, -1, 300).tolist() == [1, 2]
    a += 3
    with pytest.raises(ValueError, match="300 does not fit"):
        a += 300
    assert a.tolist() == [4, 5]


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_floor_division_and_remainder_follow_pythons_signs(device, dtype):
    pairs = list(itertools.product([7, -7, 6, -6], [3, -3, 2, -2]))
    a, b = of(dtype, [p for p, _ in pairs]), of(dtype, [q for _, q in pairs])
    quotient, rest = a // b, a % b
    assert quotient.dtype == rest.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(quotient.data, [p // q for p, q in pairs])
    np.testing.assert_array_equal(rest.data, [p % q for p, q in pairs])


def test_results_with_a_type_of_their_own(device):
    assert of("bool", [True, True]).sum().dtype == I64
    assert of("bool", [True, True]).sum().item() == 2
    assert of("int32").sum().dtype == I64
    assert (of("float32") < 1.5).dtype == np.dtype(bool)
    assert ops.argmax(of("float64")).dtype == I64
    mean = of("int64", [1, 2]).mean()
    assert (mean.dtype, mean.item()) == (F32, 1.5)
    assert ops.exp(of("int64")).dtype == F32


def test_a_large_integer_survives_integer_arithmetic(device):
    big = 2**53 + 1
    x = Tensor(np.array([big]), dtype=None)
    assert (x + 0).tolist() == [big]
    assert x.sum().item() == big
    assert ops.maximum(x, 0).tolist() == [big]


# ----- T12: construction -----


def test_float32_is_the_default_and_casts_whatever_comes_in(device):
    for data in (
        [1, 2],
        np.array([1, 2]),
        np.array([1.0, 2.0]),
        3,
        [True],
        Tensor([1], dtype="int32"),
    ):
        assert Tensor(data).dtype == F32


def test_none_keeps_what_came(device):
    for name in ("int32", "int64", "float64", "bool", "float16"):
        assert Tensor(np.ones(2, name), dtype=None).dtype == np.dtype(name)
        assert Tensor(of(name), dtype=None).dtype == np.dtype(name)
    assert Tensor([1, 2], dtype=None).dtype == F32
    assert Tensor(3, dtype=None).dtype == F32


def test_labels_stay_integers_through_loader_and_loss(device):
    from babygrad import data

    labels = np.array([16777217, 3])
    loader = data.DataLoader(data.ArrayDataset(np.zeros((2, 3), "float32"), labels), batch_size=2)
    for _, y in loader:
        assert y.dtype == I64
        assert y.tolist() == [16777217, 3]
        with pytest.raises(IndexError, match="16777217"):
            ops.cross_entropy(Tensor(np.zeros((2, 4))), y)


def test_integers_cannot_require_grad(device):
    for make in (
        lambda: Tensor([1, 2], dtype="int64", requires_grad=True),
        lambda: of("bool").requires_grad_(),
    ):
        with pytest.raises(TypeError, match="floating-point"):
            make()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Lion"])
def test_gradient_state_and_parameter_keep_the_dtype(device, dtype, name):
    from babygrad import nn, optim

    model = nn.Linear(3, 2, dtype=dtype)
    optimizer = getattr(optim, name)(model.parameters(), lr=0.1)
    for _ in range(2):
        (model(Tensor(np.ones((4, 3)), dtype=dtype)) ** 2).sum().backward()
        optimizer.step()
    for p in model.parameters():
        assert p.grad.dtype == p.dtype == np.dtype(dtype)
        for state in optimizer.states:
            value = getattr(optimizer, state).get(p)
            assert value is None or isinstance(value, int) or value.dtype == p.dtype


def test_copies_and_views(device):
    source = np.ones(3, "float32")
    copied, shared = Tensor(source), babygrad.from_numpy(source)
    out = shared.numpy()
    source[0] = 5
    assert copied.tolist() == [1, 1, 1]
    assert shared.tolist() == [5, 1, 1]
    assert out.tolist() == [1, 1, 1], ".numpy() is a copy"


def test_one_element(device):
    for x in (Tensor(2.5), Tensor([[2.5]])):
        assert (float(x), int(x), bool(x), x.item()) == (2.5, 2, True, 2.5)
    for x in (Tensor([1.0, 2.0]), Tensor(np.zeros(0))):
        for convert in (float, int, bool, lambda t: t.item()):
            with pytest.raises(
                ValueError, match=str(x.size) if convert is not bool else "ambiguous"
            ):
                convert(x)


def test_length_iteration_equality_and_hash(device):
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    with pytest.raises(TypeError, match="len"):
        len(Tensor(1.0))
    with pytest.raises(TypeError):
        list(Tensor(1.0))
    assert (x == x.detach()).tolist() == [[True, True], [True, True]]
    twin = x.detach()
    assert len({x, twin, x}) == 2


# ----- T22: __array__ -----


def test_zero_copy_and_read_only(device):
    t = Tensor([[1.0, 2.0]])
    array = np.asarray(t)
    assert np.shares_memory(array, t.data)
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    assert not np.shares_memory(np.array(t, copy=True), t.data)
    assert np.array(t, copy=True).flags.writeable
    assert np.shares_memory(np.array(t, copy=False), t.data)
    assert np.asarray(t, dtype="float64").dtype == F64
    with pytest.raises(ValueError, match="copy"):
        np.array(t, dtype="float64", copy=False)


def test_a_graph_is_never_dropped_in_silence(device):
    w = Tensor([1.0], requires_grad=True)
    for t in (w, w * 2):
        with pytest.raises(RuntimeError, match=r"detach\(\)"):
            np.asarray(t)
    assert np.asarray((w * 2).detach()).tolist() == [2.0]


def test_numpys_functions_refuse_tensors(device):
    with pytest.raises(TypeError):
        np.sin(Tensor([1.0]))


# ----- T23: reflected operators -----

REFLECTED = {
    "5 - x": (lambda x: 5 - x, lambda v: (5 - v, -1 + 0 * v)),
    "1 / x": (lambda x: 1 / x, lambda v: (1 / v, -1 / v**2)),
    "2 ** x": (lambda x: 2**x, lambda v: (2**v, 2**v * np.log(2))),
    "7 // x": (lambda x: 7 // x, lambda v: (7 // v, 0 * v)),
    "7 % x": (lambda x: 7 % x, lambda v: (7 % v, -(7 // v))),
    "list - x": (lambda x: [1.0, 2.0] - x, lambda v: ([1, 2] - v, -1 + 0 * v)),
    "float32 * x": (lambda x: np.float32(2) * x, lambda v: (2 * v, 2 + 0 * v)),
    "float64 - x": (lambda x: np.float64(2) - x, lambda v: (2 - v, -1 + 0 * v)),
    "array - x": (lambda x: np.array([3.0, 4.0]) - x, lambda v: ([3, 4] - v, -1 + 0 * v)),
    "array / x": (lambda x: np.array([3.0, 3.0]) / x, lambda v: ([3, 3] / v, -3 / v**2)),
    "M @ x": (
        lambda x: np.array([[1.0, 2.0], [3.0, 5.0]]) @ x,
        lambda v: ([[1, 2], [3, 5]] @ v, np.array([4.0, 7.0])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFLECTED)
def test_reflected_operators(device, dtype, case):
    function, oracle = REFLECTED[case]
    values = np.array([1.5, 2.5])
    x = Tensor(values, dtype=dtype, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = function(x)
        y.backward()
    value, slope = oracle(values)
    assert isinstance(y, Tensor)
    tolerance = 2e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(y.data, value, rtol=tolerance)
    np.testing.assert_allclose(x.grad, slope, rtol=tolerance)
    scalar = case.split()[0] not in ("list", "array", "M")
    assert y.dtype == (np.dtype(dtype) if scalar or dtype == "float64" else y.dtype)


def test_comparisons_with_the_number_first(device):
    x = Tensor([1.0, 3.0])
    assert (2 < x).tolist() == [False, True]  # noqa: SIM300
    assert (np.array([2.0, 2.0]) < x).tolist() == [False, True]
    assert isinstance(np.array([2.0, 2.0]) == x, Tensor)
