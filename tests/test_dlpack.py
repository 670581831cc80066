"""`__dlpack__` for consumers that take less than numpy: shared where it can be, else copied."""

from __future__ import annotations

import numpy as np
import pytest

import babygrad
from babygrad import Tensor

REVERSED = {
    "1-d": lambda t: t.reshape(-1)[::-1],
    "rows": lambda t: t[::-1],
    "columns": lambda t: t[:, ::-1],
    "every second": lambda t: t[:, ::-2],
    "transposed": lambda t: t[::-1].T,
}


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("view", REVERSED)
def test_negative_strides_are_copied_away(device, view, name):
    """PyTorch ends the process for them."""
    base = np.arange(12).reshape(3, 4).astype(name)
    tensor = babygrad.from_numpy(REVERSED[view](base))
    assert min(tensor.data.strides) < 0
    array = np.from_dlpack(tensor)
    assert min(array.strides) > 0
    assert array.dtype == name
    np.testing.assert_array_equal(array, tensor.numpy())
    assert not np.shares_memory(array, tensor.data)
    assert babygrad.from_dlpack(tensor).tolist() == tensor.tolist()


def test_a_copy_that_was_ruled_out_is_refused(device):
    tensor = Tensor(np.arange(3.0))[::-1]
    with pytest.raises(
        BufferError, match=r"^__dlpack__: copy=False, but a tensor with negative st"
    ):
        tensor.__dlpack__(copy=False)


def test_other_views_are_shared(device, dtype):
    tensor = Tensor(np.arange(12.0).reshape(3, 4), dtype=dtype)
    for view in (tensor, tensor.T, tensor[1:, ::2], tensor[1], tensor[:0]):
        array = np.from_dlpack(view)
        np.testing.assert_array_equal(array, view.numpy())
        assert np.shares_memory(array, view.data) or not view.size
    assert np.from_dlpack(Tensor(2.0)).tolist() == 2.0


def test_a_tensor_that_requires_grad_is_refused(device):
    w = Tensor([1.0, 2.0], requires_grad=True)
    for tensor in (w, w * 2, (w * 2)[::-1]):
        with pytest.raises(BufferError, match=r"requires grad; call detach\(\) first"):
            np.from_dlpack(tensor)
    assert np.from_dlpack(w.detach()).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "source", [np.ma.array([1.0, 2.0], mask=[0, 1]), np.array(["a"]), [1], None]
)
def test_what_is_no_array_of_numbers_is_refused(source):
    with pytest.raises(TypeError, match=r"^from_dlpack: "):
        babygrad.from_dlpack(source)
