"""Writing into tensors: `a[index] = value`, and the operators `+= -= *= /= //= %= **=`.

Outside a graph they write into the tensor's own memory, which its views see. In a graph that would
destroy values that gradients need, so there

- `a += b` stands for `a = a + b`, a new tensor under the old name,
- `a[index] = value` makes `a` the result of a recorded operation on its old self,
- and a write to a view, or to what has views, makes all tensors of that memory such results.

What was computed from the old values keeps them; a gradient that would read them through one of
the tensors that were written to is refused by the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from babygrad import _state
from babygrad._sharing import is_view, move_together, overlap, same_place, sharers
from babygrad.autograd import Function, NDArray, _make, is_grad_enabled, no_grad
from babygrad.dtypes import INT64
from babygrad.ops._common import lifted, like
from babygrad.ops._index import plain_index
from babygrad.ops.indexing import GetItem
from babygrad.ops.shape import Reshape
from babygrad.tensor import Tensor

__all__ = ["setitem"]

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}

# A tensor that shares memory with one that is written to, with the places they have in common:
# in row-major order in the sharer, and the same in the one that is written to.
Touched = tuple[Tensor, NDArray, NDArray]


def writable(op: str, a: Tensor, touched: Sequence[Touched] = ()) -> None:
    """Raise, before a byte changes, unless `a` may be written to.

    Raises
    ------
    RuntimeError
        While operations are recorded: for a leaf that requires grad, and for a view of one. Always
        for a read-only view.
    """
    if is_grad_enabled():
        if a._requires_grad and a._node is None:
            raise RuntimeError(
                f"{op}: this leaf of shape {a.shape} requires grad and cannot be modified in place "
                "while operations are recorded; use no_grad(), or build a new tensor with where, "
                "concatenate or stack"
            )
        for other, _, _ in touched:
            if other._requires_grad and other._node is None:
                raise RuntimeError(
                    f"{op}: this tensor of shape {a.shape} is a view of a leaf of shape "
                    f"{other.shape} that requires grad, which cannot be modified in place while "
                    "operations are recorded; use no_grad(), or a new tensor, as in a = a + b"
                )
    if not a._data.flags.writeable:
        raise RuntimeError(
            f"{op}: this tensor of shape {a.shape} is a read-only view whose elements share "
            "memory; copy it with detach() first"
        )


def touched_by(a: Tensor, value: Any) -> list[Touched]:
    """The tensors that a recorded write of `value` into the memory of `a` changes too."""
    if len(a._version) == 1 or not is_grad_enabled():
        return []
    others = sharers(a)
    if not any(isinstance(t, Tensor) and t._requires_grad for t in (a, value, *others)):
        return []
    pairs = ((other, *overlap(other._data, a._data)) for other in others)
    return [(other, there, here) for other, there, here in pairs if there.size]


def is_recorded(a: Tensor, value: Any, touched: Sequence[Touched]) -> bool:
    """Whether a write belongs into the graph."""
    return is_grad_enabled() and (
        a._requires_grad
        or (isinstance(value, Tensor) and value._requires_grad)
        or any(other._requires_grad for other, _, _ in touched)
    )


def _before(a: Tensor, touched: Sequence[Touched] = ()) -> Tensor:
    """The tensor as it is now, which keeps its place in the graph when `a` gets another one.

    A view that was made without recording has no place yet: it is where its sharers are.
    """
    old = _make(a._data, a._node, a._requires_grad, a._device, a._version)
    for other, there, here in touched:
        if other._requires_grad and not a._requires_grad:
            flat = SetItem((here,), True)(_flat(old), _picked(_before(other), there, a))
            old = Reshape(a.shape)(flat)
    return old


def _flat(a: Tensor) -> Tensor:
    return Reshape((a.size,))(a)


def _picked(a: Tensor, places: NDArray, beside: Tensor) -> Tensor:
    """The elements at places in row-major order, on the device of another tensor."""
    return GetItem((places,), True)(_flat(a)).to(beside.device)


def _become(a: Tensor, new: Tensor) -> None:
    a._node, a._requires_grad = new._node, new._requires_grad


def _rewrite(a: Tensor, new: Tensor, touched: Sequence[Touched]) -> None:
    """Let `a` have the values and the graph of `new`, and those that share its memory with it."""
    if not touched and new._data.strides == a._data.strides:
        _become(a, new)
        a._data, a._version = new._data, [_state.tick()]
        return
    changed = []
    for other, there, here in touched:
        flat = SetItem((there,), False)(_flat(_before(other)), _picked(new, here, other))
        changed.append((other, Reshape(other.shape)(flat)))
    move_together(a, new._data)
    for tensor, now in (*changed, (a, new)):
        _become(tensor, now)


# ----- a[index] = value -----


class SetItem(Function):
    """A copy of the first input with the second written into it."""

    uses = ("", "")

    def __init__(self, index: tuple[Any, ...], repeats: bool) -> None:
        self.index = index
        self.repeats = repeats

    def forward(self, a: NDArray, value: NDArray) -> NDArray:
        return self.xp.setitem(self.xp.copy(a), self.index, value)

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, Tensor | None]:
        a, value = node._inputs
        ga = gv = None
        if a.requires_grad:
            ga = SetItem(self.index, self.repeats)(out_grad, lifted("setitem", 0, out_grad))
        if value.requires_grad:
            gv = GetItem(self.index, self.repeats)(out_grad)
            if self.repeats:
                gv = gv * self._last_written(out_grad)
            if value.ndim > gv.ndim:
                gv = Reshape((1,) * (value.ndim - gv.ndim) + gv.shape)(gv)
        return ga, gv

    def _last_written(self, out_grad: Tensor) -> Tensor:
        """1 for each element of the value that was not overwritten by another one, else 0."""
        xp, place = self.xp, out_grad._data
        region = xp.getitem(place, self.index)
        ticket = xp.reshape(xp.arange(0, region.size, 1, INT64), region.shape)
        board = xp.setitem(xp.zeros(place.shape, INT64), self.index, ticket)
        stands = xp.equal(xp.getitem(board, self.index), ticket)
        return like(xp.astype(stands, place.dtype), out_grad)


def setitem(a: Tensor, index: Any, value: Any) -> None:
    """`a[index] = value`, in place.

    When operations are recorded and `a`, `value` or a view of `a` requires grad, the tensor becomes
    the result of a recorded operation on its old self, so that both get their gradients, and so do
    the tensors that share its memory; what was computed from the old values keeps them. Otherwise
    the values are written into its memory.

    Raises
    ------
    RuntimeError
        For a leaf that requires grad, or a view of one, while operations are recorded, and for a
        read-only view.
    IndexError
        As for `getitem`.
    ValueError
        When the value does not broadcast to `a[index]`.
    """
    plain, repeats = plain_index("setitem", a, index)
    value = lifted("setitem", value, a)
    touched = touched_by(a, value)
    writable("setitem", a, touched)
    if value._version is a._version and _is_region(value, a, plain):
        return  # `a[0] += b` ends so, and has written already
    try:
        if is_recorded(a, value, touched):
            new = SetItem(plain, repeats)(_before(a, touched), value.astype(a.dtype))
            _rewrite(a, new, touched)
        else:
            a._device.backend.setitem(a._data, plain, value._data)
            a._touch()
    except ValueError:
        region = a._device.backend.getitem(a._data, plain).shape
        raise ValueError(
            f"setitem: a value of shape {value.shape} does not broadcast to a[index], "
            f"of shape {region}"
        ) from None


def _is_region(value: Tensor, a: Tensor, index: tuple[Any, ...]) -> bool:
    return same_place(value._data, a._device.backend.getitem(a._data, index))


# ----- a += b -----


def inplace(op: str, function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """The in-place form of a binary operation, as `op`, `+=` for one, calls it."""

    def method(a: Tensor, b: Any) -> Tensor:
        touched = touched_by(a, b)
        recorded = is_recorded(a, b, touched)
        is_leaf = a._requires_grad and a._node is None
        if recorded and not is_leaf and not (touched and is_view(a)):
            return function(a, b)
        writable(op, a, touched)
        if recorded:
            old = _before(a, touched)
            result = function(old, old if b is a else b)
        else:
            with no_grad():
                result = function(a, b)
        if result.shape != a.shape:
            raise ValueError(
                f"{op}: the result has shape {result.shape}, which does not fit into "
                f"the tensor's shape {a.shape}"
            )
        if _RANK[result.dtype.kind] > _RANK[a.dtype.kind]:
            raise TypeError(
                f"{op}: the result is of type {result.dtype}, which does not fit into "
                f"the tensor's {a.dtype}; cast the tensor with astype first"
            )
        if recorded:
            _rewrite(a, result.astype(a.dtype), touched)
        else:
            a._device.backend.setitem(a._data, ..., result._data)
            a._touch()
        return a

    return method
