"""babygrad.func against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, func, nn, no_grad, ops

pytestmark = pytest.mark.usefixtures("twins")


def t(values):
    return Tensor(values, dtype="float64")


def test_grad_and_value(device):
    x, y = t([1.0, 2.0]), t([3.0, 5.0])

    def f(x, y):
        return (x * x * y).sum()

    value, slope = func.value_and_grad(f)(x, y)
    assert value.item() == 23
    np.testing.assert_array_equal(slope.data, [6, 20])
    gx, gy = func.grad(f, argnums=(0, 1))(x, y)
    np.testing.assert_array_equal(gx.data, [6, 20])
    np.testing.assert_array_equal(gy.data, [1, 4])
    np.testing.assert_array_equal(func.grad(f, -1)(x, y).data, [1, 4])
    assert not any(t.requires_grad for t in (value, slope, x))


def test_nothing_is_written_into_grad(device):
    w = Tensor([2.0], requires_grad=True)
    func.grad(lambda x: (w * x).sum())(w)
    assert w.grad is None


def test_one_tensor_in_two_places_is_two_arguments(device):
    x = t([3.0])
    gx, gy = func.grad(lambda x, y: (x * x * y).sum(), (0, 1))(x, x)
    assert (gx.item(), gy.item()) == (18, 9)


def test_zeros_for_what_is_unused(device):
    gx, gy = func.grad(lambda x, y: (x * 2).sum(), (0, 1))(t([1.0]), t([1.0, 2.0]))
    assert (gx.tolist(), gy.tolist()) == ([2], [0, 0])
    assert func.grad(lambda x: t(5.0))(t([1.0, 2.0])).tolist() == [0, 0]


def test_numbers_and_arrays_as_arguments(device):
    assert func.grad(lambda x: x**3)(3.0).item() == 27
    slope = func.grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    assert (slope.tolist(), slope.dtype) == ([2, 4], np.float64)


def test_third_derivative(device):
    f = func.grad(func.grad(func.grad(lambda x: x**4)))
    assert f(t(2.0)).item() == 48


def test_captured_tensors_can_be_differentiated_too(device):
    w = Tensor([2.0], dtype="float64", requires_grad=True)
    slope = func.grad(lambda x: (w * x**3).sum())(t([2.0]))
    slope.backward()
    assert w.grad.tolist() == [12]
    with no_grad():
        assert not func.grad(lambda x: (w * x**3).sum())(t([2.0])).requires_grad


def test_a_module(device):
    model = nn.Linear(3, 1, dtype="float64")
    slope = func.grad(lambda x: model(x).sum())(t(np.ones((2, 3))))
    np.testing.assert_array_equal(slope.data, np.tile(model.weight.data[:, 0], (2, 1)))


def test_vjp(device):
    value, pull_back = func.vjp(lambda x, y: (x * y, x + 1), t([1.0, 2.0]), t([3.0, 4.0]))
    assert [v.tolist() for v in value] == [[3, 8], [2, 3]]
    for _ in range(2):  # it may be called again
        gx, gy = pull_back(t([1.0, 10.0]), t([100.0, 100.0]))
        np.testing.assert_array_equal(gx.data, [103, 140])
        np.testing.assert_array_equal(gy.data, [1, 20])


def test_jacobian_of_any_shapes(device):
    a = np.random.default_rng(0).normal(size=(2, 3))
    jac = func.jacobian(lambda x: t(a) @ x)(t(np.ones((3, 4))))
    expected = np.einsum("ij,kl->ikjl", a, np.eye(4))
    assert jac.shape == (2, 4, 3, 4)
    np.testing.assert_array_equal(jac.data, expected)
    blocks = func.jacobian(lambda x, y: (x * y, y), (0, 1))(t([1.0, 2.0]), t([3.0, 4.0]))
    np.testing.assert_array_equal(blocks[0][0].data, np.diag([3, 4]))
    np.testing.assert_array_equal(blocks[0][1].data, np.diag([1, 2]))
    np.testing.assert_array_equal(blocks[1][0].data, np.zeros((2, 2)))
    np.testing.assert_array_equal(blocks[1][1].data, np.eye(2))


def test_hessian_and_hvp(device):
    rng = np.random.default_rng(1)
    a, point, v = rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)

    def f(x):
        return x @ t(a) @ x + (x**3).sum()

    expected = a + a.T + np.diag(6 * point)
    np.testing.assert_allclose(func.hessian(f)(t(point)).data, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(func.hvp(f, t(point), t(v)).data, expected @ v, rtol=1e-13)
    hx, hy = func.hvp(lambda x, y: (x * x * y).sum(), (t([2.0]), t([3.0])), (t([1.0]), t([10.0])))
    assert (hx.item(), hy.item()) == (6 + 40, 4)
    assert not func.hessian(lambda x: (x * 3).sum())(t(point)).data.any()


def test_hessian_in_blocks(device):
    (xx, xy), (yx, yy) = func.hessian(lambda x, y: (x * y * y).sum(), (0, 1))(t([2.0]), t([3.0]))
    assert [b.item() for b in (xx, xy, yx, yy)] == [0, 6, 6, 4]


def test_per_example_gradients_by_jacobian(device):
    w, xs = t([1.0, -1.0]), t([[1.0, 2.0], [3.0, 4.0]])
    jac = func.jacobian(lambda w: ops.tanh(xs @ w))(w)
    slope = 1 - np.tanh(xs.data @ w.data) ** 2
    np.testing.assert_allclose(jac.data, slope[:, None] * xs.data, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: func.grad(lambda x: x * 2)(x), ValueError, r"shapes \[\(2,\)\]"),
        (lambda x: func.grad(lambda x: 3.0)(x), TypeError, "returned a float"),
        (lambda x: func.grad(lambda x: x.sum(), 1)(x), ValueError, "argument 1 of 1"),
        (lambda x: func.hvp(lambda x: x.sum(), x, t([1.0])), ValueError, "hvp"),
        (lambda x: func.grad(lambda x: x.sum())(x.astype("int64")), TypeError, "floating-point"),
    ],
)
def test_refusals(device, call, kind, message):
    with pytest.raises(kind, match=message):
        call(t([1.0, 2.0]))


def test_gradients_agree_with_backward(device):
    x = babygrad.Tensor(np.random.default_rng(2).normal(size=(3, 4)), requires_grad=True)
    f = lambda x: (ops.softmax(x) * x).sum()  # noqa: E731
    f(x).backward()
    np.testing.assert_array_equal(func.grad(f)(x.detach()).data, x.grad)


# Linear maps whose results lie in memory in every way there is, each with its meaning in numpy.
LAYOUTS = {
    "transposed": (lambda x: x.T, lambda a: a.T),
    "permuted": (lambda x: x.reshape(1, 2, 3).permute(2, 0, 1) * 2, lambda a: 2 * a.T[:, None]),
    "backwards": (lambda x: x[::-1, ::-1], lambda a: a[::-1, ::-1]),
    "strided": (lambda x: x[:, ::2], lambda a: a[:, ::2]),
    "broadcast": (lambda x: x.sum(axes=0).broadcast_to((2, 3)), lambda a: a.sum(0) + 0 * a),
    "a scalar": (lambda x: x[1, 2] * 3, lambda a: 3 * a[1, 2]),
    "empty": (lambda x: x[:, :0], lambda a: a[:, :0]),
    "a product": (lambda x: x.T @ t(np.eye(2)[:, ::-1].copy()), lambda a: a.T[:, ::-1]),
    "channels last": (
        lambda x: ops.conv2d(x.reshape(1, 1, 2, 3), t([[[[2.0]]], [[[5.0]]]])),
        lambda a: np.stack([2 * a, 5 * a])[None],
    ),
}


def columns(fn, shape):
    """The matrix of a linear map of arrays, as the Jacobian that it has everywhere."""
    size = int(np.prod(shape))
    units = np.eye(size).reshape(size, *shape)
    stacked = np.stack([fn(unit) for unit in units], axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *shape)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_jacobian_of_results_in_every_layout(device, name, order):
    ours, theirs = LAYOUTS[name]
    x = babygrad.from_numpy(np.array([[0.5, 1.0, -2.0], [3.0, 0.25, 7.0]], order=order))
    want = columns(theirs, (2, 3))
    np.testing.assert_allclose(func.jacobian(ours)(x).data, want, atol=1e-15)
    # Of the square of the map, f_i = (sum_j m_ij x_j) ** 2, the second derivative is 2 m_ij m_ik.
    flat = want.reshape(-1, 6)
    hessian = func.hessian(lambda x: (ours(x) ** 2).sum())(x).data
    np.testing.assert_allclose(hessian.reshape(6, 6), 2 * flat.T @ flat, atol=1e-12)


def test_hessian_of_a_loss_through_a_transposed_weight(device):
    X, w = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]]), t([[0.3, -0.7]])
    found = func.hessian(lambda w: ((t(X) @ w.T) ** 2).sum())(w).data
    np.testing.assert_allclose(found.reshape(2, 2), 2 * X.T @ X, rtol=1e-13)
