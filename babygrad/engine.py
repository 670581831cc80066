"""The backward pass: from the gradient of an output to the gradients of what it was made from.

`Tensor.backward` writes into `.grad`; `grad` returns gradients and writes nowhere. Both walk the
recorded graph with `_walk`, without recursion, so that depth is bounded by memory alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from babygrad import _state
from babygrad.autograd import Function, NDArray, Node
from babygrad.tensor import Tensor

_local = _state.local

Vertex = Any  # of the graph: the Node of a recorded operation, or a Tensor that is a leaf
Sink = Callable[[Vertex, Tensor], None]


def backward(root: Tensor, grad: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of `root` to `.grad` of every leaf it depends on; see `Tensor.backward`."""
    if not root._requires_grad:
        raise RuntimeError(
            "backward: this tensor does not require grad; nothing that it was computed from "
            "was created with requires_grad=True, or recording was off"
        )
    seed = _seed(root, grad, "backward")
    _walk([root], [seed], _deposit, retain_graph=retain_graph, create_graph=False)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    *,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Any:
    """Gradients of outputs with respect to inputs, returned and not stored in `.grad`.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensors
        The inputs may be leaves or intermediate results.
    grad_outputs : Tensor, array or sequence of them, optional
        The upstream gradient of each output, of its shape; ones by default.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated again.
    retain_graph : bool, optional
        Keep the graph for another pass; the value of `create_graph` by default.
    allow_unused : bool
        Return None for an input that the outputs do not depend on instead of raising.

    Returns
    -------
    Tensor, or tuple of Tensors when `inputs` is a sequence

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([3.0], requires_grad=True)
    >>> first = babygrad.grad(x**3, x, create_graph=True)
    >>> babygrad.grad(first, x).item()
    18.0
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None or isinstance(outputs, Tensor):
        upstream = [grad_outputs] * len(outs)
    else:
        upstream = list(grad_outputs)
    if len(upstream) != len(outs):
        raise ValueError(f"grad: {len(upstream)} grad_outputs for {len(outs)} outputs")
    for i, tensor in enumerate(ins):
        if not tensor._requires_grad:
            raise ValueError(f"grad: input {i} of shape {tensor.shape} does not require grad")
    seeds = [_seed(out, g, "grad") for out, g in zip(outs, upstream, strict=True)]
    wanted = {id(_node_of(t)) for t in ins}
    found: dict[int, Tensor] = {}

    def collect(node: Vertex, gradient: Tensor) -> None:
        if id(node) in wanted:
            found[id(node)] = gradient

    roots = [(out, seed) for out, seed in zip(outs, seeds, strict=True) if out._requires_grad]
    _walk(
        [out for out, _ in roots],
        [seed for _, seed in roots],
        collect,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        only=wanted,
    )
    results = [found.get(id(_node_of(t))) for t in ins]
    for i, result in enumerate(results):
        if result is None and not allow_unused:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {i} of shape {ins[i].shape}; "
                "pass allow_unused=True to get None for it"
            )
    return results[0] if isinstance(inputs, Tensor) else tuple(results)


def _walk(
    roots: Sequence[Tensor],
    seeds: Sequence[Tensor],
    sink: Sink,
    *,
    retain_graph: bool,
    create_graph: bool,
    only: set[int] | None = None,
) -> None:
    """Visit every node that the roots depend on, youngest first, and give its gradient to `sink`.

    The ledger holds the gradients of nodes that are still waiting for contributions. `owned` are
    those in it that the engine itself made by an addition, into which it may add in place.
    """
    nodes = _collect(roots)
    if only is not None:
        nodes = _that_lead_to(only, nodes)
    ledger: dict[int, Tensor] = {}
    owned: set[int] = set()
    previous = _local.grad_enabled, _local.device
    _local.grad_enabled = create_graph
    try:
        for root, seed in zip(roots, seeds, strict=True):
            _contribute(_node_of(root), seed, ledger, owned, create_graph)
        while nodes:
            node = nodes.pop()
            gradient = ledger.pop(id(node), None)
            owned.discard(id(node))
            if gradient is not None:
                _visit(node, gradient, ledger, owned, sink, create_graph)
            if not retain_graph and isinstance(node, Node):
                node.free()
    finally:
        _local.grad_enabled, _local.device = previous


def _visit(
    node: Vertex,
    gradient: Tensor,
    ledger: dict[int, Tensor],
    owned: set[int],
    sink: Sink,
    create_graph: bool,
) -> None:
    """Settle one node: run its hooks, store its gradient, pass gradients on to its inputs."""
    for hook in node._hooks or ():
        replaced = hook(gradient)
        if replaced is not None:
            gradient = _seed(node, replaced, "hook")
    sink(node, gradient)
    if not isinstance(node, Node):
        return
    op: Any = node._op
    # What a book's backward creates, `Tensor(2.0)` for one, must live where its inputs live.
    _local.device = node._device
    gradients = op.backward(gradient, node.as_tensor())
    if type(gradients) is not tuple:
        gradients = (gradients,)
    inputs = node._inputs
    if len(gradients) != len(inputs):
        raise RuntimeError(
            f"{type(node._op).__name__}.backward returned {len(gradients)} gradients "
            f"for {len(inputs)} inputs"
        )
    if _local.anomaly is not None:
        _local.anomaly.check_backward(op, gradient, gradients)
    needs = node._needs
    for i, (source, contribution) in enumerate(zip(inputs, gradients, strict=True)):
        if needs >> i & 1 and contribution is not None:
            if not isinstance(contribution, Tensor):
                raise TypeError(
                    f"{type(node._op).__name__}.backward must return Tensors; "
                    f"gradient {i} is a {type(contribution).__name__}"
                )
            if contribution._data.shape != source.shape:
                contribution = _unbroadcast(contribution, source.shape, node)
            if contribution._data.dtype is not source.dtype:
                contribution = contribution.astype(source.dtype)
            _contribute(_node_of(source), contribution, ledger, owned, create_graph)


def _contribute(
    node: Vertex, gradient: Tensor, ledger: dict[int, Tensor], owned: set[int], create_graph: bool
) -> None:
    """Add a gradient to what the ledger holds for a node."""
    key = id(node)
    held = ledger.get(key)
    if held is None:
        ledger[key] = gradient
    elif key in owned:
        held._data += gradient._data
    else:
        ledger[key] = held + gradient
        if not create_graph:
            owned.add(key)


def _collect(roots: Iterable[Tensor]) -> list[Vertex]:
    """Every node that the roots depend on, oldest first; leaves before all of them.

    Checks, before any gradient is written, that no part of the graph was freed and that no value
    that a gradient will read was modified since.
    """
    recorded: dict[int, Node] = {}
    leaves: dict[int, Tensor] = {}
    stack = [_node_of(root) for root in roots]
    while stack:
        node = stack.pop()
        if not isinstance(node, Node):
            leaves[id(node)] = node
        elif id(node) not in recorded:
            if node._op is None:
                raise RuntimeError(
                    "backward: this graph was freed by an earlier backward(); "
                    "pass retain_graph=True to the earlier call to differentiate it again"
                )
            node.check_versions()
            recorded[id(node)] = node
            needs = node._needs
            for i, source in enumerate(node._inputs):
                if needs >> i & 1:
                    stack.append(_node_of(source))
    by_age: list[Vertex] = sorted(recorded.values(), key=lambda node: node._serial)
    return [*leaves.values(), *by_age]


def _that_lead_to(wanted: set[int], nodes: list[Vertex]) -> list[Vertex]:
    """The nodes among `nodes` (oldest first) that are wanted or depend on a wanted one."""
    leading = set(wanted)
    kept = []
    for node in nodes:
        if id(node) not in leading and isinstance(node, Node):
            if any(id(_node_of(source)) in leading for source in node._inputs):
                leading.add(id(node))
        if id(node) in leading:
            kept.append(node)
    return kept


def _node_of(value: Any) -> Vertex:
    """What stands for a tensor in the graph: the operation that made it, or the leaf itself."""
    if isinstance(value, Node) or value._node is None:
        return value
    return value._node


def _seed(target: Any, value: Any, op: str) -> Tensor:
    """An upstream gradient for `target`: ones, or the value given, checked for shape and dtype."""
    if value is None:
        return Tensor._wrap(np.ones(target.shape, target.dtype), target._device)
    if not isinstance(value, Tensor):
        value = Tensor(value, dtype=target.dtype, device=target.device)
    if value.shape != target.shape:
        raise ValueError(
            f"{op}: the gradient has shape {value.shape}; it must have the tensor's, {target.shape}"
        )
    return value if value.dtype is target.dtype else value.astype(target.dtype)


def _unbroadcast(gradient: Tensor, shape: tuple[int, ...], node: Node) -> Tensor:
    """Sum a gradient over the axes along which its input was repeated."""
    have = gradient.shape
    added = len(have) - len(shape)
    axes = [*range(added)]
    for i, (n, m) in enumerate(zip(shape, have[added:], strict=False)):
        if n == 1 and m != 1:
            axes.append(added + i)
        elif n != m:
            added = -1
    if added < 0:
        raise RuntimeError(
            f"{type(node._op).__name__}.backward returned a gradient of shape {have} "
            f"for an input of shape {shape}"
        )
    return gradient.sum(tuple(axes)).reshape(shape)


def _deposit(node: Vertex, gradient: Tensor) -> None:
    """Store a gradient in `.grad`, where whoever still holds the tensor can look at it.

    A leaf may take the array over without a copy when nobody else can see its memory. A node keeps
    a reference, which dies with it; `Tensor.grad` copies when somebody asks.
    """
    array = gradient._data
    if isinstance(node, Node):
        node.grad = array if node.grad is None else node.grad + array
    elif node._grad is not None:
        node._grad += array
    elif _references(gradient) <= _ALONE:
        node._grad = array
    else:
        node._grad = np.array(array)


def _references(gradient: Tensor) -> int:
    """References to a gradient, its array and its memory together; infinite for a partial view."""
    array = gradient._data
    total = sys.getrefcount(gradient) + sys.getrefcount(array)
    base = array.base
    if isinstance(base, np.ndarray):
        if base.nbytes != array.nbytes or not array.flags.writeable:
            return sys.maxsize
        total += sys.getrefcount(base) - _BASE_OF_A_VIEW
    return total


class _Probe(Function):
    """The identity, with a gradient that nobody but the engine ever holds."""

    uses = ("",)

    def forward(self, a: NDArray) -> NDArray:
        return a.copy()

    def backward(self, out_grad: Tensor, node: Any) -> Tensor:
        return Tensor._wrap(out_grad._data.copy(), out_grad._device)


def _count_base_of_a_view() -> int:
    array = np.empty(1).reshape(1, 1)
    base = array.base
    return sys.getrefcount(base)


def _count_alone() -> int:
    """What `_references` gives inside `_deposit` for a gradient that is the engine's alone.

    Measured, because the interpreter's own references on the way there differ by its version.
    """
    counts = []

    def probe(node: Vertex, gradient: Tensor) -> None:
        array = gradient._data  # _deposit holds this reference too
        counts.append(_references(gradient))
        del array

    leaf = Tensor([0.0], dtype="float64", requires_grad=True, device="cpu:numpy")
    root = _Probe()(leaf)
    seed = Tensor([1.0], dtype="float64", device="cpu:numpy")
    _walk([root], [seed], probe, retain_graph=False, create_graph=False)
    return counts[-1]


_BASE_OF_A_VIEW = _count_base_of_a_view()
_ALONE = _count_alone()
