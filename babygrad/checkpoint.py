"""`checkpoint`: memory for time, by computing a part of a network again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from babygrad import _state, random
from babygrad.autograd import Function, NDArray, Node, _make, enable_grad, is_grad_enabled
from babygrad.engine import grad
from babygrad.func import separate
from babygrad.tensor import Tensor


class Checkpoint(Function):
    """`fn(*args)`, whose value is at hand and whose graph is not: backward makes it again.

    The inputs are the tensors among the arguments, then what `fn` captured from outside.
    """

    def __init__(
        self, fn: Callable[..., Tensor], args: Sequence[Any], draws: random.Draws, data: NDArray
    ) -> None:
        self.fn = fn
        self.data = data
        self.places = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
        self.others = [None if isinstance(arg, Tensor) else arg for arg in args]
        self.draws = draws

    @classmethod
    def _plan(cls, needs: int, n: int) -> tuple[tuple[bool, ...], bool]:
        # `fn` will read all inputs again, also those without a gradient, and not the output.
        return (True,) * n, False

    def forward(self, *arrays: NDArray) -> NDArray:
        data = self.data
        del self.data  # the result is the caller's to keep
        return data

    def backward(self, out_grad: Tensor, node: Any) -> tuple[Tensor | None, ...]:
        count = len(self.places)
        given, captured = node._inputs[:count], node._inputs[count:]
        args = list(self.others)
        for i, tensor in zip(self.places, given, strict=True):
            args[i] = separate(tensor) if tensor._requires_grad else tensor
        with self.draws.replayed(), enable_grad():
            out = self.fn(*args)
        sources = [*(args[i] for i in self.places), *captured]
        wanted = [source for source in sources if source._requires_grad]
        again = is_grad_enabled()
        found = iter(grad(out, wanted, out_grad, create_graph=again, allow_unused=True))
        return tuple(next(found) if source._requires_grad else None for source in sources)


def checkpoint(fn: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """`fn(*inputs)` without its activations: they are computed again in the backward pass.

    The graph keeps the inputs alone. A network cut into n such segments needs memory for n inputs
    and the activations of one segment, and a second forward pass (Chen et al., 2016).

    Parameters
    ----------
    fn : callable
        From the inputs to one Tensor. It must compute the same each time; random numbers that an
        operation draws, as dropout does, are replayed, whatever generator it was given. What it
        does besides, such as updating running averages, it does twice.
    *inputs : Tensor or anything else

    Returns
    -------
    Tensor
        With gradients for the inputs and for all tensors that `fn` reads from outside, such as
        the parameters of a module; they can be differentiated again.

    Raises
    ------
    TypeError
        When `fn` returns something else than one Tensor.
    RuntimeError
        In backward, when an input or a captured tensor was modified in place in between.

    References
    ----------
    T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training deep nets with sublinear memory cost", 2016.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([2.0], requires_grad=True)
    >>> w = babygrad.Tensor([3.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * w).exp().log(), x).backward()
    >>> x.grad, w.grad
    (array([3.], dtype=float32), array([2.], dtype=float32))
    """
    if not is_grad_enabled():
        return fn(*inputs)
    draws = random.Draws()
    begin = _state.tick()
    # The graph of this first run tells what `fn` captured, and is dropped with `out`.
    args = [_leaf(arg) if isinstance(arg, Tensor) else arg for arg in inputs]
    with draws.noted():
        out = fn(*args)
    if not isinstance(out, Tensor):
        raise TypeError(
            f"checkpoint: fn returned a {type(out).__name__}; it must return one Tensor"
        )
    if not out._requires_grad:
        return out
    tensors = [arg for arg in inputs if isinstance(arg, Tensor)]
    op = Checkpoint(fn, inputs, draws, out._data)
    return op(*tensors, *_captured(out, begin, args))


def _leaf(tensor: Tensor) -> Tensor:
    """The same values, memory and version as a leaf."""
    return _make(tensor._data, None, tensor._requires_grad, tensor._device, tensor._version)


def _captured(out: Tensor, begin: int, args: Sequence[Any]) -> list[Tensor]:
    """What the graph of `out` reaches that is older than `begin` and none of the arguments."""
    own = {id(arg) for arg in args}
    seen: set[int] = set()
    captured: list[Tensor] = []
    stack: list[Any] = [out]
    while stack:
        source = stack.pop()
        vertex = source if isinstance(source, Node) or source._node is None else source._node
        if id(vertex) in seen or id(vertex) in own:
            continue
        seen.add(id(vertex))
        if not isinstance(vertex, Node):
            captured.append(vertex)
        elif vertex._serial < begin:
            captured.append(_stand_in(vertex) if source is vertex else source)
        else:
            stack += [s for i, s in enumerate(vertex._inputs) if vertex._needs >> i & 1]
    return captured


def _stand_in(node: Node) -> Tensor:
    """A tensor at a node whose values the graph does not keep; nobody reads them."""
    values = np.broadcast_to(np.zeros((), node.dtype), node.shape)
    return _make(values, node, True, node._device, [0])
