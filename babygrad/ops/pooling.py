"""Pooling: the largest element, or the mean, of every window of an image.

Images are (N, C, H, W), as in PyTorch; the kernels take (N, H, W, C), a permuted view. Pooling is
linear once the winners are known, so each gradient is an operation with the pooling as *its*
gradient.
"""

from __future__ import annotations

from typing import Any

from babygrad.autograd import Function, NDArray
from babygrad.ops._common import Member, like
from babygrad.ops._fused import Sizes, floats, pair_of, unstored
from babygrad.ops.elementwise import where
from babygrad.ops.indexing import Gather
from babygrad.ops.linalg import matmul
from babygrad.ops.shape import permute, reshape, squeeze, unsqueeze
from babygrad.tensor import Tensor


class MaxPool2d(Function):
    """x (N, H, W, C) -> the largest of each window; the places of the winners are kept."""

    uses = ("",)

    def __init__(self, *windows: Any) -> None:
        self.windows = windows

    def forward(self, x: NDArray) -> NDArray:
        y, self.winners = self.xp.max_pool2d(x, *self.windows)
        return y

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return MaxPool2dGrad(self.winners, node._inputs[0].shape)(out_grad)


class MaxPool2dGrad(Member):
    """The adjoint of picking the winners: gy added up at their places."""

    member = "max_pool2d_grad"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        winners, (n, height, width, channels) = self.settings
        shape = winners.shape
        found = self.xp.greater_equal(winners, 0)
        places = self.xp.maximum(winners, 0)
        places = self.xp.reshape(places, (n, shape[1] * shape[2], channels))
        pixels = reshape(out_grad, (n, height * width, channels))
        return where(like(found, out_grad), reshape(Gather(places, 1)(pixels), shape), 0)


class AvgPool2d(Member):
    """x (N, H, W, C) -> the mean of each window."""

    member = "avg_pool2d"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return AvgPool2dGrad(node._inputs[0].shape, *self.settings)(out_grad)


class AvgPool2dGrad(Member):
    """The adjoint of `AvgPool2d`, whose settings follow the image's shape."""

    member = "avg_pool2d_grad"
    uses = ("",)

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return AvgPool2d(*self.settings[1:])(out_grad)


def max_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of every window.

    Parameters
    ----------
    x : Tensor (N, C, H, W), or (C, H, W)
    kernel_size, dilation : int or pair
    stride : int or pair, optional
        The kernel's size by default.
    padding : int or pair
        At most half the kernel; a padded place never wins.
    ceil_mode : bool
        Admit a last window that runs over the end, by less than the stride; it may be the only one.
        None starts in the padding after the image.

    Returns
    -------
    Tensor (N, C, HO, WO)
        Of the type of x, integers among them; float16 gives float32. Of equal elements the first
        in row-major order gets the gradient. NaN wins. A window that meets nothing but padding,
        which a dilation makes possible, gives -inf, or the lowest integer, and no gradient.

    Raises
    ------
    ValueError
        When the rank or the padding does not fit, or no window does.
    """
    spread = pair_of("max_pool2d", "dilation", dilation)
    windows = _windows("max_pool2d", x, kernel_size, stride, padding, spread, ceil_mode)
    return _pool(MaxPool2d(*windows, spread, bool(ceil_mode)), unstored("max_pool2d", x))


def avg_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window; the parameters are those of `max_pool2d`.

    Parameters
    ----------
    count_include_pad : bool
        Whether padding counts as zeros, or not at all. What `ceil_mode` adds beyond never counts.

    Returns
    -------
    Tensor (N, C, HO, WO)
        Of integers in float32, as every mean is; PyTorch rounds it to an integer.
    """
    windows = _windows("avg_pool2d", x, kernel_size, stride, padding, (1, 1), ceil_mode)
    (image,) = floats("avg_pool2d", x)
    return _pool(AvgPool2d(*windows, bool(ceil_mode), bool(count_include_pad)), image)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """The mean of windows that divide the image as evenly as possible.

    Parameters
    ----------
    x : Tensor (N, C, H, W), or (C, H, W)
    output_size : int or pair
        Rows and columns of the result; None keeps the image's. Window i of n covers the rows
        floor(i H / n) to ceil((i + 1) H / n).

    Returns
    -------
    Tensor (N, C, HO, WO)
        Of integers in float32.
    """
    op = "adaptive_avg_pool2d"
    (x,) = floats(op, x)
    _check_image(op, x)
    height, width = x.shape[-2:]
    rows, columns = output_sizes(op, output_size, (height, width))
    if height % rows == 0 and width % columns == 0:
        return avg_pool2d(x, (height // rows, width // columns))
    # A mean over uneven windows is a matrix product along each axis.
    return matmul(_averaging(height, rows, x), matmul(x, _averaging(width, columns, x).transpose()))


def output_sizes(op: str, output_size: Any, image: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the result, the image's where `output_size` is None."""
    pair = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    filled = tuple(image[i] if n is None and i < 2 else n for i, n in enumerate(pair))
    return pair_of(op, "output_size", filled)


def _averaging(size: int, count: int, beside: Tensor) -> Tensor:
    """(count, size): row i averages the i-th of `count` windows over `size` elements."""
    matrix = []
    for i in range(count):
        start, end = i * size // count, -(-(i + 1) * size // count)
        share = 1 / (end - start)
        matrix.append([share if start <= j < end else 0.0 for j in range(size)])
    return Tensor(matrix, dtype=beside.dtype, device=beside.device)


def _windows(
    op: str,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    spread: tuple[int, ...],
    ceil_mode: bool,
) -> tuple[Any, ...]:
    """The kernel, stride and padding as the kernels take them, checked against the image."""
    kernel, steps, pads = window_settings(op, kernel_size, stride, padding)
    _check_image(op, x)
    for i, axis in enumerate(("height", "width")):
        span, padded = spread[i] * (kernel[i] - 1) + 1, x.shape[i - 2] + 2 * pads[i]
        beyond = steps[i] - 1 if ceil_mode else 0
        if span > padded + beyond:
            rule = f"with ceil_mode run over it by less than the stride (={steps[i]})"
            raise ValueError(
                f"{op}: a window spans {span} along the {axis}, where the padded image of "
                f"shape {x.shape} has {padded}; it must {rule if ceil_mode else 'fit'}"
            )
    return kernel, steps, tuple((p, p) for p in pads)


def window_settings(
    op: str, kernel_size: Any, stride: Any, padding: Any
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """The kernel, stride and padding as pairs, checked against each other."""
    kernel = pair_of(op, "kernel_size", kernel_size)
    steps = kernel if stride is None else pair_of(op, "stride", stride)
    pads = pair_of(op, "padding", padding, 0)
    for i, axis in enumerate(("height", "width")):
        if pads[i] > kernel[i] // 2:
            raise ValueError(
                f"{op}: padding (={pads[i]}) along the {axis} must be at most half "
                f"the kernel (={kernel[i]})"
            )
    return kernel, steps, pads


def _check_image(op: str, x: Any) -> None:
    if getattr(x, "ndim", 0) not in (3, 4) or 0 in x.shape[1:]:
        shape = getattr(x, "shape", None)
        raise ValueError(f"{op}: x has shape {shape}; it must be a non-empty (N, C, H, W)")


def _pool(function: Function, x: Tensor) -> Tensor:
    if x.ndim == 3:
        return squeeze(_pool(function, unsqueeze(x, 0)), 0)
    return permute(function(permute(x, (0, 2, 3, 1))), (0, 3, 1, 2))
