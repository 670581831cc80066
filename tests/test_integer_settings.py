"""Settings that count something take whatever is an integer, numpy's among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, data, func, nn, ops, optim

rng = np.random.default_rng(5)
IMAGE, KERNEL = rng.normal(size=(2, 4, 6, 6)), rng.normal(size=(4, 2, 3, 3))
X = rng.normal(size=(2, 3, 4))

# Each takes a function that makes an integer of the type in question.
CALLS: dict[str, Any] = {
    "conv2d": lambda n: ops.conv2d(IMAGE, KERNEL, None, n(1), n(1), n(1), n(2)),
    "conv2d by pairs": lambda n: ops.conv2d(
        IMAGE, KERNEL, None, (n(1), n(2)), [n(1), n(0)], (n(1), n(1)), n(2)
    ),
    "conv1d": lambda n: ops.conv1d(IMAGE[:, :, 0], KERNEL[:, :, 0], None, n(1), n(1), n(1), n(2)),
    "conv_transpose2d": lambda n: ops.conv_transpose2d(
        IMAGE, KERNEL, None, n(2), n(1), n(1), n(2), n(1)
    ),
    "max_pool2d": lambda n: ops.max_pool2d(IMAGE, n(2), n(2), n(1), n(1)),
    "avg_pool2d": lambda n: ops.avg_pool2d(IMAGE, (n(2), n(3)), n(2), n(1)),
    "adaptive_avg_pool2d": lambda n: ops.adaptive_avg_pool2d(IMAGE, (n(3), None)),
    "interpolate": lambda n: ops.interpolate(Tensor(IMAGE), (n(3), n(5))),
    "interpolate by a factor": lambda n: ops.interpolate(Tensor(IMAGE), scale_factor=n(2)),
    "layer_norm": lambda n: ops.layer_norm(X, (n(3), n(4))),
    "group_norm": lambda n: ops.group_norm(IMAGE, n(2)),
    "norm": lambda n: ops.norm(X, n(1), order=n(3)),
    "std": lambda n: ops.std(X, n(1), correction=n(0)),
    "softmax": lambda n: ops.softmax(X, (n(0), n(1))),
    "pad": lambda n: ops.pad(Tensor(X), n(1)),
    "cross_entropy": lambda n: ops.cross_entropy(
        X, np.zeros((2, 4), int), axis=n(1), ignore_index=n(-100)
    ),
    "self_attention": lambda n: ops.self_attention(Tensor.ones(2, 5, 24), n(4)),
    "Conv2d": lambda n: nn.Conv2d(
        n(4), n(4), n(3), stride=n(1), padding=n(1), dilation=n(1), groups=n(2)
    )(Tensor(IMAGE)),
    "ConvTranspose2d": lambda n: nn.ConvTranspose2d(n(4), n(4), n(3), n(2), groups=n(2))(
        Tensor(IMAGE)
    ),
    "BatchNorm2d": lambda n: nn.BatchNorm2d(n(4))(Tensor(IMAGE)),
    "GroupNorm": lambda n: nn.GroupNorm(n(2), n(4))(Tensor(IMAGE)),
    "MaxPool2d": lambda n: nn.MaxPool2d(n(2), n(2), n(1))(Tensor(IMAGE)),
    "Linear": lambda n: nn.Linear(n(4), n(5))(Tensor(X)),
    "LSTM": lambda n: nn.LSTM(n(4), n(3), n(2))(Tensor(X))[0],
    "value_and_grad": lambda n: func.grad(lambda a, b: (a * b).sum(), n(1))(
        Tensor([2.0]), Tensor([3.0])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("integer", [np.int64, np.uint8, np.int16])
def test_numpys_integers_give_what_pythons_give(name: str, integer: Any, device: str) -> None:
    def typed(value: int) -> Any:
        return value if value < 0 and integer is np.uint8 else integer(value)

    found = []
    for number in (int, typed):
        babygrad.manual_seed(0)
        try:
            found.append(CALLS[name](number))
        finally:
            babygrad.manual_seed(None)
    assert type(found[0]) is type(found[1])
    np.testing.assert_array_equal(found[1].data, found[0].data)


def test_a_setting_that_is_no_integer_is_refused_by_name(device: str) -> None:
    for broken in (1.5, "2", None, np.float64(2)):
        with pytest.raises(TypeError, match=r"conv2d: groups \(=.*\) must be an integer"):
            ops.conv2d(IMAGE, KERNEL, groups=broken)
    for broken in (1.5, (1, 2, 3), np.array([1, 2]), (1, "2")):
        with pytest.raises(ValueError, match=r"max_pool2d: kernel_size \(=.*\) must be an integer"):
            ops.max_pool2d(Tensor(IMAGE), broken)
    with pytest.raises(ValueError, match=r"groups \(=np.int64\(3\)\) must be a divisor of 4"):
        ops.conv2d(IMAGE, KERNEL, groups=np.int64(3))


def test_numpys_integers_elsewhere() -> None:
    before = babygrad.get_num_threads()
    babygrad.set_num_threads(np.int64(1))
    assert babygrad.get_num_threads() == 1
    babygrad.set_num_threads(before)
    assert data.RandomCrop(np.int64(1))(np.ones((4, 4, 1))).shape == (4, 4, 1)
    w = nn.Parameter(Tensor([1.0]))
    assert optim.StepLR(optim.SGD([w], 0.1), np.int64(3)) is not None
    assert "kernel_size=2" in repr(nn.MaxPool2d(np.int64(2))).replace("np.int64(2)", "2")
