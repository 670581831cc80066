"""Valid arguments for every kernel of the C++ engine, few numbers or enough for several threads.

`CASES[name](Maker(dtype, large))` is a list of argument tuples. All values are halves from -3 to 3:
sums of them are exact, and maxima tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from native_maker import Maker

Arguments = tuple[Any, ...]


def elementwise(*others: Any, positive: bool = False) -> Callable[[Maker], list[Arguments]]:
    """One operand, and the arguments after it."""

    def case(m: Maker) -> list[Arguments]:
        x = m.positive(*m.matrix) if positive else m.array(*m.matrix)
        return [(x, *others), (x[::-1, ::2].T, *others)]

    return case


def binary(*others: Any) -> Callable[[Maker], list[Arguments]]:
    """Two operands: of one shape, broadcast, and the second a number."""

    def case(m: Maker) -> list[Arguments]:
        x, y = m.array(*m.matrix), m.array(*m.matrix)
        return [(x, y, *others), (x, y[0], *others), (x.T, y[:, :1].T, *others)]

    return case


def weak(m: Maker) -> list[Arguments]:
    return [*binary()(m), (m.array(*m.matrix), 1.5), (2, m.positive(*m.matrix))]


def logical(count: int) -> Callable[[Maker], list[Arguments]]:
    return lambda m: [tuple(m.array(*m.matrix) > 0 for _ in range(count))]


def reduction(*axes: Any) -> Callable[[Maker], list[Arguments]]:
    """Along each axis and over all, in both memory orders."""

    def case(m: Maker) -> list[Arguments]:
        x = m.array(*m.matrix)
        y = m.array(*m.image)
        return [
            *((x, axis) for axis in (None, 0, 1)),
            *((x.T, axis, True) for axis in (0, 1)),
            *((y, axis) for axis in axes),
        ]

    return case


def truth(m: Maker) -> list[Arguments]:
    x = m.array(*m.matrix) > 0
    return [(x, None), (x, 0), (x, 1, True)]


def along(count: int, *others: Any) -> Callable[[Maker], list[Arguments]]:
    """Operands of one shape and an axis, each axis of a matrix in turn."""

    def case(m: Maker) -> list[Arguments]:
        given = [m.array(*m.matrix) for _ in range(count)]
        return [(*given, 1, *others), (*given, 0, *others), (*(x.T for x in given), 1, *others)]

    return case


def matmul(m: Maker) -> list[Arguments]:
    n, k = m.pick(3, 300), m.pick(4, 500)
    a, b = m.array(n, k), m.array(k, n)
    stack = m.array(m.pick(2, 40), 1, 9, 40)
    return [
        (a, b), (b.T, a.T), (a, b[:, 0]), (b[:, 0], b), (stack, m.array(3, 40, 12)),
        (m.array(2, m.pick(7, 70_000)), m.array(m.pick(7, 70_000), 3)),
    ]  # fmt: skip


def linear(m: Maker) -> list[Arguments]:
    x, w = m.array(2, m.pick(3, 200), 64), m.array(64, m.pick(5, 500))
    bias = m.array(w.shape[1])
    return [(x, w, bias), (x, w.T.copy().T, None), (x, w, bias, "relu"), (x, w, None, "tanh")]


def layer_norm(m: Maker) -> list[Arguments]:
    x = m.array(*m.matrix)
    return [(x, m.array(x.shape[1]), m.array(x.shape[1]), 0.5), (x, None, None, 0.5)]


def layer_norm_grad(m: Maker) -> list[Arguments]:
    gy, x = m.array(*m.matrix), m.array(*m.matrix)
    column = (m.array(x.shape[0], 1), m.positive(x.shape[0], 1))
    return [(gy, x, m.array(x.shape[1]), *column), (gy, x, None, *column)]


def rms_norm(m: Maker) -> list[Arguments]:
    return [(x, w, eps) for x, w, _, eps in layer_norm(m)]


def rms_norm_grad(m: Maker) -> list[Arguments]:
    return [(gy, x, w, rstd) for gy, x, w, _, rstd in layer_norm_grad(m)]


def batch_norm(m: Maker) -> list[Arguments]:
    x, c = m.array(*m.image), m.image[3]
    planar = x.transpose(0, 3, 1, 2)
    w, b = m.array(c), m.array(c)
    return [(x, w, b, 0.5, 3), (planar, w, b, 0.5, 1), (planar.copy(), None, None, 0.5, 1)]


def channel_affine(m: Maker) -> list[Arguments]:
    mean, scale = m.array(m.image[3]), m.array(m.image[3])
    return [(x, mean, scale, b, axis) for x, _, b, _, axis in batch_norm(m)]


def batch_norm_grad(m: Maker) -> list[Arguments]:
    gy, x, c = m.array(*m.image), m.array(*m.image), m.image[3]
    w, mean, rstd = m.array(c), m.array(c), m.positive(c)
    planar = x.transpose(0, 3, 1, 2)
    return [
        (gy, x, w, mean, rstd, 3),
        (gy.transpose(0, 3, 1, 2).copy(), planar, w, mean, rstd, 1),
        (gy.transpose(0, 3, 1, 2), planar, None, mean, rstd, 1),
    ]


def cross_entropy(m: Maker) -> list[Arguments]:
    n, classes = m.matrix
    target = m.places(classes, n)
    target[1] = -1
    return [(m.array(n, classes), target)]


def cross_entropy_grad(m: Maker) -> list[Arguments]:
    n = m.matrix[0]
    return [(m.array(n), x, m.positive(n), target) for x, target in cross_entropy(m)]


# Images, kernels (KH, KW, C / groups, O) and parameters of each way to compute a convolution.
def geometries(m: Maker) -> list[Arguments]:
    wide, one = ((1, 1), (1, 1)), ((0, 0), (0, 0))
    image = m.image
    channels = image[3]
    half = (image[0], image[1], image[2], channels // 2)
    return [
        (image, (3, 3, channels, 8), ((1, 1), wide, (1, 1), 1)),
        (image, (3, 3, channels // 2, 10), ((2, 1), wide, (2, 1), 2)),
        (image, (1, 1, channels, 20), ((1, 1), one, (1, 1), 1)),
        (half, (3, 3, 1, half[3]), ((1, 1), wide, (1, 1), half[3])),
        ((*image[:3], 1), (3, 3, 1, 16), ((1, 1), wide, (1, 1), 1)),
        ((*image[:3], 3), (5, 5, 3, 16), ((2, 2), wide, (1, 1), 1)),
    ]


def output_shape(image: Any, kernel: Any, parameters: Any) -> tuple[int, ...]:
    stride, padding, dilation, _ = parameters
    height, width = (
        (image[1 + i] + sum(padding[i]) - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    )
    return (image[0], height, width, kernel[3])


def conv2d(m: Maker) -> list[Arguments]:
    return [(m.array(*x), m.array(*w), m.array(w[3]), *rest) for x, w, rest in geometries(m)]


def conv2d_input_grad(m: Maker) -> list[Arguments]:
    return [
        (m.array(*output_shape(x, w, rest)), m.array(*w), x, *rest) for x, w, rest in geometries(m)
    ]


def conv2d_weight_grad(m: Maker) -> list[Arguments]:
    return [
        (m.array(*output_shape(x, w, rest)), m.array(*x), w, *rest) for x, w, rest in geometries(m)
    ]


WINDOWS = ((2, 3), (2, 1), ((1, 0), (1, 1)))


def pooled_shape(m: Maker) -> tuple[int, ...]:
    return output_shape(m.image, (*WINDOWS[0], 1, m.image[3]), (*WINDOWS[1:], (1, 1), 1))


def max_pool2d(m: Maker) -> list[Arguments]:
    x = m.array(*m.image)
    return [(x, *WINDOWS, (1, 1), False), (x.transpose(0, 2, 1, 3), *WINDOWS, (2, 1), True)]


def max_pool2d_grad(m: Maker) -> list[Arguments]:
    shape = pooled_shape(m)
    return [(m.array(*shape), m.places(m.image[1] * m.image[2], *shape), m.image)]


def avg_pool2d(m: Maker) -> list[Arguments]:
    x = m.array(*m.image)
    return [(x, *WINDOWS, False, True), (x.transpose(0, 2, 1, 3), *WINDOWS, True, False)]


def avg_pool2d_grad(m: Maker) -> list[Arguments]:
    return [(m.array(*pooled_shape(m)), m.image, *WINDOWS, False, True)]


def take(m: Maker) -> list[Arguments]:
    x = m.array(*m.matrix)
    count = m.pick(4, 700)
    return [(x, m.places(x.shape[axis], count) - 2, axis) for axis in (0, 1)]


def scatter_add(m: Maker) -> list[Arguments]:
    (n, d), count = m.matrix, m.pick(4, 700)
    return [
        ((n, d), m.places(n, count) - 2, m.array(count, d), 0),
        ((n, d), m.places(d, count) - 2, m.array(n, count), 1),
    ]


def scatter_along_axis(m: Maker) -> list[Arguments]:
    (n, d), count = m.matrix, m.pick(4, 700)
    return [
        ((n, d), m.places(n, count, d) - 2, m.array(count, d), 0),
        ((n, d), m.places(d, n, count) - 2, m.array(n, count), 1),
    ]


def attention(m: Maker) -> list[Arguments]:
    heads = (2, m.pick(2, 6))
    length, depth = m.pick(4, 130), m.pick(3, 40)
    q, k, v = (m.array(*heads, length, depth) for _ in range(3))
    mask = m.array(heads[0], 1, length, length) > -2
    bias = m.array(length, length)
    return [(q, k, v, None, True, 0.25), (q, k, v, mask, False, 0.25), (q, k, v, bias, True, 0.25)]


def attention_grad(m: Maker) -> list[Arguments]:
    given = []
    for q, k, v, mask, causal, scale in attention(m):
        # Larger than any score, so that the probabilities stay below one.
        lse = np.full(q.shape[:3], 4 + 9 * scale * q.shape[3], m.dtype)
        given.append((m.array(*q.shape), q, k, v, m.array(*q.shape), lse, mask, causal, scale))
    # One head, whose keys are then shared out.
    return [*given, tuple(x[:1, :1] if np.ndim(x) > 2 else x for x in given[0])]


def self_attention(m: Maker) -> list[Arguments]:
    batch, heads = 2, m.pick(2, 4)
    length, width = m.pick(4, 90), heads * m.pick(3, 40)
    qkv = m.array(batch, length, 3 * width)
    mask = m.array(batch, 1, length, length) > -2
    bias = m.array(length, length)
    return [
        (qkv, heads, None, True, 0.25),
        (qkv, heads, mask, False, 0.25),
        (qkv, 1, bias, True, 0.25),
    ]


def self_attention_grad(m: Maker) -> list[Arguments]:
    given = []
    for qkv, heads, mask, causal, scale in self_attention(m):
        batch, length, width = qkv.shape
        gy, y = (m.array(batch, length, width // 3) for _ in range(2))
        lse = np.full((batch, heads, length), 4 + 9 * scale * width // 3 // heads, m.dtype)
        given.append((gy, qkv, y, lse, heads, mask, causal, scale))
    return given


def updates(m: Maker, states: int) -> list[Any]:
    """Lists of arrays: parameters, gradients and states; one gradient in another order of axes."""
    shapes = [m.matrix, (m.pick(3, 20_000),), (), (4, 5)]
    given = [[m.positive(*shape) for shape in shapes] for _ in range(2 + states)]
    given[1][-1] = m.array(5, 4).T
    return given


def sgd_step(m: Maker) -> list[Arguments]:
    return [
        (*updates(m, 0), [], 0.1, 0.0, 0.01, False),
        (*updates(m, 1), 0.1, 0.9, 0.01, True),
    ]


def adam_step(m: Maker) -> list[Arguments]:
    rest = ([1, 2, 3, 4], 0.1, 0.9, 0.99, 0.5, 0.01)
    return [(*updates(m, 2), *rest, decoupled) for decoupled in (False, True)]


def rmsprop_step(m: Maker) -> list[Arguments]:
    rest = (0.1, 0.9, 0.5, 0.01)
    return [(*updates(m, 1), [], *rest, 0.0), (*updates(m, 2), *rest, 0.9)]


def adagrad_step(m: Maker) -> list[Arguments]:
    return [(*updates(m, 1), 0.1, 0.5, 0.01)]


def named(names: str, case: Callable[[Maker], list[Arguments]]) -> dict[str, Any]:
    return dict.fromkeys(names.split(), case)


CASES: dict[str, Callable[[Maker], list[Arguments]]] = {
    **named("abs ceil copy ascontiguousarray erf exp expm1 floor isfinite isinf isnan negative",
            elementwise()),
    **named("reciprocal relu round sigmoid sign silu softplus square sum_of_squares tanh",
            elementwise()),
    **named("log log1p log2 sqrt rsqrt", elementwise(positive=True)),
    **named("add divide maximum minimum multiply subtract", weak),
    **named("equal not_equal less less_equal greater greater_equal", weak),
    **named("relu_grad sigmoid_grad tanh_grad softplus_grad silu_grad", binary()),
    **named("sum prod max min", reduction((0, 2), (1, 2, 3))),
    **named("argmax argmin", reduction(2)),
    **named("any all", truth),
    "var": lambda m: [(m.array(*m.matrix), axis, keepdims, 1)
                      for axis in (None, 0, 1) for keepdims in (False, True)],
    **named("softmax log_softmax", along(1)),
    **named("softmax_grad log_softmax_grad", along(2)),
    **named("logical_and logical_or", logical(2)),
    "logical_not": logical(1),
    "where": lambda m: [(m.array(*m.matrix) > 0, m.array(*m.matrix), y)
                        for y in (m.array(*m.matrix), 0)],
    "zeros": lambda m: [(m.matrix, m.dtype)],
    "reshape": lambda m: [(m.array(*m.matrix).T, (math.prod(m.matrix),))],
    "astype": elementwise("float64"),
    "clip": elementwise(-1.0, 2.0),
    "gelu": elementwise(False),
    "gelu_grad": binary(True),
    "elu": elementwise(0.5),
    "elu_grad": binary(0.5),
    "leaky_relu": elementwise(0.25),
    "leaky_relu_grad": binary(0.25),
    "logsumexp": along(1, True),
    "matmul": matmul,
    "linear": linear,
    "layer_norm": layer_norm,
    "layer_norm_grad": layer_norm_grad,
    "rms_norm": rms_norm,
    "rms_norm_grad": rms_norm_grad,
    "batch_norm": batch_norm,
    "batch_norm_grad": batch_norm_grad,
    "channel_affine": channel_affine,
    "cross_entropy": cross_entropy,
    "cross_entropy_grad": cross_entropy_grad,
    "conv2d": conv2d,
    "conv2d_input_grad": conv2d_input_grad,
    "conv2d_weight_grad": conv2d_weight_grad,
    "max_pool2d": max_pool2d,
    "max_pool2d_grad": max_pool2d_grad,
    "avg_pool2d": avg_pool2d,
    "avg_pool2d_grad": avg_pool2d_grad,
    "take": take,
    "scatter_add": scatter_add,
    "scatter_along_axis": scatter_along_axis,
    "attention": attention,
    "attention_grad": attention_grad,
    "self_attention": self_attention,
    "self_attention_grad": self_attention_grad,
    "sgd_step": sgd_step,
    "rmsprop_step": rmsprop_step,
    "adagrad_step": adagrad_step,
    "adam_step": adam_step,
}  # fmt: skip


def outputs(function: Callable[..., Any], args: Arguments) -> list[Any]:
    """The arrays of the result, and those in lists, which the call may have written to."""
    result = function(*args)
    found = list(result) if isinstance(result, tuple) else [result]
    for arg in args:
        if isinstance(arg, list):
            found += arg
    return [np.asarray(x) for x in found if x is not None]
