"""Writes through views of tensors in a graph: seen by all tensors of the memory, or refused."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, no_grad

pytestmark = pytest.mark.usefixtures("twins")

WEIGHTS = np.arange(1.0, 13.0).reshape(3, 4)


def assign(a, index, value):
    a[index] = value


def add_to_a_row(y):
    row = y[0]
    row += 10


def zero_every_row(y):
    for row in y:
        row[0] = 0


def scale_a_row(y):
    y[0] *= 3


def two_views_of_a_view(y):
    lower = y[1:]
    mirrored = lower[:, ::-1]
    mirrored *= 2
    lower[0] += 1


def a_view_whose_base_has_another_name(y):
    flat, y = y.reshape(-1), None
    flat[[1, 5]] = -1.0


WRITES = {
    "an element of a row": lambda y: assign(y[0], 1, 50.0),
    "a row of the transposed": lambda y: assign(y.T, 0, 7.0),
    "through the flat view": lambda y: assign(y.flatten(), slice(None, None, 5), -1.0),
    "through a new axis": lambda y: assign(y.unsqueeze(0)[0, 1], ..., 4.0),
    "through another device's name": lambda y: assign(y.to("cpu:numpy"), (1, 1), 4.0),
    "a mask of a view": lambda y: assign(y[1:], y.data[1:] > 6.5, 0.0),
    "+=": add_to_a_row,
    "+= of an item": scale_a_row,
    "a loop over rows": zero_every_row,
    "views of views": two_views_of_a_view,
    "a nameless base": a_view_whose_base_has_another_name,
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_through_a_view_reaches_the_tensor(name, device, dtype):
    write = WRITES[name]
    start = np.arange(12.0).reshape(3, 4)

    def written(values):
        with no_grad():  # plain memory, as numpy has it
            y = Tensor(values, dtype="float64") * 1
            write(y)
        return y.numpy()

    x = Tensor(start, dtype=dtype, requires_grad=True)
    y = x * 1
    write(y)
    np.testing.assert_array_equal(y.data, written(start))
    (y * Tensor(WEIGHTS, dtype=dtype)).sum().backward()
    # All these writes are affine in x: one step of any size gives the slope.
    slope = [
        ((written(start + unit) - written(start)) * WEIGHTS).sum()
        for unit in np.eye(12).reshape(12, 3, 4) * 0.25
    ]
    np.testing.assert_allclose(x.grad.reshape(-1), np.array(slope) / 0.25, rtol=1e-6)


def test_a_write_to_the_tensor_reaches_its_views(device, dtype):
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    y = x * 1
    row, column = y[0], y[:, 0]
    y[0] = x[1] * 10
    assert row.tolist() == [30, 40]
    assert column.tolist() == [30, 3]
    row.sum().backward()
    assert x.grad.tolist() == [[0, 0], [10, 10]]


def test_values_with_a_graph_written_through_a_view_of_plain_data(device, dtype):
    w = Tensor([2.0, 3.0], dtype=dtype, requires_grad=True)
    buffer = Tensor.zeros(2, 2, dtype=dtype, requires_grad=False)
    for i in range(2):
        buffer[i][1] = w[i] * 5
        row = buffer[i]
        row += w
    assert buffer.tolist() == [[2, 13], [2, 18]]
    (buffer * Tensor([[1.0, 10.0], [100.0, 1000.0]], dtype=dtype)).sum().backward()
    # Each column of the buffer has w once; its second one has 5 w[i] besides.
    assert w.grad.tolist() == [1 + 100 + 50, 10 + 1000 + 5000]


def test_a_view_that_was_made_without_recording(device, dtype):
    x = Tensor([1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
    y = x * 2
    with no_grad():
        view = y[1:]
    view[0] = 9.0
    assert y.tolist() == [2, 9, 6]
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 2]

    y = x * 2
    with no_grad():
        view = y[1:]
    view *= x[0]
    (y + view.sum()).sum().backward()
    # y = [2 x0, 2 x0 x1, 2 x0 x2], and 3 times the sum of the last two.
    assert x.grad.tolist() == [2 + 2 + 4 * (2 * 2 + 2 * 3), 4 * 2, 2 + 4 * 2]


def test_a_read_only_view_sees_the_write_and_stays_read_only(device, dtype):
    x = Tensor([[1.0], [2.0]], dtype=dtype, requires_grad=True)
    y = x * 1
    wide = y.broadcast_to((2, 3))
    y[0] = x[1] * 4
    assert wide.tolist() == [[8, 8, 8], [2, 2, 2]]
    assert not wide.data.flags.writeable
    wide.sum().backward()
    assert x.grad.tolist() == [[0], [4 * 3 + 3]]


def test_second_derivatives_through_a_write(device):
    x = Tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    y = x * 1
    view = y[1:]
    view *= x[:2]  # y = [x0, x0 x1, x1 x2]
    loss = (y**2).sum()
    (first,) = babygrad.grad(loss, [x], create_graph=True)
    np.testing.assert_allclose(first.data, [2 + 2 * 4, 2 * 2 + 2 * 2 * 9, 2 * 3 * 4])
    (second,) = babygrad.grad(first[0], [x])
    np.testing.assert_allclose(second.data, [2 + 2 * 4, 4 * 2, 0])


def test_what_shares_no_element_keeps_its_gradient(device, dtype):
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    y = x * 1
    first, second = y[0], y[1]
    second *= 10
    (first.sum() + second.sum()).backward()
    assert x.grad.tolist() == [[1, 1], [10, 10]]
    assert y.tolist() == [[1, 2], [30, 40]]


def test_a_gradient_that_would_read_the_old_values_is_refused(device, dtype):
    x = Tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    y = x * 1
    square = y * y
    y[:1][0] = 5.0
    with pytest.raises(RuntimeError, match=r"an input of Multiply.* was modified in place"):
        square.sum().backward()
    assert x.grad is None


def test_what_was_computed_from_the_old_values_keeps_them(device, dtype):
    x = Tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    y = x.exp()  # whose gradient reads its own result
    total = y.sum()
    y[:1][0] = 5.0
    (total + y.sum()).backward()
    np.testing.assert_allclose(x.grad, np.exp([1, 2]) * [1, 2], rtol=1e-6)


@pytest.mark.parametrize("write", ["view += 1", "view[0] = 5.0"])
def test_a_view_of_a_leaf_that_requires_grad_is_left_untouched(device, dtype, write):
    w = Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    view = w[0]
    symbol = "+=" if "+" in write else "setitem"
    message = (
        f"{symbol}: this tensor of shape (2,) is a view of a leaf of shape (2, 2) that requires "
        "grad, which cannot be modified in place while operations are recorded; use no_grad(), "
        "or a new tensor, as in a = a + b"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        exec(write, {}, {"view": view})
    assert w.tolist() == [[1, 2], [3, 4]]
    with no_grad():
        exec(write, {}, {"view": view})
    assert w.tolist() != [[1, 2], [3, 4]]


def test_a_refused_write_changes_nothing(device, dtype):
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    y = x * 1
    row = y[0]
    with pytest.raises(ValueError, match=r"\+=: the result has shape \(2, 2\)"):
        row += y
    with pytest.raises(ValueError, match="does not broadcast"):
        row[:] = y
    assert y.tolist() == [[1, 2], [3, 4]]
    (y + row).sum().backward()
    assert x.grad.tolist() == [[3, 3], [1, 1]]


def test_views_do_not_keep_tensors_alive_or_pile_up(device):
    data = Tensor(np.ones((4, 2)))
    for _ in range(1000):
        data[1:3].sum()
    assert len(data._version) < 50


# ----- Any program of views and writes -----


def view_of(draw, a):
    choices = [
        lambda: a.reshape(-1),
        lambda: a.T if a.ndim > 1 else a[::-1],
        lambda: a[draw.randrange(a.shape[0])] if a.ndim > 1 else a[1:],
        lambda: a[::2],
        lambda: a[..., ::-1],
        lambda: a.unsqueeze(0),
        lambda: a[1:],
    ]
    return draw.choice(choices)()


def program(seed, x):
    """All tensors that a random program of views and writes leaves, and a number made of them."""
    draw = random.Random(seed)
    made = [x * 1]
    views = []
    for _ in range(draw.randrange(2, 9)):
        step, a = draw.randrange(3), draw.choice(made)
        if step == 0 or not views:
            view = view_of(draw, a)
            # What reshape had to copy is no view: += would give it a new tensor.
            if view.size and np.shares_memory(view.data, made[0].data):
                made.append(view)
                views.append(view)
        elif step == 1:
            view = draw.choice(views)
            if draw.randrange(2):
                view += float(draw.randrange(5))
            else:
                view *= float(draw.randrange(1, 4))
        elif a.ndim:
            a[draw.randrange(a.shape[0])] = (draw.choice(made) * 2).sum() * 0.1
    return made, sum((a * a).sum() * (i + 1) for i, a in enumerate(made))


@pytest.mark.parametrize("seed", range(60))
def test_any_program_of_views_and_writes(seed):
    start = np.arange(12.0).reshape(3, 4) / 3 + 0.3

    def plain(values):
        with no_grad():
            made, total = program(seed, Tensor(values, dtype="float64"))
        return [a.numpy() for a in made], total.item()

    x = Tensor(start, dtype="float64", requires_grad=True)
    made, total = program(seed, x)
    total.backward()
    for a, want in zip(made, plain(start)[0], strict=True):
        np.testing.assert_allclose(a.data, want, rtol=1e-12)
    steps = np.eye(12).reshape(12, 3, 4) * 1e-6
    slope = [(plain(start + s)[1] - plain(start - s)[1]) / 2e-6 for s in steps]
    np.testing.assert_allclose(x.grad.reshape(-1), slope, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("write", [lambda y: assign(y, 0, 0.0), lambda y: assign(y.T, 0, 0.0)])
def test_a_write_leaves_the_layout_as_it_is(device, dtype, write):
    """What reshape copies without a graph, it copies in one."""
    for recorded in (True, False):
        x = Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=recorded)
        for y in (x.T * 1, (Tensor(np.ones((2, 4)), dtype=dtype) * x.sum())[:, ::2]):
            strides = y.data.strides
            write(y)
            assert y.data.strides == strides
