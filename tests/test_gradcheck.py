"""gradcheck and gradgradcheck: what they find, what they say, what they leave alone (T28)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import babygrad
from babygrad import Function, Tensor, gradcheck, gradgradcheck, no_grad, ops


def leaf(values, dtype="float64"):
    return Tensor(values, dtype=dtype, requires_grad=True)


class Faulty(Function):
    """x**2 with a gradient that is `factor` times too large at one element."""

    uses = ("0",)

    def __init__(self, factor, place):
        self.factor, self.place = factor, place

    def forward(self, x):
        return x * x

    def backward(self, out_grad, node):
        scale = np.full(node._inputs[0].shape, 2.0)
        scale[self.place] *= self.factor
        return out_grad * node._inputs[0] * Tensor(scale, dtype="float64")


def test_right_gradients_pass_and_are_counted(device):
    x, w, b = leaf([[0.5, -1.0, 2.0]]), leaf(np.ones((3, 2))), leaf([0.1, 0.2])
    result = gradcheck(lambda x, w, b: ops.gelu(x @ w + b), [x, w, b])
    assert result
    assert result.checked == 2 * (3 + 6 + 2)
    assert result.kinks == 0
    assert result.largest_error < 1e-8
    assert gradgradcheck(lambda x, w, b: ops.tanh(x @ w + b), [x, w, b])


def test_the_worst_element_by_index_with_both_values(device):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(RuntimeError) as caught:
        gradcheck(Faulty(1.5, (1, 0)), x)
    text = str(caught.value)
    assert "output 0 at (1, 0) with respect to input 0 at (1, 0)" in text
    assert "analytic 9.0, numeric 6.0000" in text
    assert "kink" not in text


def test_small_errors_are_found_and_tolerances_are_as_documented(device):
    x = leaf([1.0])
    assert gradcheck(Faulty(1.0009, 0), x)  # 2.0018 against 2: within 1e-5 + 1e-3 * 2
    with pytest.raises(RuntimeError, match="analytic"):
        gradcheck(Faulty(1.0011, 0), x)
    with pytest.raises(RuntimeError, match="analytic"):
        gradcheck(Faulty(1.0009, 0), x, rtol=1e-4)


def test_a_nan_gradient_is_wrong(device):
    with pytest.raises(RuntimeError, match="analytic nan"):
        gradcheck(Faulty(math.nan, 0), leaf([1.0]))


def test_float32_is_refused_unless_forced(device):
    x = leaf([1.0, 2.0], "float32")
    with pytest.raises(TypeError, match="input 0 is float32"):
        gradcheck(lambda x: x * x, x)
    assert gradcheck(lambda x: x * x, x, eps=1e-2, atol=1e-2, rtol=1e-2, force=True)


def test_kinks_are_reported_as_such(device):
    with pytest.raises(RuntimeError, match=r"analytic 0.0, numeric 0.5.*likely a kink"):
        gradcheck(ops.relu, leaf([1.0, 0.0]))


@pytest.mark.parametrize(
    ("distance", "kinks"), [(0.0, 1), (5e-7, 1), (9e-6, 1), (-9e-6, 1), (1e-4, 0), (-1e-3, 0)]
)
def test_kinks_within_10_eps_are_skipped_and_counted_when_asked(device, distance, kinks):
    result = gradcheck(ops.relu, leaf([1.0, distance, -2.0]), skip_kinks=True)
    assert result.kinks == kinks
    assert result.checked == 3 * (3 - kinks)


@pytest.mark.parametrize("f", [ops.exp, lambda x: ops.sin(x * 30), lambda x: x**8, ops.sqrt])
def test_a_strong_curvature_is_no_kink(device, f):
    assert gradcheck(f, leaf([0.5, 1.0, 3.0]), skip_kinks=True).kinks == 0


def test_jumps_and_poles_count_as_kinks(device):
    assert gradcheck(ops.floor, leaf([1.0, 1.5]), skip_kinks=True).kinks == 1
    assert gradcheck(ops.sqrt, leaf([0.0, 1.5]), skip_kinks=True).kinks == 1


def test_each_input_alone_and_together(device):
    class Careless(Function):
        """a * b, whose gradient for b is right only when a wants one too."""

        uses = ("01", "01")

        def forward(self, a, b):
            return a * b

        def backward(self, out_grad, node):
            a, b = node._inputs
            return out_grad * b, out_grad * (a if a.requires_grad else b)

    with pytest.raises(RuntimeError, match="input 1 alone"):
        gradcheck(Careless(), [leaf([2.0]), leaf([3.0])])


def test_inputs_that_are_not_contiguous(device):
    class FlatOnly(Function):
        uses = ("0",)

        def forward(self, x):
            return x * x

        def backward(self, out_grad, node):
            x = node._inputs[0].data
            ordered = x if x.flags.c_contiguous else x[..., ::-1]
            return out_grad * Tensor(2 * ordered, dtype="float64")

    with pytest.raises(RuntimeError, match="not contiguous"):
        gradcheck(FlatOnly(), leaf([1.0, 2.0]))
    x = leaf(np.arange(1.0, 7).reshape(2, 3))
    assert gradcheck(lambda x: x * x, x.transpose())
    assert gradcheck(lambda x: x * x, x[:, ::-2])
    assert gradcheck(lambda x, y: x * y, [x[:1].expand((4, 3)), leaf([1.0, 2.0, 3.0])])


def test_inputs_and_upstream_stay_as_they_are(device):
    class Destructive(Function):
        uses = ("0",)

        def __init__(self, what):
            self.what = what

        def forward(self, x):
            return x * 2.0

        def backward(self, out_grad, node):
            result = out_grad * 2.0
            target = out_grad if self.what == "upstream" else node._inputs[0]
            target.data[...] += 1
            return result

    for what, message in (("upstream", "upstream gradient"), ("input", "changed input 0")):
        with pytest.raises(RuntimeError, match=message):
            gradcheck(Destructive(what), leaf([1.0, 2.0]))
    x = leaf([1.0, 2.0])
    gradcheck(lambda x: x * x, x)
    gradgradcheck(lambda x: x * x, x)
    assert x.tolist() == [1, 2]
    assert x.grad is None


def test_a_function_that_draws_random_numbers_is_refused(device):
    with pytest.raises(RuntimeError, match="must compute the same"):
        gradcheck(lambda x: ops.dropout(x, 0.5), leaf(np.ones(50)))


def test_a_detached_path_is_a_wrong_gradient(device):
    with pytest.raises(RuntimeError, match=r"analytic 0.0, numeric 2.0"):
        gradcheck(lambda x: x.detach() * x.detach(), leaf([1.0]))


def test_second_derivatives_that_are_wrong_are_found(device):
    class HalfWay(Function):
        uses = ("0",)

        def forward(self, x):
            return x * x

        def backward(self, out_grad, node):
            return out_grad * node._inputs[0].detach() * 2

    assert gradcheck(HalfWay(), leaf([1.0, 2.0]))
    with pytest.raises(RuntimeError, match=r"analytic 0\.0"):
        gradgradcheck(HalfWay(), leaf([1.0, 2.0]))


def test_outputs_and_inputs_of_every_kind(device):
    index = Tensor([0, 0, 1], dtype="int64")
    result = gradcheck(
        lambda x, i, k: (x[i] * k, ops.argmax(x), x.sum()), [leaf([1.0, 2.0]), index, 3]
    )
    assert result.checked == 2 * 3 + 2
    assert gradcheck(lambda x: x * 2, leaf(3.0)).checked == 1
    assert gradcheck(lambda x: x * 2, leaf(np.zeros((0, 2)))).checked == 0
    with no_grad():
        assert gradcheck(lambda x: x * x, leaf([1.0]))
    with pytest.raises(ValueError, match="requires grad"):
        gradcheck(lambda x: x * 2, Tensor([1.0]))


def test_it_draws_no_random_numbers(device):
    before = babygrad.random.get_state()["numpy_global"]["state"]["key"].tobytes()
    gradgradcheck(lambda x: x * x, leaf([1.0]))
    assert babygrad.random.get_state()["numpy_global"]["state"]["key"].tobytes() == before


LAYOUTS = [
    lambda x: x.T * 2,
    lambda x: x[::-1, ::2],
    lambda x: x.reshape(1, 2, 3).permute(2, 0, 1),
    lambda x: ops.conv2d(x.reshape(1, 1, 2, 3), Tensor(np.ones((2, 1, 1, 2)), dtype="float64")),
    lambda x: x.sum(axes=1).broadcast_to((3, 2)).T,
]


@pytest.mark.parametrize("fn", LAYOUTS)
def test_right_gradients_of_results_in_every_layout(device, fn):
    x = Tensor([[0.5, 1.0, -2.0], [3.0, 0.25, 7.0]], dtype="float64", requires_grad=True)
    assert gradcheck(fn, x).checked == fn(x).size * 6
    assert gradgradcheck(lambda x: fn(x * x), x).largest_error < 1e-5


def test_a_wrong_gradient_of_a_transposed_result_is_found(device):
    class Half(Function):
        def forward(self, x):
            return self.xp.permute_dims(x, (1, 0))

        def backward(self, out_grad, node):
            return out_grad.T * 0.5

    x = Tensor([[0.5, 1.0, -2.0], [3.0, 0.25, 7.0]], dtype="float64", requires_grad=True)
    with pytest.raises(RuntimeError, match=r"is wrong: analytic 0\.5, numeric 1"):
        gradcheck(lambda x: Half()(x), x)
