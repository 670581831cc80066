"""Functions of one's own: what calls and the backward pass make of what they return."""

from __future__ import annotations

import numpy as np
import pytest

import babygrad
from babygrad import Function, Tensor, no_grad

pytestmark = pytest.mark.usefixtures("twins")


def leaf(values):
    return Tensor(values, dtype="float64", requires_grad=True)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("watched", [False, True])
def test_an_input_returned_as_it_is_shares_its_writes(place, watched):
    class Pick(Function):
        uses = ("y", "y", "y")  # the gradients read the result

        def forward(self, *arrays):
            return arrays[place]

        def backward(self, out_grad, node):
            return tuple(out_grad * node if i == place else None for i in range(3))

    inputs = [leaf([1.0 + i, 2.0]) for i in range(3)]
    with babygrad.detect_anomaly() if watched else babygrad.enable_grad():
        y = Pick()(*inputs)
        with no_grad():
            inputs[place - 1] += 10  # which nobody reads
        y.sum().backward(retain_graph=True)
        assert inputs[place].grad.tolist() == [1.0 + place, 2.0]
        with no_grad():
            inputs[place] += 10
        assert y.tolist() == [11.0 + place, 12.0]
        with pytest.raises(RuntimeError, match=r"the output of Pick.* was modified in place"):
            y.sum().backward()


@pytest.mark.parametrize("flag", [1, "yes", 0, None, ""])
def test_any_true_value_makes_a_function_differentiable(flag):
    class Double(Function):
        differentiable = flag

        def forward(self, x):
            return x * 2

        def backward(self, out_grad, node):
            return out_grad * 2

    assert Double()(leaf([1.0])).requires_grad == bool(flag)


def test_what_is_given_for_an_input_without_gradient_is_thrown_away():
    class Careless(Function):
        def forward(self, a, b):
            return a * b

        def backward(self, out_grad, node):
            _, b = node._inputs
            return out_grad * b, np.ones(2)

    a = leaf([1.0, 2.0])
    Careless()(a, Tensor([3.0, 4.0], dtype="float64")).sum().backward()
    assert a.grad.tolist() == [3, 4]
    with pytest.raises(TypeError, match="must return Tensors; gradient 1 is a ndarray"):
        Careless()(a, leaf([3.0, 4.0])).sum().backward()


def test_a_subclass_of_array_from_forward_becomes_an_array():
    class Strange(np.ndarray):
        pass

    class Twice(Function):
        def forward(self, x):
            return (x * 2).view(Strange)

    assert type(Twice()(Tensor([1.0])).data) is np.ndarray


@pytest.mark.parametrize("result", [[1.0, 2.0], (1.0, 2.0), 1.5])
def test_python_numbers_from_forward_become_float32(result):
    class Constant(Function):
        def forward(self, x):
            return result

    assert Constant()(Tensor([1.0, 2.0])).dtype == "float32"


@pytest.mark.parametrize("inputs", [(), (np.ones(2),), (Tensor([1.0]), 2.0), ("x",), (None,)])
def test_a_function_is_called_with_tensors(inputs):
    class Same(Function):
        def forward(self, *arrays):
            return arrays[0]

    with pytest.raises(TypeError, match=r"^Same: called with .*; a Function is called with Tensor"):
        Same()(*inputs)


@pytest.mark.parametrize("wrong", [(0,), ("x",), "01", ["0"], ("0", None)])
def test_what_a_gradient_reads_is_checked_when_the_class_is_made(wrong):
    with pytest.raises(TypeError, match=r"^Odd: uses \(=.*must be a tuple of strings"):
        type("Odd", (Function,), {"uses": wrong})
