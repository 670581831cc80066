"""Messages pinned word for word: what a user reads must not change by accident.

Each names the operation, the arguments by role with their shapes or values, and the rule.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import babygrad
from babygrad import AxisError, Tensor, nn, no_grad, ops, optim


def ones(*shape, dtype="float32"):
    return Tensor(np.ones(shape), dtype=dtype)


def leaf(*shape):
    return Tensor(np.ones(shape), requires_grad=True)


def modified():
    w = leaf(2)
    y = (w * w).sum()
    with no_grad():
        w += 1
    y.backward()


def twice():
    y = (leaf(2) * 2).sum()
    y.backward()
    y.backward()


def in_place():
    w = leaf(2)
    w += 1


def inside_a_model():
    nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 2))(ones(2, 3))


# The messages are in error_messages.txt: a line with the case's name, then the message.
CASES = {
    "add": (ValueError, lambda: ones(2, 3) + ones(4)),
    "operand": (TypeError, lambda: ones(2) + "a"),
    "number": (ValueError, lambda: ones(2, dtype="uint8") + 300),
    "matmul": (ValueError, lambda: ones(2, 3) @ ones(4, 5)),
    "matmul 0-d": (ValueError, lambda: ones(2, 3) @ Tensor(1.0)),
    "linear": (ValueError, lambda: ops.linear(ones(2, 3), ones(4, 5))),
    "einsum": (ValueError, lambda: ops.einsum("ij,jk->ik", ones(2, 3), ones(4, 5))),
    "reshape": (ValueError, lambda: ones(2, 3).reshape(4, 2)),
    "axis": (AxisError, lambda: ones(2, 3).sum(2)),
    "axes twice": (ValueError, lambda: ones(2, 3).sum((0, -2))),
    "permute": (ValueError, lambda: ones(2, 3).permute(0, 0)),
    "squeeze": (ValueError, lambda: ones(2, 3).squeeze(1)),
    "broadcast_to": (ValueError, lambda: ones(2, 3).broadcast_to((2, 4))),
    "concatenate": (ValueError, lambda: ops.concatenate([ones(2, 3), ones(2, 4)])),
    "stack": (ValueError, lambda: ops.stack([ones(2), ones(3)])),
    "split": (ValueError, lambda: ones(5).split([2, 2])),
    "empty max": (ValueError, lambda: ops.max(ones(2, 0), axis=1)),
    "index": (IndexError, lambda: ones(2, 3)[0, 3]),
    "index list": (IndexError, lambda: ones(2, 3)[[0, -3]]),
    "index type": (IndexError, lambda: ones(2, 3)[1.5]),
    "mask": (IndexError, lambda: ones(3)[np.array([True, False])]),
    "embedding": (IndexError, lambda: ops.embedding([0, 7], ones(4, 2))),
    "conv2d channels": (ValueError, lambda: ops.conv2d(ones(1, 3, 8, 8), ones(4, 2, 3, 3))),
    "conv2d kernel": (ValueError, lambda: ops.conv2d(ones(1, 1, 2, 8), ones(1, 1, 3, 3))),
    "max_pool2d": (ValueError, lambda: ops.max_pool2d(ones(1, 1, 4, 4), 2, padding=2)),
    "layer_norm": (ValueError, lambda: ops.layer_norm(ones(2, 3), (4,))),
    "batch_norm": (ValueError, lambda: nn.BatchNorm1d(3)(ones(1, 3))),
    "attention": (
        ValueError, lambda: ops.scaled_dot_product_attention(ones(2, 4), ones(3, 5), ones(3, 4)),
    ),
    "mse_loss": (ValueError, lambda: ops.mse_loss(ones(100, 1), ones(100))),
    "cross_entropy": (IndexError, lambda: ops.cross_entropy(ones(2, 3), [0, 3])),
    "labels": (ValueError, lambda: ops.cross_entropy(ones(2, 3), [0.0, 1.5])),
    "label shape": (ValueError, lambda: ops.cross_entropy(ones(2, 3), [0, 1, 2])),
    "dropout": (ValueError, lambda: ops.dropout(ones(2), 1.5)),
    "dtype": (TypeError, lambda: Tensor([1.0], dtype="complex64")),
    "data": (TypeError, lambda: Tensor("text")),
    "requires_grad": (TypeError, lambda: Tensor([1], dtype="int32", requires_grad=True)),
    "item": (ValueError, lambda: ones(2).item()),
    "bool": (ValueError, lambda: bool(ones(2))),
    "len": (TypeError, lambda: len(Tensor(1.0))),
    "asarray": (RuntimeError, lambda: np.asarray(leaf(2))),
    "deepcopy": (RuntimeError, lambda: __import__("copy").deepcopy(leaf(2) * 2)),
    "backward": (RuntimeError, lambda: ones(2).backward()),
    "backward shape": (ValueError, lambda: (leaf(2) * 2).backward(ones(3))),
    "freed": (RuntimeError, twice),
    "in-place": (RuntimeError, in_place),
    "grad unused": (RuntimeError, lambda: babygrad.grad(leaf(2) * 2, leaf(3))),
    "assigned grad": (ValueError, lambda: setattr(leaf(2), "grad", np.ones(3))),
    "optimizer": (ValueError, lambda: optim.SGD(iter([]), lr=0.1)),
    "learning rate": (ValueError, lambda: optim.SGD([leaf(2)], lr=-0.1)),
    "layer path": (ValueError, inside_a_model),
    "state": (ValueError, lambda: nn.Linear(2, 3).load_state_dict({"weight": np.ones((3, 2))})),
}  # fmt: skip


def pinned():
    text = Path(__file__).with_name("error_messages.txt").read_text()
    parts = re.split(r"^\[(.+)\]\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


MESSAGES = pinned()


@pytest.mark.parametrize("name", CASES)
def test_message(device, name):
    kind, call = CASES[name]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == MESSAGES[name]


def test_a_value_that_changed_in_place():
    # The versions are ticks of a clock, so that their numbers differ from run to run.
    pattern = (
        r"^backward: an input of Multiply, of shape \(2,\), was modified in place after the "
        r"operation had saved it: it is at version \d+, saved at version \d+\. "
        r"Compute with a copy, or modify it after backward\(\)$"
    )
    with pytest.raises(RuntimeError, match=pattern):
        modified()


def test_an_unknown_device_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="cpu:gpu") as caught:
        Tensor([1.0], device="cpu:gpu")
    for name in ("cpu:numpy", "cpu:cpp", "cpu:numba"):
        assert name in str(caught.value)


@pytest.mark.usefixtures("numba")
def test_devices_that_differ_are_named():
    with pytest.raises(RuntimeError) as caught:
        Tensor([1.0], device="cpu:numpy") * Tensor([1.0], device="cpu:numba")
    assert str(caught.value) == (
        "Multiply: inputs live on different devices ('cpu:numpy', 'cpu:numba'); "
        "move them to one with .to(device)"
    )


def test_at_least_forty_messages_are_pinned():
    assert MESSAGES.keys() == CASES.keys()
    assert len(CASES) >= 40


@pytest.mark.parametrize(
    "call",
    [
        lambda x: ops.conv2d(x, None),
        lambda x: ops.conv(x, None),
        lambda x: ops.conv_transpose2d(x, None),
        lambda x: ops.linear(x, None),
        lambda x: ops.scaled_dot_product_attention(x, None, x),
        lambda x: ops.batch_norm(None),
        lambda x: ops.matmul(x, None),
    ],
)
def test_an_operand_that_is_none_is_named(call) -> None:
    x = Tensor(np.ones((1, 1, 3, 3)))
    with pytest.raises(TypeError, match=r"^\w+: an operand is a NoneType, not a tensor or number$"):
        call(x)
