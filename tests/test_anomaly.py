"""detect_anomaly: the operation, the kind of fault, and the user's own line."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest

import babygrad
from babygrad import Function, Tensor, checkpoint, detect_anomaly, native, nn, ops


def leaf(values, dtype="float32"):
    return Tensor(values, dtype=dtype, requires_grad=True)


def line():
    """The number of the line that calls this."""
    return inspect.currentframe().f_back.f_lineno


@pytest.mark.parametrize(
    ("call", "name", "fault"),
    [
        (lambda x: ops.log(x - 1), "Log", r"an infinity at \(0,\)"),
        (lambda x: ops.sqrt(x - 2), "Sqrt", r"a NaN at \(0,\)"),
        (lambda x: x / (x - 2), "Divide", r"an infinity at \(1,\)"),
        (lambda x: ops.exp(x * 1e3), "Exp", r"an infinity at \(0,\)"),
        (lambda x: (x - 1) / 0, "DivScalar", r"a NaN at \(0,\)"),
    ],
)
def test_forward_names_the_operation_and_the_line(device, call, name, fault):
    message = f"{name}: the result .* has {fault}"
    with detect_anomaly(), pytest.raises(RuntimeError, match=message) as caught:
        call(leaf([1.0, 2.0]))
    assert f"{__file__}:{call.__code__.co_firstlineno}, in <lambda>" in str(caught.value)


def test_it_is_the_first_operation_that_is_named(device):
    x = leaf([0.0, 1.0])
    with detect_anomaly(), pytest.raises(RuntimeError, match="Log: the result"):
        ((ops.log(x) * 0 + 1) * 2).sum()


def test_faults_that_came_in_are_not_the_operations(device):
    with detect_anomaly():
        x = Tensor([np.nan, np.inf, 1.0])
        y = (x * 2 + 1).sum()
        assert np.isnan(y.item())
        ops.where([True, False, True], x, 0.0)
        visible = Tensor([[True, False], [False, False]], dtype="bool")
        ops.softmax(ops.where(visible, Tensor([[1.0, 2.0]] * 2), -np.inf)[:1])
    # but a NaN out of an infinity is new
    z = Tensor([np.inf])
    message = r"Subtract: the result .* has a NaN"
    # numpy itself warns too, on cpu:numpy
    with (
        np.errstate(invalid="ignore"),
        detect_anomaly(),
        pytest.raises(RuntimeError, match=message),
    ):
        z - z


def test_backward_names_the_line_of_the_forward_call(device):
    with detect_anomaly():
        x = leaf([0.0, 4.0])
        here = line() + 1
        y = ops.sqrt(x)
        z = y.sum()
        with pytest.raises(RuntimeError) as caught:
            z.backward()
    text = str(caught.value)
    assert (
        "Sqrt: in backward, the gradient of input 0 of shape (2,) has an infinity at (0,)" in text
    )
    assert (
        f"{__file__}:{here}, in test_backward_names_the_line_of_the_forward_call: y = ops" in text
    )


def test_a_graph_from_outside_has_no_line(device):
    y = ops.sqrt(leaf([0.0])).sum()
    with (
        detect_anomaly(),
        pytest.raises(RuntimeError, match=r"Sqrt.*\n.*outside of detect_anomaly"),
    ):
        y.backward()


def test_a_layers_operations_are_called_by_the_user_of_the_layer(device):
    model = nn.Linear(2, 2)
    model.weight.data = np.full((2, 2), 1e38, "float32")
    with detect_anomaly(), pytest.raises(RuntimeError) as caught:
        model(Tensor([[1e10, 1e10]]))
    here = caught.traceback[0].lineno + 1
    assert f"{__file__}:{here}, in test_a_layers" in str(caught.value)


def test_infinities_that_backward_multiplies_away_are_no_fault(device):
    with detect_anomaly():
        x = leaf([0.0, 4.0])
        ops.where(x < 1, x, ops.sqrt(x)).sum().backward()
        np.testing.assert_array_equal(x.grad, [1, 0.25])
        w = leaf([0.0, 3.0])
        ops.norm(w * 0).backward()
        np.testing.assert_array_equal(w.grad, [0, 0])


def test_gradients_that_nobody_wants_are_not_looked_at(device):
    class Spoiled(Function):
        uses = ("", "")

        def forward(self, a, b):
            return a + b

        def backward(self, out_grad, node):
            return out_grad, out_grad * float("nan")

    with detect_anomaly():
        x = leaf([1.0])
        Spoiled()(x, Tensor([2.0])).backward()
        assert x.grad.tolist() == [1]
        with pytest.raises(RuntimeError, match="Spoiled: in backward, the gradient of input 1"):
            Spoiled()(x, leaf([2.0])).backward()


def test_higher_derivatives_and_checkpoints_are_watched(device):
    with detect_anomaly():
        x = leaf([1.0, 2.0])
        (babygrad.grad((x**3).sum(), x, create_graph=True) ** 2).sum().backward()
        y = checkpoint(lambda x: ops.sqrt(x - 1), x)
        with pytest.raises(RuntimeError, match=r"in backward.*infinity"):
            y.sum().backward()


def test_it_ends_with_the_block_nests_and_keeps_to_its_thread(device):
    was_native = native.is_native_call()
    seen = []

    def other_thread():
        seen.append(ops.log(Tensor([0.0])).item())

    with detect_anomaly():
        assert not native.is_native_call()
        with detect_anomaly():
            pass
        with pytest.raises(RuntimeError):
            ops.log(Tensor([0.0]))
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join(10)
    assert seen == [-np.inf]
    assert native.is_native_call() == was_native
    assert ops.log(Tensor([0.0])).item() == -np.inf
    with pytest.raises(ZeroDivisionError), detect_anomaly():
        raise ZeroDivisionError
    assert ops.log(Tensor([0.0])).item() == -np.inf


def test_clean_training_passes_and_gives_the_same_numbers(device):
    def trained(watch):
        babygrad.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        x, y = Tensor.rand(5, 4, requires_grad=False), [0, 1, 2, 0, 1]
        if watch:
            with detect_anomaly():
                ops.cross_entropy(model(x), y).backward()
        else:
            ops.cross_entropy(model(x), y).backward()
        babygrad.manual_seed(None)
        return [p.grad.tobytes() for p in model.parameters()]

    assert trained(True) == trained(False)
