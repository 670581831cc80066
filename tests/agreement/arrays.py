"""Adapters for reductions, shapes, joining, indexing and products of matrices.

PyTorch's `dim` and `keepdim` are `axes` and `keepdims`; its `dtype` casts before it reduces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygrad import Tensor, ops

# ----- Reductions -----


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else x.astype(str(dtype).removeprefix("torch."))


def _reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def adapter(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
        return function(_cast(x, dtype), dim, keepdim)

    return adapter


def _extreme(name: str) -> Callable[..., Any]:
    def adapter(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
        position = getattr(ops, f"arg{name}")
        return getattr(ops, name)(x, dim, keepdim), position(x, dim, keepdim)

    return adapter


def _spread(*functions: Callable[..., Tensor]) -> Callable[..., Any]:
    """`std` or `var`, alone or before the mean; `unbiased` is PyTorch's older `correction`."""

    def adapter(
        x: Tensor,
        dim: Any = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: Any = None,
    ) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        given = correction if unbiased is None else int(unbiased)
        spread = functions[0](x, dim, keepdim, correction=1 if given is None else given)
        return (spread, *(mean(x, dim, keepdim) for mean in functions[1:]))

    return adapter


def _norm(x: Tensor, order: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
    return ops.norm(x, dim, keepdim, order=2 if order in (None, "fro") else order)


def _linalg_norm(x: Tensor, order: Any = None, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Of matrices when an order is given for two axes; "fro" is the vector norm of them."""
    of_matrix = (x.ndim if dim is None else len(_listed(dim))) == 2
    if of_matrix and order not in (None, "fro"):
        order = f"matrix {order}"
    return _norm(x, order, dim, keepdim)


def _listed(dim: Any) -> Any:
    return dim if isinstance(dim, tuple | list) else (dim,)


REDUCTIONS = {
    "sum": _reduction(ops.summation),
    "mean": _reduction(ops.mean),
    "prod": _reduction(ops.prod),
    "amax": _reduction(ops.max),
    "amin": _reduction(ops.min),
    "max.reduction_no_dim": ops.max,
    "min.reduction_no_dim": ops.min,
    "max.reduction_with_dim": _extreme("max"),
    "min.reduction_with_dim": _extreme("min"),
    "argmax": _reduction(ops.argmax),
    "argmin": _reduction(ops.argmin),
    "any": _reduction(ops.any),
    "all": _reduction(ops.all),
    "std": _spread(ops.std),
    "std.unbiased": _spread(ops.std),
    "std_mean": _spread(ops.std, ops.mean),
    "std_mean.unbiased": _spread(ops.std, ops.mean),
    "var": _spread(ops.var),
    "var.unbiased": _spread(ops.var),
    "var_mean": _spread(ops.var, ops.mean),
    "var_mean.unbiased": _spread(ops.var, ops.mean),
    "cumsum": lambda x, dim, dtype=None: ops.cumsum(_cast(x, dtype), dim),
    "logsumexp": _reduction(ops.logsumexp),
    "norm": _norm,
    "norm.fro": _norm,
    "norm.inf": _norm,
    "linalg.norm": lambda x, ord=None, dim=None, keepdim=False: _linalg_norm(x, ord, dim, keepdim),
    "linalg.norm.subgradients_at_zero": lambda x, ord=None, dim=None, keepdim=False: _linalg_norm(
        x, ord, dim, keepdim
    ),
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False, dtype=None: _norm(
        _cast(x, dtype), ord, dim, keepdim
    ),
}

# ----- Shapes -----


def _padded(x: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """PyTorch lists the last axis first, and leaves out those that are not padded."""
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    other = {} if mode == "constant" else {"mode": mode}
    return ops.pad(x, widths, 0.0 if value is None else value, **other)


def _repeated(x: Tensor, repeats: Any, dim: int | None = None, output_size: Any = None) -> Tensor:
    return ops.repeat(x, repeats, dim)


SHAPES = {
    "broadcast_to": ops.broadcast_to,
    "cat": lambda tensors, dim=0: ops.concatenate(tensors, dim),
    "chunk": ops.chunk,
    "constant_pad_nd": lambda x, pad, value=0.0: _padded(x, pad, value=value),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: ops.diagonal(x, offset, dim1, dim2),
    "expand": ops.expand,
    "T": lambda x: x.T,
    "mT": lambda x: x.T,
    "flatten": lambda x, start_dim=0, end_dim=-1: ops.flatten(x, start_dim, end_dim),
    "flip": lambda x, dims: ops.flip(x, dims),
    "linalg.diagonal": lambda x, offset=0, dim1=-2, dim2=-1: ops.diagonal(x, offset, dim1, dim2),
    "movedim": ops.movedim,
    "nn.functional.pad.circular": _padded,
    "nn.functional.pad.constant": _padded,
    "nn.functional.pad.reflect": _padded,
    "nn.functional.pad.replicate": _padded,
    "nn.functional.pad.replicate_negative": _padded,
    "permute": ops.permute,
    "repeat": ops.tile,
    "repeat_interleave": _repeated,
    "reshape": ops.reshape,
    "roll": ops.roll,
    "split": ops.split,
    "split.list_args": ops.split,
    "split_with_sizes": ops.split,
    "squeeze": ops.squeeze,
    "squeeze.multiple": ops.squeeze,
    "stack": ops.stack,
    "tile": ops.tile,
    "transpose": ops.swapaxes,
    "tril": ops.tril,
    "triu": ops.triu,
    "unbind": lambda x, dim=0: tuple(ops.movedim(x, dim, 0)),
    "unsqueeze": ops.unsqueeze,
    "view": ops.reshape,
}

# ----- Indexing -----


def _at(x: Tensor, dim: int, part: Any) -> tuple[Any, ...]:
    """The index that takes `part` along an axis and everything along those before it."""
    return (*(slice(None),) * (dim % max(x.ndim, 1)), part)


def _assigned(x: Tensor, index: Any, value: Any) -> Tensor:
    y = x * 1.0
    y[index] = value
    return y


def _put(x: Tensor, index: Any, value: Tensor, accumulate: bool) -> Tensor:
    if accumulate:
        raise TypeError("a[index] = value cannot accumulate")
    return _assigned(x, index, value)


def _masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    shape = (x + mask.astype("float64")).shape
    return _assigned(x.broadcast_to(shape), mask.broadcast_to(shape), value)


def _masked_select(x: Tensor, mask: Tensor) -> Tensor:
    shape = (x + mask.astype("float64")).shape
    return x.broadcast_to(shape)[mask.broadcast_to(shape)]


def _slice(
    x: Tensor, dim: int = 0, start: Any = None, end: int | None = None, step: int = 1
) -> Tensor:
    return x[_at(x, dim, slice(start, end, step))]


INDEXING = {
    "__getitem__": ops.getitem,
    "gather": ops.gather,
    "index_copy": lambda x, dim, index, value: _assigned(x, _at(x, dim, index), value),
    "index_fill": lambda x, dim, index, value: _assigned(x, _at(x, dim, index), value),
    "index_put": _put,
    "index_select": lambda x, dim, index: ops.take(x, index, dim),
    "masked_fill": _masked_fill,
    "masked_select": _masked_select,
    "narrow": lambda x, dim, start, length: _slice(
        x, dim, int(start) % x.shape[dim], int(start) % x.shape[dim] + length
    ),
    "nn.functional.one_hot": lambda x, num_classes=-1: ops.one_hot(x, num_classes, "int64"),
    "scatter_add": ops.scatter_add,
    "select": lambda x, dim, index: x[_at(x, dim, index)],
    "select_scatter": lambda x, value, dim, index: _assigned(x, _at(x, dim, index), value),
    "slice": _slice,
    "slice_scatter": lambda x, value, dim=0, start=None, end=None, step=1: _assigned(
        x, _at(x, dim, slice(start, end, step)), value
    ),
    "take": ops.take,
}

# ----- Products -----

PRODUCTS = {
    "__rmatmul__": Tensor.__rmatmul__,
    "bmm": ops.matmul,
    "dot": ops.dot,
    "einsum": lambda operands, equation: ops.einsum(equation, *operands),
    "matmul": ops.matmul,
    "mm": ops.matmul,
    "mv": ops.matmul,
    "outer": ops.outer,
}

ADAPTERS = REDUCTIONS | SHAPES | INDEXING | PRODUCTS
