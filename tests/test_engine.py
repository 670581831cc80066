"""The engine: its interface, its refusals, and that both implementations do the same."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

import babygrad
from babygrad import Function, Tensor, native, no_grad, ops


def leaf(values, dtype="float64"):
    return Tensor(values, dtype=dtype, requires_grad=True)


pytestmark = pytest.mark.usefixtures("twins")


# ----- backward() -----


def test_a_composite_against_its_closed_form():
    x, y = leaf([0.5, 1.5]), leaf([2.0, -1.0])
    ((x * y + ops.sin(x)) / y).sum().backward()
    np.testing.assert_allclose(x.grad, 1 + np.cos(x.data) / y.data, rtol=1e-14)
    np.testing.assert_allclose(y.grad, -np.sin(x.data) / y.data**2, rtol=1e-14)


def test_a_tensor_taken_apart_gets_one_gradient_array(monkeypatch):
    """However many slices there are: their gradients are added into one array of zeros."""
    x, w = leaf(np.arange(12.0).reshape(6, 2)), leaf([3.0, 5.0])
    made = []
    backend = type(x._device.backend)
    zeros = backend.zeros

    def counted(*args):
        made.append(args[0])
        return zeros(*args)

    monkeypatch.setattr(backend, "zeros", staticmethod(counted))
    middle = x * 2
    total = sum((middle[i] * w * (i + 1)).sum() for i in range(6)) + middle[1:3, None].sum()
    (total + (middle * 7).sum() + middle[..., 1].sum()).backward()
    expected = 7 + np.outer(np.arange(1, 7), [3, 5])
    expected[1:3] += 1
    expected[:, 1] += 1
    np.testing.assert_array_equal(x.grad, 2 * expected)
    assert made.count((6, 2)) <= 1


def test_a_slice_is_not_added_into_anybody_elses_array():
    """The first contribution may be shared with the upstream gradient or another tensor's."""
    x, y = leaf([1.0, 2.0, 3.0]), leaf([1.0, 2.0, 3.0])
    upstream = Tensor([1.0, 1.0, 1.0], dtype="float64")
    head = (x * 1)[:2].sum()
    ((x + y) + 0 * head).backward(upstream)
    np.testing.assert_array_equal(upstream.data, 1)
    np.testing.assert_array_equal(y.grad, 1)
    z = leaf([1.0, 2.0, 3.0])
    kept = z + 0
    loss = kept[1:].sum() + (kept + y).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(z.grad, [2, 4, 4])
    np.testing.assert_array_equal(y.grad, [3, 3, 3])


def test_upstream_gradients_are_tensors_arrays_or_lists():
    for upstream in (Tensor([1.0, 10.0]), np.array([1.0, 10.0]), [1, 10]):
        x = leaf([1.0, 2.0])
        (x * 3).backward(upstream)
        np.testing.assert_array_equal(x.grad, [3, 30])
    with pytest.raises(ValueError, match=r"shape \(3,\).*\(2,\)"):
        (leaf([1.0, 2.0]) * 3).backward([1, 2, 3])


def test_the_upstream_gradient_stays_the_users_own():
    upstream = np.array([1.0, 10.0])
    x = leaf([1.0, 2.0])
    (x + 0).backward(Tensor(upstream, dtype="float64"))
    given = Tensor(upstream, dtype="float64")
    (x + 0).backward(given)
    x.grad[0] = 99
    np.testing.assert_array_equal(given.data, [1, 10])
    y = leaf([1.0, 2.0])
    y.backward(given)
    y.grad += 1
    np.testing.assert_array_equal(given.data, [1, 10])


def test_two_leaves_never_share_a_gradient_array():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (a + b).backward()
    a.grad += 1
    np.testing.assert_array_equal(b.grad, [1, 1])
    c = leaf([[1.0, 2.0]])
    c.sum().backward()
    c.grad += 1  # not the read-only view that broadcasting makes
    np.testing.assert_array_equal(c.grad, [[2, 2]])


def test_the_gradient_of_an_inner_tensor_is_private():
    x = leaf([1.0, 2.0])
    h = x * 2
    (h + 0).sum().backward()
    h.grad[:] = 7
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_a_leaf_itself():
    x = leaf([1.0, 2.0])
    x.backward()
    x.backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_gradients_have_their_inputs_type():
    a, b = leaf([1.0], "float32"), leaf([2.0], "float64")
    (a * b).backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)
    half = Tensor([1.0, 2.0], dtype="float16", requires_grad=True)
    y = half * 3
    assert y.dtype == np.float32
    y.sum().backward()
    assert half.grad.dtype == np.float16


def test_only_what_requires_grad_is_computed():
    asked = []

    class Spy(Function):
        uses = ("", "")

        def forward(self, a, b):
            return a + b

        def backward(self, out_grad, node):
            asked.append(tuple(t.requires_grad for t in node._inputs))
            return out_grad, None

    Spy()(leaf([1.0]), Tensor([1.0], dtype="float64")).backward()
    assert asked == [(True, False)]


# ----- Hooks -----


@pytest.mark.parametrize("inner", [False, True])
def test_hooks_see_and_replace_the_complete_gradient(inner):
    x, seen = leaf([1.0, 2.0]), []
    target = x * 1 if inner else x
    target.register_hook(lambda g: seen.append(g.tolist()))
    target.register_hook(lambda g: g * 10)
    (target * 2 + target).sum().backward()
    assert seen == [[3, 3]]
    np.testing.assert_array_equal(x.grad, [30, 30])


def test_a_hook_must_keep_the_shape():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match="hook"):
        (x * 2).sum().backward()
    with pytest.raises(RuntimeError, match="register_hook"):
        Tensor([1.0]).register_hook(print)


# ----- grad() -----


def test_grad_of_inner_tensors_leaves_the_graph_below_them():
    x = leaf([1.0, 2.0])
    h = x * x
    y = h.exp().sum()
    found = babygrad.grad(y, h)
    np.testing.assert_allclose(found.data, np.exp([1, 4]))
    h.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_grad_of_an_inner_tensor_and_of_its_own_source():
    x = leaf([1.0, 2.0])
    h = x * x
    gh, gx = babygrad.grad((h * h).sum(), [h, x])
    np.testing.assert_allclose(gh.data, [2, 8])
    np.testing.assert_allclose(gx.data, [4, 32])


def test_grad_of_several_outputs_with_their_upstream_gradients():
    x = leaf([1.0, 2.0])
    found = babygrad.grad([x * 2, x * x], x, [Tensor([1.0, 1.0]), Tensor([10.0, 10.0])])
    np.testing.assert_array_equal(found.data, [22, 42])
    with pytest.raises(ValueError, match="grad_outputs"):
        babygrad.grad([x * 2, x * x], x, [Tensor([1.0, 1.0])])


def test_unused_inputs_raise_unless_allowed():
    x, y = leaf([1.0]), leaf([2.0])
    with pytest.raises(RuntimeError, match="input 1 of shape"):
        babygrad.grad(x * 2, [x, y])
    first, second = babygrad.grad(x * 2, [x, y], allow_unused=True)
    assert first.item() == 2
    assert second is None
    with pytest.raises(ValueError, match="does not require grad"):
        babygrad.grad(x * 2, Tensor([1.0]))


def test_a_gradient_penalty_reaches_the_weights():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 5.0])
    slope = babygrad.grad((w * x**3).sum(), x, create_graph=True)
    (slope**2).sum().backward()  # sum (3 w x^2)^2
    np.testing.assert_allclose(w.grad, 2 * 9 * np.array([1, 16]) * w.data)
    np.testing.assert_allclose(x.grad, 4 * 9 * x.data**3 * w.data**2)


# ----- Functions of users -----


def test_a_wrong_backward_is_reported():
    def function(result):
        class Wrong(Function):
            def forward(self, a, b):
                return a + b

            def backward(self, out_grad, node):
                return result(out_grad)

        return Wrong()

    cases = [
        (lambda g: g, RuntimeError, "Wrong.backward returned 1 gradients for 2 inputs"),
        (lambda g: (g, g.data), TypeError, "gradient 1 is a ndarray"),
        (
            lambda g: (g, ops.concatenate([g, g])),
            RuntimeError,
            r"shape \(4,\) for an input of shape",
        ),
    ]
    for result, kind, message in cases:
        with pytest.raises(kind, match=message):
            function(result)(leaf([1.0, 2.0]), leaf([1.0, 2.0])).sum().backward()


def test_a_function_without_a_definition_says_so():
    class Empty(Function):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define forward"):
        Empty()(leaf([1.0]))


def test_forward_may_return_a_numpy_scalar():
    class Total(Function):
        uses = ("",)

        def forward(self, a):
            return np.float64(a.sum())

        def backward(self, out_grad, node):
            return ops.broadcast_to(out_grad, node._inputs[0].shape)

    x = leaf([1.0, 2.0])
    y = Total()(x)
    assert y.shape == ()
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


@pytest.mark.parametrize("n", [1, 2, 3, 20, 70])
def test_any_number_of_inputs(n):
    xs = [leaf([float(i)]) for i in range(n)]
    out = ops.concatenate(xs)
    out.backward(np.arange(n) + 1.0)
    assert [x.grad.item() for x in xs] == [i + 1 for i in range(n)]


@pytest.mark.usefixtures("numba")
def test_devices_do_not_mix():
    a = Tensor([1.0], device="cpu:numpy", requires_grad=True)
    b = Tensor([1.0], device="cpu:numba")
    with pytest.raises(RuntimeError, match="'cpu:numpy', 'cpu:numba'"):
        a + b
    y = a.to("cpu:numba") * b
    assert y.device == "cpu:numba"
    y.backward()
    assert a.grad.tolist() == [1]


def test_what_is_not_needed_is_not_kept():
    x, w = leaf(np.ones((3, 4))), leaf(np.ones((4, 2)))
    h = x * 2
    ref = weakref.ref(h)
    y = h @ Tensor(np.ones((4, 2)), dtype="float64")  # the gradient of h needs the other alone
    del h
    assert ref() is None
    z = (x * 2) @ w
    (y.sum() + z.sum()).backward()
    np.testing.assert_array_equal(w.grad, np.full((4, 2), 6.0))


def test_recording_modes_nest_and_decorate():
    x = leaf([1.0])
    with no_grad():
        with babygrad.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad

    @no_grad()
    def inside():
        return x * 2

    assert not inside().requires_grad
    assert (x * 2).requires_grad


def test_gradients_are_identical_in_both_implementations():
    """Bit for bit, whichever order of additions they use."""
    if not native.is_native_call():
        pytest.skip("the extension is not built, or this is the run of the definition")
    code = (
        "import numpy as np, babygrad; from babygrad import Tensor, ops, nn\n"
        "babygrad.manual_seed(0)\n"
        "m = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))\n"
        "x = Tensor.rand(5, 6)\n"
        "h = m(x); (ops.softmax(h) * h + h.exp()).sum().backward()\n"
        "print([p.grad.tobytes().hex() for p in [x, *m.parameters()]])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "BABYGRAD_ENGINE": name},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for name in ("python", "native")
    }
    assert len(outputs) == 1
