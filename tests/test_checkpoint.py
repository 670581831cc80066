"""checkpoint: the same gradients without the activations."""

from __future__ import annotations

import functools
import itertools
import weakref

import numpy as np
import pytest

import babygrad
from babygrad import Function, Tensor, checkpoint, nn, no_grad, ops, random

pytestmark = pytest.mark.usefixtures("twins")


@pytest.fixture(autouse=True)
def numpys_generator():
    yield
    babygrad.manual_seed(None)


def leaf(values, dtype="float64"):
    return Tensor(values, dtype=dtype, requires_grad=True)


def both_ways(fn, inputs, parameters, dtype="float64"):
    """The gradients of inputs and parameters with and without the checkpoint."""
    found = []
    for call in (lambda *xs: fn(*xs), lambda *xs: checkpoint(fn, *xs)):
        babygrad.manual_seed(3)
        xs = [leaf(x, dtype) for x in inputs]
        for p in parameters:
            p.grad = None
        out = call(*xs)
        weights = np.linspace(0.5, 1.5, out.size).reshape(out.shape)
        (out * Tensor(weights, dtype=out.dtype)).sum().backward()
        found.append((out.numpy(), *(t.grad.copy() for t in (*xs, *parameters))))
    return found


@pytest.mark.parametrize("seed", [None, 3])
def test_gradients_of_inputs_parameters_and_dropout(device, dtype, seed):
    model = nn.Sequential(
        nn.Linear(4, 8, dtype=dtype), nn.GELU(), nn.Dropout(0.4), nn.Linear(8, 3, dtype=dtype)
    )
    x = np.random.default_rng(0).normal(size=(5, 4))
    plain, thrifty = both_ways(model, [x], model.parameters(), dtype)
    for a, b in zip(plain, thrifty, strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_learn_when_no_input_requires_grad(device):
    model = nn.Linear(3, 2)
    x = Tensor(np.ones((4, 3)))
    checkpoint(model, x).sum().backward()
    np.testing.assert_array_equal(model.weight.grad, np.full((3, 2), 4.0))
    np.testing.assert_array_equal(model.bias.grad, [[4, 4]])


def test_captured_results_pass_gradients_on_to_their_own_graph(device):
    w, x = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = w * w  # nobody keeps its value but the function
    (checkpoint(lambda x: x * h + h, x).sum() + h.sum()).backward()
    np.testing.assert_array_equal(x.grad, [1, 4])
    np.testing.assert_array_equal(w.grad, 2 * w.data * (x.data + 2))


def test_one_tensor_as_two_inputs(device):
    x = leaf([3.0])
    checkpoint(lambda a, b: a * a * b, x, x).backward()
    assert x.grad.tolist() == [27]


def test_arguments_that_are_no_tensors(device):
    x = leaf([1.0, 2.0])
    y = checkpoint(lambda x, n, mask: x * n if mask is None else x, x, 3, None)
    y.backward()
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_chains_and_nesting(device):
    def block(x):
        return ops.tanh(x * 2)

    def nested(x):
        return checkpoint(block, checkpoint(block, x)) + x

    for fn in (lambda x: checkpoint(block, checkpoint(block, x)), nested):
        x, y = leaf([0.3, -0.2]), leaf([0.3, -0.2])
        checkpoint(fn, x).sum().backward()
        (block(block(y)) + (y if fn is nested else y * 0)).sum().backward()
        np.testing.assert_array_equal(x.grad, y.grad)


def test_it_can_be_differentiated_again(device):
    w, x = leaf([1.5]), leaf([2.0])
    y = checkpoint(lambda x: w * x**3, x)
    first = babygrad.grad(y, x, create_graph=True)
    second = babygrad.grad(first, [x, w])
    assert [g.item() for g in second] == [18, 12]


def test_activations_are_not_kept(device):
    refs = []

    def fn(x):
        for _ in range(3):
            x = ops.exp(x * 0.1)
            refs.append(weakref.ref(x))
        return x.sum()

    x = leaf([1.0, 2.0])
    y = checkpoint(fn, x)
    assert [ref() for ref in refs] == [None] * 3
    y.backward()
    assert len(refs) == 6
    assert [ref() for ref in refs] == [None] * 6


def test_the_random_state_goes_on_as_without(device):
    x = Tensor(np.ones(50))

    def drop(w):
        return ops.dropout(w * x, 0.5)

    states = []
    for call in (drop, lambda w: checkpoint(drop, w)):
        babygrad.manual_seed(1)
        w = Tensor([2.0], requires_grad=True)
        call(w).sum().backward()
        states.append((random.get_state(), w.grad.item()))
    assert states[0] == states[1]


def test_a_generator_of_ones_own_is_replayed_and_goes_on_as_without(device):
    x = Tensor(np.ones(50))

    def drop(inner, generator, w):
        y = ops.dropout(w * x, 0.5, generator=generator)
        y = inner(lambda y: ops.dropout(y, 0.5, generator=generator).sum(), y)
        return ops.dropout(w * x, 0.5) * y

    def direct(fn, *inputs):
        return fn(*inputs)

    found = []
    for outer, inner in itertools.product((direct, checkpoint), repeat=2):
        generator = np.random.default_rng(5)
        babygrad.manual_seed(1)
        w = Tensor([2.0], requires_grad=True)
        y = outer(functools.partial(drop, inner, generator), w)
        generator.random(3)
        random.uniform((3,))
        y.sum().backward()
        found.append((w.grad.item(), y.tolist(), generator.random(), random.uniform(()).item()))
    assert found == found[:1] * 4


def test_a_replay_inside_of_another_checkpoint_leaves_no_trace_in_it(device):
    """A gradient taken within a checkpointed function, of a checkpoint made before it."""
    generator = np.random.default_rng(5)
    w = Tensor(np.ones(50), requires_grad=True)
    early = checkpoint(lambda w: ops.dropout(w * w, 0.5, generator=generator).sum(), w)

    def fn(v):
        slope = babygrad.grad(early, w, retain_graph=True)
        return ops.dropout(v * slope, 0.5, generator=generator).sum()

    y = checkpoint(fn, w)
    y.backward()
    # y is linear in w, of ones, and the slope 0 or 4 where early kept an element.
    assert set(w.grad.tolist()) == {0, 8}
    assert w.grad.sum() == y.item()


def test_inputs_and_parameters_that_changed_are_noticed(device):
    w, x, idle = leaf([2.0]), leaf([3.0]), Tensor([1.0], dtype="float64")
    for target in (w, x, idle):
        y = checkpoint(lambda x, idle: w * x + idle, x, idle)
        with no_grad():
            target += 1
        with pytest.raises(RuntimeError, match="modified in place"):
            y.backward()


def test_what_needs_no_gradient(device):
    x = Tensor([1.0])
    assert not checkpoint(lambda x: x * 2, x).requires_grad
    w = leaf([2.0])
    with no_grad():
        assert not checkpoint(lambda w: w * 2, w).requires_grad
    y = checkpoint(lambda x: x, w)
    y.backward()
    assert w.grad.tolist() == [1]


def test_refusals_and_exceptions(device):
    with pytest.raises(TypeError, match="one Tensor"):
        checkpoint(lambda x: (x, x), leaf([1.0]))
    calls = []

    class Fails(Function):
        def forward(self, a):
            calls.append(1)
            if len(calls) > 1:
                raise ValueError("second run")
            return a.copy()

        def backward(self, out_grad, node):
            return out_grad

    babygrad.manual_seed(1)
    before = random.get_state()
    y = checkpoint(Fails(), leaf([1.0]))
    with pytest.raises(ValueError, match="second run"):
        y.backward()
    assert random.get_state() == before
    assert babygrad.is_grad_enabled()
