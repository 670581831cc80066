"""Convolution: three bilinear primitives on NHWC images, and the functions users call.

`conv` is the book's, on NHWC images and HWIO kernels. `conv1d`, `conv2d` and `conv_transpose2d`
take NCHW and OIHW as PyTorch does; they only permute axes, which copies nothing, so that between
two convolutions an activation lies in memory as NHWC while its shape says NCHW.

A convolution is linear in the image and in the kernel. So the gradient of each of the three
primitives, `Conv2d`, `Conv2dInputGrad` and `Conv2dWeightGrad`, is made of the other two, and they
can be differentiated as often as one likes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from babygrad.autograd import Function, NDArray
from babygrad.ops._common import Member, whole
from babygrad.ops._fused import Sizes, check_channels, counts_of, floats, pair_of
from babygrad.ops.joining import pad
from babygrad.ops.shape import permute, squeeze, unsqueeze
from babygrad.tensor import Tensor

Pair = tuple[int, int]  # (height, width) or (before, after)


class Geometry(NamedTuple):
    """How a kernel moves over an image; rows before columns, top before bottom."""

    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int


class Conv2d(Member):
    """x (N, H, W, C), w (KH, KW, C / groups, O) and perhaps b (O,) -> (N, HO, WO, O)."""

    uses = ("1", "0", "")

    def forward(self, *arrays: NDArray) -> NDArray:
        x, w, *bias = arrays
        return self.xp.conv2d(x, w, bias[0] if bias else None, *self.settings)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        x, w, *bias = node._inputs
        geometry = self.settings
        gx = Conv2dInputGrad(x.shape, *geometry)(out_grad, w) if x.requires_grad else None
        gw = Conv2dWeightGrad(w.shape, *geometry)(out_grad, x) if w.requires_grad else None
        gb = [out_grad.sum((0, 1, 2)) if b.requires_grad else None for b in bias]
        return gx, gw, *gb


class Conv(Conv2d):
    """The book's: A (N, H, W, C), B (KH, KW, C, O) and perhaps a bias (O,)."""

    def __init__(self, stride: Sizes = 1, padding: Any = 0) -> None:
        self.stride = stride
        self.padding = padding

    def forward(self, A: NDArray, B: NDArray, *bias: NDArray) -> NDArray:  # type: ignore[override]
        _check_ranks("conv", A, B, 4)
        _check_channels("conv", A, B, A.shape[3], B.shape[2])
        check_channels("conv", "bias", bias[0] if bias else None, B.shape[3])
        self.settings = _geometry(
            "conv", A.shape[1:3], B.shape[:2], self.stride, self.padding, 1, 1
        )
        return super().forward(A, B, *bias)


class Conv2dInputGrad(Member):
    """The adjoint of `Conv2d` in the image: gy, w -> gx; also a transposed convolution."""

    member = "conv2d_input_grad"
    uses = ("1", "0")

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        (gy, w), (_, *geometry) = node._inputs, self.settings
        return (
            Conv2d(*geometry)(out_grad, w) if gy.requires_grad else None,
            Conv2dWeightGrad(w.shape, *geometry)(gy, out_grad) if w.requires_grad else None,
        )


class Conv2dWeightGrad(Member):
    """The adjoint of `Conv2d` in the kernel: gy, x -> gw."""

    member = "conv2d_weight_grad"
    uses = ("1", "0")

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        (gy, x), (_, *geometry) = node._inputs, self.settings
        return (
            Conv2d(*geometry)(x, out_grad) if gy.requires_grad else None,
            Conv2dInputGrad(x.shape, *geometry)(gy, out_grad) if x.requires_grad else None,
        )


def conv(a: Any, b: Any, stride: Sizes = 1, padding: Any = 0, bias: Any = None) -> Tensor:
    """Cross-correlation of NHWC images with an HWIO kernel, as in the book.

    Parameters
    ----------
    a : Tensor (N, H, W, C)
    b : Tensor (KH, KW, C, O)
    stride, padding : int or pair
        Zeros are added round the image: `padding` rows above and below, likewise columns.
    bias : Tensor (O,), optional

    Returns
    -------
    Tensor (N, HO, WO, O)
        HO = floor((H + 2 padding - KH) / stride) + 1, likewise WO.

    Raises
    ------
    ValueError
        When the ranks or channels do not fit, or the kernel exceeds the padded image.

    Examples
    --------
    >>> import babygrad
    >>> image = babygrad.Tensor.ones(1, 4, 4, 1)
    >>> babygrad.ops.conv(image, babygrad.Tensor.ones(3, 3, 1, 2)).shape
    (1, 2, 2, 2)
    """
    a, b, bias = floats("conv", a, b, bias, needed=2)
    return _apply(Conv(stride, padding), a, b, bias)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of NCHW images with an OIHW kernel, as in PyTorch.

    Parameters
    ----------
    x : Tensor (N, C, H, W), or (C, H, W) for a single image
    weight : Tensor (O, C / groups, KH, KW)
    bias : Tensor (O,), optional
    stride, dilation : int or pair
    padding : int, pair, "same" or "valid"
        Zeros round the image. "same" keeps its size and needs stride 1.
    groups : int
        The channels are split into so many independent convolutions.

    Returns
    -------
    Tensor (N, O, HO, WO)
        HO = floor((H + pads - dilation (KH - 1) - 1) / stride) + 1, likewise WO. In memory it is
        (N, HO, WO, O).

    Raises
    ------
    ValueError
        When the ranks, channels or groups do not fit, or the kernel exceeds the padded image.
    """
    return _conv_nchw("conv2d", x, weight, bias, stride, padding, dilation, groups)


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Any = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of sequences (N, C, L) with a kernel (O, C / groups, K).

    The parameters are those of `conv2d`, for one axis.
    """
    op = "conv1d"
    x, weight, bias = floats(op, x, weight, bias, needed=2)
    if x.ndim == 2:
        y = conv1d(unsqueeze(x, 0), weight, bias, stride, padding, dilation, groups)
        return squeeze(y, 0)
    _check_ranks(op, x, weight, 3)
    steps, pads, spread = in_a_row(op, stride, padding, dilation)
    return squeeze(
        _conv_nchw(
            op,
            unsqueeze(x, -2),  # (N, C, L) -> (N, C, 1, L)
            unsqueeze(weight, -2),
            bias,
            steps,
            pads,
            spread,
            groups,
        ),
        -2,
    )


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The adjoint of `conv2d` in its image, which enlarges an image (Zeiler et al., 2010).

    Parameters
    ----------
    x : Tensor (N, C, H, W), or (C, H, W) for a single image
    weight : Tensor (C, O / groups, KH, KW)
    bias : Tensor (O,), optional
    stride, padding, dilation, groups
        Those of the convolution that this one is the adjoint of.
    output_padding : int or pair
        Rows and columns added at the end, to choose among the sizes that a strided convolution
        maps to the same; less than the stride or the dilation.

    Returns
    -------
    Tensor (N, O, HO, WO)
        HO = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.
    """
    op = "conv_transpose2d"
    x, weight, bias = floats(op, x, weight, bias, needed=2)
    if x.ndim == 3:
        return squeeze(
            conv_transpose2d(
                unsqueeze(x, 0), weight, bias, stride, padding, output_padding, groups, dilation
            ),
            0,
        )
    _check_ranks(op, x, weight, 4)
    groups = _checked_groups(op, groups, x.shape[1])
    _check_channels(op, x, weight, x.shape[1], weight.shape[0])
    channels = weight.shape[1] * groups
    check_channels(op, "bias", bias, channels)
    pads = pair_of(op, "padding", padding, 0)
    extra = check_output_padding(op, output_padding, stride, dilation)
    # Rows that output_padding adds are rows that padding no longer cuts off; once it cuts off none,
    # further ones are out of x's reach.
    after = [p - more for p, more in zip(pads, extra, strict=True)]
    geometry = Geometry(
        pair_of(op, "stride", stride),
        ((pads[0], max(after[0], 0)), (pads[1], max(after[1], 0))),
        pair_of(op, "dilation", dilation),
        groups,
    )
    size = [_transposed_size(op, x, weight, geometry, extra, i) for i in (0, 1)]
    y_shape = (x.shape[0], size[0], size[1], channels)
    y = Conv2dInputGrad(y_shape, *geometry)(_to_nhwc(x), permute(weight, (2, 3, 1, 0)))
    if min(after) < 0:
        y = pad(y, ((0, 0), (0, max(-after[0], 0)), (0, max(-after[1], 0)), (0, 0)))
    return _to_nchw(y if bias is None else y + bias)


def _transposed_size(
    op: str, x: Tensor, w: Tensor, geometry: Geometry, extra: tuple[int, ...], i: int
) -> int:
    """Rows (i = 0) or columns (1) that x reaches: the convolution would map them to x's."""
    stride, dilation, padding = geometry.stride[i], geometry.dilation[i], geometry.padding[i]
    reach = dilation * (w.shape[i + 2] - 1) + 1
    size = (x.shape[i + 2] - 1) * stride + reach - sum(padding)
    if size < 1:
        raise ValueError(
            f"{op}: x of shape {x.shape} and weight of shape {w.shape} with padding "
            f"(={padding[0]}) give an image of {size} along an axis; it must not be empty"
        )
    return size


def _conv_nchw(
    op: str, x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    x, w, b = floats(op, x, w, b, needed=2)
    if x.ndim == 3:
        return squeeze(_conv_nchw(op, unsqueeze(x, 0), w, b, stride, padding, dilation, groups), 0)
    _check_ranks(op, x, w, 4)
    groups = _checked_groups(op, groups, w.shape[0])
    _check_channels(op, x, w, x.shape[1], w.shape[1] * groups)
    check_channels(op, "bias", b, w.shape[0])
    geometry = _geometry(op, x.shape[2:], w.shape[2:], stride, padding, dilation, groups)
    # OIHW -> HWIO
    return _to_nchw(_apply(Conv2d(*geometry), _to_nhwc(x), permute(w, (2, 3, 1, 0)), b))


def _apply(op: Function, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return op(x, w) if b is None else op(x, w, b)


def _to_nhwc(x: Tensor) -> Tensor:
    return permute(x, (0, 2, 3, 1))


def _to_nchw(x: Tensor) -> Tensor:
    return permute(x, (0, 3, 1, 2))


def _geometry(
    op: str,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Geometry:
    """The geometry with every argument as pairs; raises when the kernel exceeds the image."""
    steps, pads, spread, spans = movement(op, kernel, stride, padding, dilation)
    for i, axis in enumerate(("height", "width")):
        padded = size[i] + sum(pads[i])
        if kernel[i] < 1 or spans[i] > padded:
            raise ValueError(
                f"{op}: a kernel of {kernel[i]} with dilation {spread[i]} spans {spans[i]} along "
                f"the {axis}, where the padded image has {padded}; it must fit, and not be empty"
            )
    return Geometry(steps, pads, spread, groups)


def movement(
    op: str, kernel: tuple[int, ...], stride: Any, padding: Any, dilation: Any
) -> tuple[Pair, tuple[Pair, Pair], Pair, list[int]]:
    """Stride, padding and dilation as pairs, and what the kernel spans, whatever the image is."""
    steps = pair_of(op, "stride", stride)
    spread = pair_of(op, "dilation", dilation)
    spans = [spread[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    if isinstance(padding, str) and padding == "same" and steps != (1, 1):
        raise ValueError(f"{op}: padding 'same' needs stride 1, not {max(steps)}")
    return steps, _padding(op, padding, spans), spread, spans


def in_a_row(op: str, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any, Any]:
    """Settings of a convolution along one axis, for images of one row."""
    if not isinstance(padding, str):
        padding = (0, *counts_of(op, "padding", padding, 1, 0))
    steps = counts_of(op, "stride", stride, 1)
    spread = counts_of(op, "dilation", dilation, 1)
    return (1, *steps), padding, (1, *spread)


def check_output_padding(op: str, output_padding: Any, stride: Any, dilation: Any) -> Pair:
    """Rows and columns that are added at the end; raises unless they are fewer than a step."""
    extra = pair_of(op, "output_padding", output_padding, 0)
    pairs = pair_of(op, "stride", stride), pair_of(op, "dilation", dilation)
    for added, step, spread in zip(extra, *pairs, strict=True):
        if added >= max(step, spread):
            raise ValueError(
                f"{op}: output_padding (={added}) must be less than "
                f"stride (={step}) or dilation (={spread})"
            )
    return extra


def _padding(op: str, padding: Any, spans: list[int]) -> tuple[Pair, Pair]:
    """Zeros before and after, for rows and for columns."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        rows, columns = (((span - 1) // 2, span // 2) for span in spans)
        return rows, columns
    if isinstance(padding, str):
        raise ValueError(f"{op}: padding (={padding!r}) must be integers, 'same' or 'valid'")
    height, width = pair_of(op, "padding", padding, 0)
    return (height, height), (width, width)


def _check_ranks(op: str, x: Tensor | NDArray, w: Tensor | NDArray, rank: int) -> None:
    if x.ndim != rank or w.ndim != rank:
        raise ValueError(
            f"{op}: x has shape {x.shape} and weight {w.shape}; both must have {rank} axes"
        )


def _check_channels(
    op: str, x: Tensor | NDArray, w: Tensor | NDArray, have: int, takes: int
) -> None:
    if have != takes:
        raise ValueError(
            f"{op}: x of shape {x.shape} has {have} channels and weight of shape {w.shape} "
            f"takes {takes}; they must be equal (weight's channels times groups)"
        )


def _checked_groups(op: str, groups: Any, channels: int) -> int:
    count = whole(op, "groups", groups)
    if count < 1 or channels % count:
        raise ValueError(f"{op}: groups (={groups!r}) must be a divisor of {channels} channels")
    return count
