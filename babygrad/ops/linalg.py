"""Products of matrices: `matmul linear dot outer`; `einsum` is beside it."""

from __future__ import annotations

import math
from typing import Any

from babygrad.autograd import Function, NDArray, is_grad_enabled
from babygrad.ops._common import broadcast_shape, like, promoted
from babygrad.ops._fused import floats
from babygrad.ops.activation import ReLU, Sigmoid, Tanh
from babygrad.ops.reduction import summation
from babygrad.ops.shape import Reshape, reshape, swapaxes, unsqueeze
from babygrad.tensor import Tensor

__all__ = ["dot", "linear", "matmul", "outer"]


class MatMul(Function):
    """The product over the last two axes of tensors that have at least two."""

    uses = ("1", "0")

    def forward(self, a: NDArray, b: NDArray) -> NDArray:
        return self.xp.matmul(a, b)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        a, b = node._inputs
        ga = gb = None
        if a.requires_grad:
            ga = MatMul()(out_grad, swapaxes(b, -1, -2))
        if b.requires_grad:
            if b.ndim == 2:
                # One product over all rows, not one for each matrix and a sum.
                a, out_grad = _rows(a), _rows(out_grad)
            gb = MatMul()(swapaxes(a, -1, -2), out_grad)
        return ga, gb


def _rows(a: Tensor) -> Tensor:
    """(..., m, n) -> (all rows, n)."""
    shape = a.shape
    return a if len(shape) == 2 else Reshape((math.prod(shape[:-1]), shape[-1]))(a)


def matmul(a: Any, b: Any) -> Tensor:
    """`a @ b`: the matrix product over the last two axes.

    Parameters
    ----------
    a : Tensor, shape (..., M, K) or (K,)
    b : Tensor, shape (..., K, N) or (K,)
        Leading axes broadcast. A 1-d operand is a vector, whose axis is gone from the result.

    Returns
    -------
    Tensor, shape (..., M, N)

    Raises
    ------
    ValueError
        When an operand has no axes, K differs, or leading axes do not broadcast.

    Examples
    --------
    >>> import babygrad
    >>> a, b = babygrad.Tensor([[1.0, 2.0]]), babygrad.Tensor([[3.0], [4.0]])
    >>> babygrad.ops.matmul(a, b).tolist()
    [[11.0]]
    """
    a, b = promoted("matmul", a, b)
    m, k = a._data.shape, b._data.shape
    if not m or not k:
        raise ValueError(f"matmul: shapes {m} and {k}; both operands must have at least one axis")
    inner = k[-2] if len(k) > 1 else k[0]
    if m[-1] != inner:
        raise ValueError(
            f"matmul: shapes {m} and {k} do not fit: the last axis of a has size {m[-1]}, "
            f"axis {-2 if len(k) > 1 else 0} of b has size {inner}"
        )
    if len(m) == 2 and len(k) == 2:
        return MatMul()(a, b)
    if len(m) == 1:
        a = unsqueeze(a, 0)
    if len(k) == 1:
        b = unsqueeze(b, 1)
    broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
    product = MatMul()(a, b)
    rows = () if len(m) == 1 else (m[-2],)
    columns = () if len(k) == 1 else (k[-1],)
    wanted = (*product.shape[:-2], *rows, *columns)
    return product if wanted == product.shape else Reshape(wanted)(product)


class Linear(Function):
    """x @ weight + bias in one kernel."""

    uses = ("1", "0", "")
    activation: str | None = None

    def forward(self, x: NDArray, weight: NDArray, *bias: NDArray) -> NDArray:
        # Stored as (O, I): the gradient takes the same order in memory, so that an optimizer goes
        # along both. Adam then needs 0.5 ms and not 2.2 for the 818,000 parameters of a small GPT.
        self.transposed = weight.strides[0] < weight.strides[1]
        b = self.xp.reshape(bias[0], (-1,)) if bias else None
        return self.xp.linear(x, weight, b, self.activation)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        if is_grad_enabled():
            return self._recorded_backward(out_grad, node)
        x, weight, *bias = node._inputs
        xp, shape = self.xp, out_grad.shape
        rows = math.prod(shape[:-1])
        g = xp.reshape(out_grad._data, (rows, shape[-1]))
        gx = gw = None
        if x.requires_grad:
            gx = like(xp.reshape(xp.matmul(g, weight._data.T), x.shape), out_grad)
        if weight.requires_grad:
            rows_of_x = xp.reshape(x._data, (rows, x.shape[-1]))
            found = xp.matmul(g.T, rows_of_x).T if self.transposed else xp.matmul(rows_of_x.T, g)
            gw = like(found, out_grad)
        gb = [
            like(xp.reshape(xp.sum(g, 0), b.shape), out_grad) if b.requires_grad else None
            for b in bias
        ]
        return gx, gw, *gb

    def _recorded_backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        x, weight, *bias = node._inputs
        gx = gw = None
        if x.requires_grad:
            gx = MatMul()(_rows(out_grad), swapaxes(weight, 0, 1))
            gx = gx if gx.shape == x.shape else Reshape(x.shape)(gx)
        if weight.requires_grad:
            gw = MatMul()(swapaxes(_rows(x), 0, 1), _rows(out_grad))
        gb = [
            Reshape(b.shape)(summation(_rows(out_grad), 0)) if b.requires_grad else None
            for b in bias
        ]
        return gx, gw, *gb


class ActivatedLinear(Linear):
    """f(x @ weight + bias) in one kernel: x @ weight + bias itself is never stored."""

    uses = ("1y", "0y", "y")
    activation: str

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        f = ACTIVATIONS[self.activation]()
        f.xp = self.xp
        return super().backward(f.backward(out_grad, node), node)


# Those whose derivative follows from their result.
ACTIVATIONS: dict[str, type[Function]] = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Tensor:
    """`f(x @ weight + bias)`, the fully connected layer and, if named, the activation after it.

    Parameters
    ----------
    x : Tensor, shape (..., I)
    weight : Tensor, shape (I, O)
        As in the book; PyTorch has (O, I).
    bias : Tensor, shape (O,) or (1, O), optional
    activation : {"relu", "sigmoid", "tanh"}, optional
        Applied within the product, to what is in the cache: one pass over the memory less, and
        one array less that the graph keeps.

    Returns
    -------
    Tensor, shape (..., O)

    Raises
    ------
    ValueError
        When the shapes do not fit, or there is no such activation.

    Examples
    --------
    >>> from babygrad import Tensor, ops
    >>> ops.linear(Tensor([1.0, 2.0]), Tensor([[1.0, -1.0], [1.0, 0.0]]), activation="relu")
    array([3., 0.], dtype=float32)
    """
    given = (x, weight) if bias is None else (x, weight, bias)
    tensors = floats("linear", *given, needed=2)
    i, w = tensors[0].shape, tensors[1].shape
    if len(w) != 2 or not i or i[-1] != w[0]:
        raise ValueError(
            f"linear: x has shape {i} and weight {w}; they must be (..., I) and (I, O)"
        )
    if bias is not None and tensors[2].shape not in ((w[1],), (1, w[1])):
        raise ValueError(
            f"linear: bias has shape {tensors[2].shape}; it must be ({w[1]},) or (1, {w[1]}) "
            f"for a weight of shape {w}"
        )
    if activation is None:
        return Linear()(*tensors)
    check_activation("linear", activation)
    return ActivatedLinear(activation)(*tensors)


def check_activation(op: str, activation: Any) -> None:
    """Raise unless `activation` is None or one that `linear` can apply."""
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(
            f"{op}: activation (={activation!r}) must be one of {', '.join(ACTIVATIONS)}, or None"
        )


def dot(a: Any, b: Any) -> Tensor:
    """The inner product of two vectors."""
    a, b = promoted("dot", a, b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"dot: shapes {a.shape} and {b.shape} must be (N,) and (N,)")
    return matmul(a, b)


def outer(a: Any, b: Any) -> Tensor:
    """Every element of `a` times every element of `b`, shape (a.size, b.size)."""
    a, b = promoted("outer", a, b)
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))
