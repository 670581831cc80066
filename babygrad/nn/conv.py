"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from babygrad import init, ops
from babygrad.nn._state import Layout
from babygrad.nn.module import Module, Parameter
from babygrad.ops._fused import Sizes, counts_of, pair_of
from babygrad.ops._settings import check_switches, count_of
from babygrad.ops.conv import check_output_padding, in_a_row, movement
from babygrad.tensor import Tensor


class Conv(Module):
    """The book's convolution: NCHW images, a square kernel (K, K, C, O), padding (K - 1) // 2.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int
        Of a tuple the first element counts.
    bias : bool

    Attributes
    ----------
    weight : Parameter (K, K, in_channels, out_channels)
        Kaiming uniform at first.
    bias : Parameter (out_channels,), or None
        Uniform on +-1 / sqrt(in_channels K K) at first.
    """

    layouts: ClassVar = {
        "weight": Layout("nn.Conv", "(K, K, in, out)", "(out, in, K, K)", ".transpose(2, 3, 1, 0)")
    }

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = count_of(name, "in_channels", in_channels)
        self.out_channels = count_of(name, "out_channels", out_channels)
        self.kernel_size = count_of(name, "kernel_size", _first(kernel_size))
        self.stride = count_of(name, "stride", _first(stride))
        check_switches(name, bias=bias)
        self.padding = (self.kernel_size - 1) // 2
        area = self.kernel_size**2
        weight = init.kaiming_uniform(
            in_channels * area,
            out_channels * area,
            shape=(self.kernel_size, self.kernel_size, in_channels, out_channels),
            device=device,
            dtype=dtype,
        )
        self.weight = Parameter(weight)
        self.bias = _bias(in_channels * area, out_channels, device, dtype) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"Conv: x has shape {x.shape}; it must be (N, C, H, W)")
        images = ops.permute(x, (0, 2, 3, 1))  # (N, C, H, W) -> (N, H, W, C), a view
        y = ops.conv(images, self.weight, self.stride, self.padding, self.bias)
        return ops.permute(y, (0, 3, 1, 2))


class _ConvNd(Module):
    """What the convolutions with PyTorch's layout share: O x C / groups x kernel."""

    rank: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = count_of(name, "in_channels", in_channels)
        self.out_channels = count_of(name, "out_channels", out_channels)
        count_of(name, "groups", groups)
        check_switches(name, bias=bias)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: in_channels (={in_channels}) and out_channels (={out_channels}) "
                f"must be divisible by groups (={groups})"
            )
        self.kernel_size = counts_of(name, "kernel_size", kernel_size, self.rank)
        self._check_movement(name, stride, padding, dilation)
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        # A transposed convolution maps backwards, and so does its kernel.
        outer, inner = in_channels, out_channels
        if not self.transposed:
            outer, inner = out_channels, in_channels
        shape = (outer, inner // groups, *self.kernel_size)
        # A unit sums over a window in its group. PyTorch takes this number in both cases.
        fan_in = math.prod(shape[1:])
        weight = init.kaiming_uniform(fan_in, outer, shape=shape, device=device, dtype=dtype)
        self.weight = Parameter(weight)
        self.bias = _bias(fan_in, out_channels, device, dtype) if bias else None

    def _check_movement(self, name: str, stride: Any, padding: Any, dilation: Any) -> None:
        """Raise unless the kernel can move so over an image that is large enough."""
        movement(name, self.kernel_size, stride, padding, dilation)


class Conv1d(_ConvNd):
    """`ops.conv1d` with a weight (O, C / groups, K) and a bias (O,); x is (N, C, L)."""

    rank = 1

    def _check_movement(self, name: str, stride: Any, padding: Any, dilation: Any) -> None:
        movement(name, (1, *self.kernel_size), *in_a_row(name, stride, padding, dilation))

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv1d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv2d(_ConvNd):
    """`ops.conv2d` with a weight (O, C / groups, KH, KW) and a bias (O,); x is (N, C, H, W).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or pair
    padding : int, pair, "same" or "valid"
    groups : int
    bias : bool

    Examples
    --------
    >>> from babygrad import Tensor, nn
    >>> nn.Conv2d(3, 8, 3, stride=2, padding=1)(Tensor.ones(2, 3, 9, 9)).shape
    (2, 8, 5, 5)
    """

    rank = 2

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class ConvTranspose2d(_ConvNd):
    """`ops.conv_transpose2d` with a weight (C, O / groups, KH, KW) and a bias (O,)."""

    rank = 2
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            device,
            dtype,
        )
        check_output_padding(type(self).__name__, output_padding, stride, dilation)
        self.output_padding = output_padding

    def _check_movement(self, name: str, stride: Any, padding: Any, dilation: Any) -> None:
        pair_of(name, "padding", padding, 0)  # has no "same" and "valid"
        super()._check_movement(name, stride, padding, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


def _first(sizes: Any) -> Any:
    """The first element of a tuple or list, anything else as it is."""
    return sizes[0] if isinstance(sizes, tuple | list) and sizes else sizes


def _bias(fan_in: int, channels: int, device: str | None, dtype: Any) -> Parameter:
    bound = 1 / math.sqrt(max(fan_in, 1))
    return Parameter(init.rand(channels, low=-bound, high=bound, device=device, dtype=dtype))
