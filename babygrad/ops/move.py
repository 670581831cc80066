"""Moving a tensor to another device."""

from __future__ import annotations

from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.device import Device, find
from babygrad.tensor import Tensor


class Move(Function):
    """The same values on another device: no copy, for every device computes on numpy arrays."""

    uses = ("",)

    def __init__(self, target: Device) -> None:
        self.target = target

    def __call__(self, *inputs: Tensor) -> Tensor:
        self.source = inputs[0].device
        out = super().__call__(*inputs)
        out._device = self.target
        if out._node is not None:
            out._node._device = self.target
        return out

    def forward(self, a: NDArray) -> NDArray:
        return a

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return out_grad.to(self.source)


def to(a: Tensor, device: str) -> Tensor:
    """The tensor on another device; the array is shared and the gradient flows through.

    Parameters
    ----------
    a : Tensor
    device : str
        `"cpu"`, `"cpu:numpy"`, `"cpu:cpp"` or `"cpu:numba"`.

    Raises
    ------
    ValueError
        When there is no such device; the message lists those there are. A type is none: `astype`
        casts, where PyTorch's `to` does both.
    """
    target = find(device)
    return a if target is a._device else Move(target)(a)
