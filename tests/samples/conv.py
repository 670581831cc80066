"""Samples of convolution, pooling and resizing."""

from __future__ import annotations

from babygrad import ops
from samples import Sample, distinct, normal

SAMPLES = [
    Sample("conv", ops.conv, normal(1, 4, 3, 2), normal(2, 2, 2, 2)),
    # (4 + 2 - 3) % 2 != 0: the last row and column of the padded image are seen by no window.
    Sample("conv", lambda a, b: ops.conv(a, b, 2, 1), normal(1, 4, 4, 1), normal(3, 3, 1, 2)),
    Sample("conv2d", ops.conv2d, normal(1, 2, 3, 4), normal(2, 2, 2, 3), normal(2)),
    Sample(
        "conv2d",
        lambda x, w: ops.conv2d(x, w, None, (2, 1), (2, 3), (1, 2), groups=2),
        normal(1, 4, 3, 2),
        normal(2, 2, 2, 2),
    ),
    Sample(
        "conv1d",
        lambda x, w, b: ops.conv1d(x, w, b, stride=2, padding=1),
        normal(2, 2, 5),
        normal(2, 2, 2),
        normal(2),
    ),
    Sample(
        "conv_transpose2d",
        lambda x, w, b: ops.conv_transpose2d(x, w, b, 2, 1, 1, groups=2),
        normal(1, 2, 2, 3),
        normal(2, 1, 3, 2),
        normal(2),
    ),
    Sample(
        "conv_transpose2d",
        lambda x, w: ops.conv_transpose2d(x, w, None, 1, (0, 2), 2, dilation=3),
        normal(1, 1, 2, 3),
        normal(1, 1, 2, 2),
    ),
    Sample("max_pool2d", lambda x: ops.max_pool2d(x, 2), distinct(1, 2, 4, 5)),
    Sample(
        "max_pool2d",
        lambda x: ops.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        distinct(1, 1, 4, 4),
    ),
    Sample(
        "avg_pool2d",
        lambda x: ops.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        normal(1, 1, 4, 5),
    ),
    Sample("adaptive_avg_pool2d", lambda x: ops.adaptive_avg_pool2d(x, 2), normal(1, 1, 4, 4)),
    Sample("adaptive_avg_pool2d", lambda x: ops.adaptive_avg_pool2d(x, (2, 3)), normal(1, 1, 3, 4)),
    Sample("interpolate", lambda x: ops.interpolate(x, (4, 2)), normal(1, 1, 3, 3)),
    Sample(
        "interpolate",
        lambda x: ops.interpolate(x, scale_factor=2, mode="bilinear"),
        normal(1, 1, 2, 3),
    ),
]
