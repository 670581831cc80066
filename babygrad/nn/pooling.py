"""Pooling layers."""

from __future__ import annotations

from typing import Any

from babygrad import ops
from babygrad.nn.module import Module
from babygrad.ops._fused import pair_of
from babygrad.ops._settings import check_switches
from babygrad.ops.pooling import output_sizes, window_settings
from babygrad.tensor import Tensor


class MaxPool2d(Module):
    """`ops.max_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        window_settings(name, kernel_size, stride, padding)
        pair_of(name, "dilation", dilation)
        check_switches(name, ceil_mode=ceil_mode)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )


class AvgPool2d(Module):
    """`ops.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        window_settings(name, kernel_size, stride, padding)
        check_switches(name, ceil_mode=ceil_mode, count_include_pad=count_include_pad)
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class AdaptiveAvgPool2d(Module):
    """`ops.adaptive_avg_pool2d`."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        output_sizes(type(self).__name__, output_size, (1, 1))
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)
