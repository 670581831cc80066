"""Axes: what is out of range, what a 0-d tensor has, and the names that they go by."""

from __future__ import annotations

import math

import numpy as np
import pytest

import babygrad
from babygrad import AxisError, Tensor, nn, ops

X = np.arange(6.0).reshape(2, 3)

# An axis that there is not, wherever there is an axis to name; the shape is (2, 3).
OUT_OF_RANGE = {
    **{
        name: lambda x, name=name: getattr(x, name)(axis=2)
        for name in (
            "sum", "mean", "var", "std", "prod", "norm", "logsumexp", "max", "min", "amax", "amin",
            "any", "all", "argmax", "argmin", "cumsum", "softmax", "logsoftmax", "log_softmax",
            "squeeze", "flip",
        )
    },
    "summation": lambda x: ops.summation(x, (0, 2)),
    "softmax layer": lambda x: nn.Softmax(2)(x),
    "transpose": lambda x: x.transpose(3, 0),
    "permute": lambda x: x.permute(0, 2),
    "swapaxes": lambda x: x.swapaxes(0, -3),
    "movedim": lambda x: x.movedim(0, 2),
    "flatten": lambda x: x.flatten(0, 2),
    "roll": lambda x: x.roll(1, (0, 2)),
    "repeat": lambda x: x.repeat(2, 2),
    "split": lambda x: x.split(1, 2),
    "chunk": lambda x: x.chunk(2, axis=-3),
    "concatenate": lambda x: ops.concatenate([x, x], 2),
    "diagonal": lambda x: x.diagonal(0, 0, 2),
    "dilate": lambda x: ops.dilate(x, (0, 2)),
    "undilate": lambda x: ops.undilate(x, 2),
    "take": lambda x: x.take([0], 2),
    "gather": lambda x: x.gather(2, np.zeros((2, 3), int)),
    "scatter_add": lambda x: x.scatter_add(2, np.zeros((2, 3), int), x),
    "cross_entropy": lambda x: ops.cross_entropy(x, [0, 1], axis=2),
    "nll_loss": lambda x: ops.nll_loss(x, [0, 1], axis=-3),
    "loss layer": lambda x: nn.CrossEntropyLoss(axis=2)(x, [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("kind", [ValueError, IndexError])
@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_an_axis_out_of_range_is_an_error_of_both_kinds(name: str, kind: type, device: str) -> None:
    with pytest.raises(kind, match=r"of shape \(2, 3\)") as caught:
        OUT_OF_RANGE[name](Tensor(X))
    assert type(caught.value) is AxisError
    called = {"softmax layer": "softmax", "loss layer": "cross_entropy"}.get(name, name)
    assert str(caught.value).startswith(f"{called}: axis ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.unsqueeze(3), "unsqueeze: axis 3 is out of range for a new axis of a tensor"),
        (lambda x: ops.stack([x], -4), "stack: axis -4 is out of range for a new axis of a tensor"),
        (lambda x: x.sum(axis=2), "sum: axis 2 is out of range for a tensor of shape (2, 3)"),
        (lambda x: x.transpose(3, 0), "transpose: axis 3 is out of range for a tensor of shape"),
        (lambda x: x.transpose(0, 0, 1), "transpose: axes (0, 0, 1) must name each of 2 axes once"),
        (lambda x: x.transpose(1), "transpose: axes (1,) must name each of 2 axes once"),
        (lambda x: x[0, 0].sum(1), "sum: axis 1 is out of range for a tensor of shape ()"),
        (lambda x: x[0, 0].sum((0, -1)), "sum: axes (0, -1) name an axis twice"),
    ],
)
def test_the_message_says_what_was_called(call, message: str, device: str) -> None:
    with pytest.raises(ValueError) as caught:
        call(Tensor(X))
    assert str(caught.value).startswith(message)


def test_an_axis_out_of_range_in_a_model_is_named_with_its_layer(device: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Softmax(2))
    with pytest.raises(IndexError, match=r"^in modules\.1 \(Softmax\): softmax: axis 2 is out of"):
        model(Tensor(X))


# For each reduction of a 0-d tensor along its axis: the value, and the slope.
SCALARS = {
    "sum": (3.0, 1.0), "mean": (3.0, 1.0), "prod": (3.0, 1.0), "norm": (3.0, 1.0),
    "logsumexp": (3.0, 1.0), "max": (3.0, 1.0), "min": (3.0, 1.0), "amax": (3.0, 1.0),
    "amin": (3.0, 1.0), "cumsum": (3.0, 1.0), "softmax": (1.0, 0.0), "logsoftmax": (0.0, 0.0),
    "log_softmax": (0.0, 0.0), "flip": (3.0, 1.0), "squeeze": (3.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("axis", [0, -1, (0,), None])
@pytest.mark.parametrize("name", SCALARS)
def test_a_0d_tensor_has_its_element_along_axis_0(
    name: str, axis: object, device: str, dtype: str
) -> None:
    if name == "cumsum":  # which goes along one axis
        axis = axis if isinstance(axis, int) else 0
    x = Tensor(3.0, dtype=dtype, requires_grad=True)
    y = getattr(x, name)(axis=axis)
    value, slope = SCALARS[name]
    assert (y.shape, str(y.dtype)) == ((), dtype)
    assert y.item() == value
    y.backward()
    assert x.grad == slope


@pytest.mark.parametrize("axis", [0, -1])
def test_other_operations_along_the_axis_of_a_0d_tensor(axis: int, device: str) -> None:
    x = Tensor(3.0)
    for keepdims in (False, True):
        assert x.sum(axis=axis, keepdims=keepdims).shape == ()
    assert x.argmax(axis).item() == x.argmin(axis).item() == 0
    assert x.any(axis=axis).item() is x.all(axis=axis).item() is True
    assert x.roll(2, axis).item() == 3.0
    assert x.take(0, axis).shape == () and x.take([0, 0], axis).tolist() == [3.0, 3.0]
    assert x.repeat(2, axis).tolist() == [3.0, 3.0]
    assert x.var(axis=axis, correction=0).item() == x.std(axis=axis, correction=0).item() == 0.0
    with pytest.warns(RuntimeWarning, match="1 element"):
        assert math.isnan(x.var(axis=axis).item())
    assert Tensor(True, dtype="bool").cumsum(axis).dtype == np.int64
    for call in (lambda: x.swapaxes(axis, axis), lambda: x.flatten().sum(1), lambda: x.sum(-2)):
        with pytest.raises(AxisError):
            call()


@pytest.mark.parametrize("value", [3.0, -math.inf, math.inf, math.nan, 1e30])
def test_logsumexp_of_one_number_is_the_number(value: float, device: str, dtype: str) -> None:
    for axes in (None, 0, ()):
        x = Tensor(value, dtype=dtype)
        np.testing.assert_array_equal(x.logsumexp(axes).data, np.asarray(value, dtype))
        y = Tensor([value], dtype=dtype)
        np.testing.assert_array_equal(y.logsumexp(()).data, np.asarray([value], dtype))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.sum(dim=1), "sum: there is no argument dim; it is called axis here: axis=1"),
        (lambda x: ops.summation(x, dim=1), "summation: there is no argument dim; it is called"),
        (lambda x: x.max(1, keepdim=True), "max: there is no argument keepdim; it is called keepd"),
        (lambda x: x.softmax(dim=-1), "softmax: there is no argument dim; it is called axis here"),
        (lambda x: x.log_softmax(dim=0), "log_softmax: there is no argument dim; it is called ax"),
        (lambda x: x.argmax(dim=0), "argmax: there is no argument dim; it is called axis here"),
        (lambda x: x.std(unbiased=False), "std: there is no argument unbiased"),
        (lambda x: x.norm(p=2), "norm: there is no argument p; it is called order here: order=2"),
        (lambda x: x.flip(dims=(0,)), "flip: there is no argument dims; it is called axes here: "),
        (lambda x: x.squeeze(dim=0), "squeeze: there is no argument dim; it is called axis here"),
        (lambda x: x.split(1, dim=1), "split: there is no argument dim; it is called axis here"),
        (lambda x: ops.stack([x], dim=1), "stack: there is no argument dim; it is called axis h"),
        (lambda x: ops.concatenate([x], dim=1), "concatenate: there is no argument dim; it is"),
        (lambda x: x.mean(where=x > 0), "mean: there is no argument where"),
    ],
)
def test_an_unknown_argument_is_answered_with_the_one_there_is(
    call, message: str, device: str
) -> None:
    with pytest.raises(TypeError) as caught:
        call(Tensor(X))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("shift", "axis"), [((1, 2), 0), ((1, -3), -1), (2, (0, 1)), ((1,), 1)])
def test_roll_takes_several_shifts_of_one_axis(shift, axis, device: str) -> None:
    assert Tensor(X).roll(shift, axis).tolist() == np.roll(X, shift, axis).tolist()


@pytest.mark.parametrize("name", ["amax", "amin"])
@pytest.mark.parametrize("method", [False, True])
def test_amax_and_amin_share_the_gradient_among_ties(
    name: str, method: bool, device: str, dtype: str
) -> None:
    values = np.array([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    x = Tensor(values, dtype=dtype, requires_grad=True)
    y = getattr(x, name)(axis=1) if method else getattr(ops, name)(x, axes=(1,))
    assert y.tolist() == getattr(np, name)(values, axis=1).tolist()
    y.backward(Tensor([1.0, 2.0], dtype=dtype))
    shares = {"amax": [[0.5, 0.5, 0], [2, 0, 0]], "amin": [[0, 0, 1], [0, 1, 1]]}
    assert x.grad.tolist() == shares[name]
    assert getattr(x, name)(keepdims=True).shape == (1, 1)
    with pytest.raises(ValueError, match=f"{name}: axis 0 of shape"):
        getattr(x[:0], name)(0)


def test_the_error_is_public() -> None:
    assert issubclass(babygrad.AxisError, ValueError) and issubclass(babygrad.AxisError, IndexError)
