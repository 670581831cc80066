"""The optimizers' base class: gradients as they come, parameter groups, refusals."""

import math

import numpy as np
import pytest

from babygrad import Tensor
from babygrad.optim import SGD, Adagrad, Adam, AdamW, Lion, Muon, Optimizer, RMSprop


def test_parameters_without_a_gradient_are_skipped(device):
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    q.grad = np.array([1.0], np.float32)
    for optimizer in (SGD([p, q], momentum=0.5), Adam([p, q]), Lion([p, q])):
        optimizer.step()
        assert p.data[0] == 1.0
        assert not any(p in getattr(optimizer, name) for name in optimizer.states)


def test_zero_grad_sets_none():
    p = Tensor([1.0], requires_grad=True)
    p.grad = [1.0]
    SGD([p]).zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", ">f4"])
def test_a_gradient_of_another_dtype_works(device, dtype):
    for cls in (SGD, Adam, RMSprop):
        p = Tensor([1.0, 2.0], requires_grad=True)
        twin = Tensor([1.0, 2.0], requires_grad=True)
        p.grad = np.array([1, -2]).astype(dtype)
        twin.grad = np.array([1, -2], np.float32)
        cls([p]).step()
        cls([twin]).step()
        assert p.dtype == np.float32
        assert p.tolist() == twin.tolist()


def test_a_step_writes_into_the_parameters_own_array_and_notes_it(device):
    p = Tensor([1.0, 2.0], requires_grad=True)
    array = p.data
    y = (p * p).sum()
    p.grad = np.array([1.0, 1.0], np.float32)
    SGD([p], lr=0.5).step()
    assert p.data is array
    assert array.tolist() == [0.5, 1.5]
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_parameters_on_two_devices_in_one_group():
    p = Tensor([1.0], device="cpu:numpy", requires_grad=True)
    q = Tensor([1.0], device="cpu:numba", requires_grad=True)
    for w in (p, q):
        w.grad = np.array([1.0], np.float32)
    Adam([p, q], lr=0.5).step()
    assert p.tolist() == pytest.approx([0.5])
    assert q.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,), (67,)])
def test_any_shape(device, shape):
    for cls in (SGD, Adam, AdamW, RMSprop, Adagrad, Lion):
        p = Tensor(np.ones(shape), requires_grad=True)
        p.grad = np.ones(shape, np.float32)
        cls([p], lr=0.5).step()
        assert p.shape == shape
        assert np.all(p.data < 1)


def test_groups_have_their_own_settings():
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = SGD([{"params": [p]}, {"params": [q], "lr": 0.25}], lr=0.5)
    for w in (p, q):
        w.grad = np.array([1.0], np.float32)
    optimizer.step()
    assert (p.item(), q.item()) == (0.5, 0.75)
    assert optimizer.lr == 0.5
    optimizer.lr = 0.125
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]
    assert optimizer.params[0] is p
    assert optimizer.params[1] is q
    assert repr(optimizer).startswith("SGD(1 parameters, lr=0.125, momentum=0.0")


def test_a_group_can_be_added_later():
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = Adam([p], lr=0.5)
    optimizer.add_param_group({"params": q, "lr": 0.25})
    q.grad = np.array([1.0], np.float32)
    optimizer.step()
    assert q.item() == pytest.approx(0.75)


def test_the_books_own_subclass_works():
    class Plain(Optimizer):
        def __init__(self, params, lr=0.01):
            super().__init__(params)
            self.lr = lr

        def step(self):
            for param in self.params:
                if param.grad is not None:
                    param.data -= self.lr * param.grad

    p = Tensor([1.0], requires_grad=True)
    optimizer = Plain([p], lr=0.5)
    (p * p).sum().backward()
    optimizer.step()
    assert p.item() == 0.0
    assert optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(AttributeError, match="Optimizer has no lr"):
        Optimizer([p]).lr  # noqa: B018 - reading it is the test
    p.grad = [1.0]
    with pytest.raises(NotImplementedError, match=r"Optimizer must define update\(\) or step\(\)"):
        Optimizer([p]).step()


def leaf():
    return Tensor([1.0], requires_grad=True)


REFUSALS = {
    "empty": (lambda: SGD([]), ValueError, "SGD: params is empty"),
    "one tensor": (lambda: SGD(leaf()), TypeError, "SGD: params is a Tensor; give a list"),
    "one group": (lambda: Adam({"params": [leaf()]}), TypeError, "Adam: params is a dict"),
    "array": (lambda: SGD([np.ones(2)]), TypeError, "parameter 0 is a ndarray, not a Tensor"),
    "no leaf": (lambda: SGD([leaf() * 2]), ValueError, r"of shape \(1,\), is the result of an op"),
    "mixed": (lambda: SGD([{"params": [leaf()]}, leaf()]), TypeError, "group 1 must be a dict"),
    "unknown": (
        lambda: SGD([{"params": [leaf()], "beta1": 0.5}]),
        ValueError,
        "SGD: a group sets beta1; it may set lr, momentum, nesterov, weight_decay",
    ),
    "lr": (lambda: SGD([leaf()], lr=-1), ValueError, r"SGD: lr \(=-1\) must be at least 0"),
    "nan": (lambda: SGD([leaf()], lr=math.nan), ValueError, r"lr \(=nan\) must be at least 0"),
    "beta": (lambda: Adam([leaf()], beta1=1.0), ValueError, r"beta1 \(=1.0\) .* below 1"),
    "betas": (lambda: Adam([leaf()], betas=(0.9, 0.99)), TypeError, "betas"),
    "nesterov": (
        lambda: SGD([leaf()], nesterov=True),
        ValueError,
        "SGD: nesterov needs momentum above 0",
    ),
    "muon": (
        lambda: Muon([leaf()]),
        ValueError,
        r'Muon: parameter 0 has shape \(1,\), which is no matrix; put it in a group with "adamw"',
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    make_optimizer, error, message = REFUSALS[case]
    with pytest.raises(error, match=message):
        make_optimizer()


def test_hyperparameters_of_other_number_types_become_floats():
    optimizer = SGD([leaf()], lr=np.float32(0.5), momentum=0)
    assert type(optimizer.lr) is type(optimizer.momentum) is float
    optimizer.lr = 1
    assert type(optimizer.lr) is float


def test_an_attribute_out_of_range_is_refused():
    optimizer = SGD([leaf()])
    with pytest.raises(ValueError, match=r"SGD: lr \(=-0.5\) must be at least 0"):
        optimizer.lr = -0.5
    assert optimizer.lr == 0.01
