"""T4 to T6 of docs/semantics.md: depth, lifetime, second order."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, no_grad, ops

pytestmark = pytest.mark.usefixtures("twins")


def leaf(values, dtype):
    return Tensor(values, dtype=dtype, requires_grad=True)


@pytest.fixture
def no_gc():
    """The garbage collector off, so that only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ----- T4: depth -----

DEEP = """
import copy, sys
sys.setrecursionlimit(1000)
import numpy as np
import babygrad
from babygrad import Tensor, nn
x = Tensor([1.0], requires_grad=True)
def chain(n):
    y = x
    for _ in range(n // 2):
        y = y + x
        y = -y
    return y
y = chain(200_000)
assert "200000" not in repr(y) and repr(y).startswith("Tensor(")
y.backward(retain_graph=True)
assert x.grad.tolist() == [1.0], x.grad
y.backward()
del y
y = chain(200_000)
del y                              # a graph that no backward pass takes apart
model = nn.Linear(1, 1)
z = chain(1_000)
z = model(z.reshape(1, 1))
for _ in range(20_000):
    z = z + 1.0
twin = copy.deepcopy(model)
assert twin.weight is not model.weight
first, = babygrad.grad(z, [model.weight], create_graph=True)
z = model(x.reshape(1, 1))
for _ in range(20_000):
    z = z * 1.0
z.backward()
assert model.weight.grad.tolist() == [[1.0]]
print("deep enough")
"""


def test_two_hundred_thousand_operations(device, twins):
    if twins == "native" and device != "cpu:cpp":
        pytest.skip("the engine is one for all devices; its twin in C++ comes with cpu:cpp")
    if twins == "python" and device != "cpu:numpy":
        pytest.skip("the engine is one for all devices")
    environment = {**os.environ, "BABYGRAD_ENGINE": twins, "BABYGRAD_DEVICE": device}
    run = subprocess.run(
        [sys.executable, "-c", DEEP], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "deep enough\n"


def test_the_order_of_accumulation_is_deterministic(device):
    def gradient():
        x = leaf(np.linspace(0.1, 1, 50), "float32")
        y = sum(ops.sin(x * (i + 0.1)) * (1e4 if i % 3 else 1e-4) for i in range(40))
        y.sum().backward()
        return x.grad.tobytes()

    assert len({gradient() for _ in range(5)}) == 1


# ----- T5: lifetime -----


def test_tensors_die_with_their_last_reference(device, dtype, no_gc):
    x = leaf([1.0, 2.0], dtype)
    h = x.exp()
    y = (h * x).sum()
    inner, outer = weakref.ref(h), weakref.ref(y)
    del h
    # The product's gradient reads its value, so the graph keeps that tensor, until the pass.
    assert inner() is not None
    y.backward()
    assert inner() is None
    del y
    assert outer() is None

    y = (x.exp() + 1).sum()
    refs = [weakref.ref(t) for t in (y,)]
    del y
    assert all(ref() is None for ref in refs)


def test_activations_that_no_gradient_reads_die_at_once(device, dtype, no_gc):
    x = leaf([1.0, 2.0], dtype)
    h = x + 1
    y = (h + 2).sum()
    ref = weakref.ref(h)
    del h
    assert ref() is None
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_activations_are_freed_during_backward(device, dtype, no_gc):
    alive = []

    class Probe(babygrad.Function):
        uses = ("",)

        def forward(self, a):
            return a.copy()

        def backward(self, out_grad, node):
            alive.append(late() is not None)
            return out_grad

    x = leaf([1.0, 2.0], dtype)
    a = Probe()(x)
    b = a.exp()
    c = b * b
    late = weakref.ref(b)
    y = c.sum()
    del a, b, c
    assert late() is not None
    y.backward()
    assert alive == [False]


def test_grad_stays_on_leaves_and_on_tensors_that_are_held(device, dtype):
    x = leaf([1.0, 2.0], dtype)
    h = x * 3
    (h * h).sum().backward()
    np.testing.assert_array_equal(h.grad, [6, 12])
    np.testing.assert_array_equal(x.grad, [18, 36])


def test_a_second_backward_raises_and_retain_graph_allows_it(device, dtype):
    x = leaf([1.0, 2.0], dtype)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])


def test_a_graph_that_shares_a_freed_part_raises_before_any_gradient(device, dtype):
    x, w = leaf([1.0, 2.0], dtype), leaf([1.0, 1.0], dtype)
    h = x.exp()
    h.sum().backward()
    x.grad = None
    with pytest.raises(RuntimeError, match="freed"):
        (h * w).sum().backward()
    assert w.grad is None
    assert x.grad is None


def test_no_parents_inside_no_grad(device, dtype):
    x = leaf([1.0, 2.0], dtype)
    with no_grad():
        y = x * x + 1
    assert not y.requires_grad
    assert y._inputs == ()
    assert y._op is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()


def test_an_exception_inside_backward_leaves_the_engine_usable(device, dtype):
    class Broken(babygrad.Function):
        def forward(self, a):
            return a.copy()

        def backward(self, out_grad, node):
            raise ZeroDivisionError("on purpose")

    x = leaf([1.0, 2.0], dtype)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        Broken()(x * 2).sum().backward()
    assert babygrad.is_grad_enabled()
    assert babygrad.get_default_device() == device
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_no_grad_ends_with_an_exception(device):
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert babygrad.is_grad_enabled()


# ----- T6: second order -----


def test_powers_and_exponentials(device):
    x = leaf(3.0, "float64")
    y = x**3
    (first,) = babygrad.grad(y, [x], create_graph=True)
    (second,) = babygrad.grad(first, [x])
    assert (y.item(), first.item(), second.item()) == (27, 27, 18)
    x = leaf(2.0, "float64")
    first = babygrad.grad(ops.exp(3 * x), x, create_graph=True)
    second = babygrad.grad(first, x)
    assert first.item() == pytest.approx(1210.2864, abs=5e-5)
    assert second.item() == pytest.approx(3630.8591, abs=2e-4)


def test_cube_has_a_third_and_a_fourth_derivative(device):
    x = leaf(3.0, "float64")
    derivative, values = x**3, []
    for _ in range(3):
        derivative = babygrad.grad(derivative, x, create_graph=True)
        values.append(derivative.item())
    assert values == [27, 18, 6]


def test_grad_without_create_graph_is_a_constant_and_writes_nowhere(device, dtype):
    x = leaf([1.0, 2.0], dtype)
    h = x * x
    found = babygrad.grad((h * h).sum(), [x, h])
    assert all(not g.requires_grad and g._inputs == () for g in found)
    np.testing.assert_allclose(found[0].data, [4, 32])
    np.testing.assert_allclose(found[1].data, [2, 8])
    assert x.grad is None
    assert h.grad is None


def test_relu_has_the_second_derivative_zero(device, dtype):
    x = leaf([-1.0, 0.0, 2.0], dtype)
    first = babygrad.grad(ops.relu(x).sum(), x, create_graph=True)
    np.testing.assert_array_equal(first.data, [0, 0, 1])
    # The graph leads to no leaf, or its gradient is 0.
    if first.requires_grad:
        second = babygrad.grad(first.sum(), x, allow_unused=True)
        assert second is None or not second.data.any()


def test_the_hessian_of_a_quadratic_form(device):
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(4, 4))
    x, a = leaf(rng.normal(size=4), "float64"), Tensor(matrix, dtype="float64")
    first = babygrad.grad(x @ a @ x, x, create_graph=True)
    rows = [babygrad.grad(first[i], x, retain_graph=True).data for i in range(4)]
    np.testing.assert_allclose(np.stack(rows), matrix + matrix.T, rtol=1e-13, atol=1e-13)
