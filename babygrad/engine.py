"""The backward pass: from the gradient of an output to the gradients of what it was made from.

`Tensor.backward` writes into `.grad`; `grad` returns gradients and writes nowhere. Both walk the
recorded graph with `_walk`, without recursion, so that depth is bounded by memory alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from babygrad import _state
from babygrad._numbers import as_numbers
from babygrad.autograd import Node, PartialGradient
from babygrad.native import native_walk
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
    previous = _local.grad_enabled, _local.device
    _local.grad_enabled = False
    try:
        native = _native_walk if _local.anomaly is None else None
        if native is None or not native(root, seed, retain_graph):
            _walk([(root, seed)], _deposit, retain_graph=retain_graph)
    finally:
        _local.grad_enabled, _local.device = previous


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
        Record how the gradients are computed, so that they can be differentiated again.
    retain_graph : bool, optional
        Keep the graph for another pass; the value of `create_graph` by default.
    allow_unused : bool
        None for an input that the outputs do not depend on, instead of raising.

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
    ins = _inputs(inputs)
    keys = [id(_vertex_of(tensor)) for tensor in ins]
    found: dict[int, Tensor] = {}

    def collect(vertex: Vertex, gradient: Tensor) -> None:
        if id(vertex) in keys:
            found[id(vertex)] = gradient

    roots = _roots(outputs, grad_outputs)
    previous = _local.grad_enabled, _local.device
    _local.grad_enabled = create_graph
    try:
        retain = create_graph if retain_graph is None else retain_graph
        _walk(roots, collect, retain_graph=retain, create_graph=create_graph, only=set(keys))
    finally:
        _local.grad_enabled, _local.device = previous
    results = tuple(found.get(key) for key in keys)
    unused = next((i for i, result in enumerate(results) if result is None), None)
    if unused is not None and not allow_unused:
        raise RuntimeError(
            f"grad: the outputs do not depend on input {unused} of shape {ins[unused].shape}; "
            "pass allow_unused=True to get None for it"
        )
    return results[0] if isinstance(inputs, Tensor) else results


def _inputs(inputs: Any) -> list[Tensor]:
    """The inputs as a list, each checked to require grad."""
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for i, tensor in enumerate(ins):
        if not tensor._requires_grad:
            raise ValueError(f"grad: input {i} of shape {tensor.shape} does not require grad")
    return ins


def _roots(outputs: Any, grad_outputs: Any) -> list[tuple[Tensor, Tensor]]:
    """The outputs that have a graph, each with its upstream gradient."""
    single = isinstance(outputs, Tensor)
    outs = [outputs] if single else list(outputs)
    shared = single or grad_outputs is None
    upstream = [grad_outputs] * len(outs) if shared else list(grad_outputs)
    if len(upstream) != len(outs):
        raise ValueError(f"grad: {len(upstream)} grad_outputs for {len(outs)} outputs")
    pairs = [(out, _seed(out, given, "grad")) for out, given in zip(outs, upstream, strict=True)]
    return [pair for pair in pairs if pair[0]._requires_grad]


def _walk(
    roots: Sequence[tuple[Tensor, Tensor]],
    sink: Sink,
    *,
    retain_graph: bool,
    create_graph: bool = False,
    only: set[int] | None = None,
) -> None:
    """Visit every vertex that the roots depend on, youngest first; give its gradient to `sink`.

    Each root comes with its upstream gradient.
    The ledger holds the gradients of vertices that are still waiting for contributions. `owned`
    are those in it that the engine itself made by an addition, into which it may add in place.
    """
    vertices = _collect(root for root, _ in roots)
    ends: set[int] = set()
    if only is not None:
        vertices, ends = _that_lead_to(only, vertices)
    ledger: dict[int, Tensor] = {}
    owned: set[int] | None = None if create_graph else set()
    for root, seed in roots:
        _contribute(_vertex_of(root), seed, ledger, owned)
    while vertices:
        vertex = vertices.pop()
        gradient = ledger.pop(id(vertex), None)
        if gradient is not None:
            if vertex._hooks is not None:
                gradient = _run_hooks(vertex, gradient)
            sink(vertex, gradient)
        if not isinstance(vertex, Node) or id(vertex) in ends:
            continue
        if gradient is not None:
            _pass_on(vertex, gradient, ledger, owned)
        if not retain_graph:
            vertex.free()


def _pass_on(
    vertex: Node, gradient: Tensor, ledger: dict[int, Tensor], owned: set[int] | None
) -> None:
    """From the gradient of a node's output to the gradients of its inputs."""
    # What a book's backward creates, `Tensor(2.0)` for one, must live where its inputs live.
    _local.device = vertex._device
    op: Any = vertex._op
    gradients = op.backward(gradient, vertex.as_tensor())
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    _check_gradients(vertex, gradients)
    if _local.anomaly is not None:
        _local.anomaly.check_backward(vertex, gradient, gradients)
    needs = vertex._needs
    for i, (source, contribution) in enumerate(zip(vertex._inputs, gradients, strict=True)):
        if needs >> i & 1 and contribution is not None:
            if isinstance(contribution, Tensor):
                contribution = _adapt(contribution, source, vertex)
            _contribute(_vertex_of(source), contribution, ledger, owned)


def _contribute(
    vertex: Vertex,
    gradient: Tensor | PartialGradient,
    ledger: dict[int, Tensor],
    owned: set[int] | None,
) -> None:
    """Add a gradient to what the ledger holds for a vertex."""
    key = id(vertex)
    held = ledger.get(key)
    in_place = owned is not None and key in owned
    if isinstance(gradient, PartialGradient):
        ledger[key] = gradient.add_to(held, in_place)
    elif held is None:
        ledger[key] = gradient
        return
    elif in_place:
        held._data += gradient._data
    else:
        ledger[key] = held + gradient
    if owned is not None:
        owned.add(key)


def _collect(roots: Iterable[Tensor]) -> list[Vertex]:
    """Every node that the roots depend on, oldest first; leaves before all of them.

    Checks, before any gradient is written, that no part of the graph was freed and that no value
    that a gradient will read was modified since.
    """
    recorded: dict[int, Node] = {}
    leaves: dict[int, Tensor] = {}
    stack = [_vertex_of(root) for root in roots]
    while stack:
        vertex = stack.pop()
        if not isinstance(vertex, Node):
            leaves[id(vertex)] = vertex
        elif id(vertex) not in recorded:
            _check_node(vertex)
            recorded[id(vertex)] = vertex
            needs = vertex._needs
            for i, source in enumerate(vertex._inputs):
                if needs >> i & 1:
                    stack.append(_vertex_of(source))
    by_age: list[Vertex] = sorted(recorded.values(), key=lambda node: node._serial)
    return [*leaves.values(), *by_age]


def _check_node(node: Node) -> None:
    """Raise when a node cannot be differentiated: it was freed, or what it saved has changed."""
    if node._op is None:
        raise RuntimeError(
            "backward: this graph was freed by an earlier backward(); "
            "pass retain_graph=True to the earlier call to differentiate it again"
        )
    node.check_versions()


def _run_hooks(vertex: Vertex, gradient: Tensor) -> Tensor:
    """The gradient, or what the vertex's hooks put in its place."""
    for hook in vertex._hooks:
        replaced = hook(gradient)
        if replaced is not None:
            gradient = _seed(vertex, replaced, "hook")
    return gradient


def _check_gradients(node: Node, gradients: tuple[Any, ...]) -> None:
    """Raise unless a backward gave one Tensor or None for each input that requires grad.

    What it gives for the others is thrown away unseen, as the book's functions count on.
    """
    op = type(node._op).__name__
    if len(gradients) != len(node._inputs):
        raise RuntimeError(
            f"{op}.backward returned {len(gradients)} gradients for {len(node._inputs)} inputs"
        )
    for i, gradient in enumerate(gradients):
        if gradient is None or not node._needs >> i & 1:
            continue
        if not isinstance(gradient, Tensor | PartialGradient):
            raise TypeError(
                f"{op}.backward must return Tensors; gradient {i} is a {type(gradient).__name__}"
            )


def _adapt(gradient: Tensor, source: Any, node: Node) -> Tensor:
    """A gradient in the shape and type of the input that it is for."""
    if gradient.shape != source.shape:
        gradient = _unbroadcast(gradient, source.shape, node)
    return gradient.astype(source.dtype)


def _that_lead_to(wanted: set[int], vertices: list[Vertex]) -> tuple[list[Vertex], set[int]]:
    """The vertices, given oldest first, that are wanted or depend on a wanted one.

    Also the wanted ones that depend on no other. There the pass ends: the graph below them is
    left as it is, and so are they.
    """
    leading, ends = set(wanted), set(wanted)
    for vertex in vertices:
        if isinstance(vertex, Node) and any(
            id(_vertex_of(source)) in leading for source in vertex._inputs
        ):
            leading.add(id(vertex))
            ends.discard(id(vertex))
    return [vertex for vertex in vertices if id(vertex) in leading], ends


def _vertex_of(value: Any) -> Vertex:
    """What stands for a tensor in the graph: the operation that made it, or the leaf itself."""
    if isinstance(value, Node) or value._node is None:
        return value
    return value._node


def _seed(target: Any, value: Any, op: str) -> Tensor:
    """An upstream gradient for `target`: ones, or the value given, checked for shape and dtype."""
    if value is None:
        return Tensor._wrap(np.ones(target.shape, target.dtype), target._device)
    if not isinstance(value, Tensor):
        value = Tensor._wrap(as_numbers(op, value, target.dtype, copy=True), target._device)
    given: Tensor = value
    if given.shape != target.shape:
        raise ValueError(
            f"{op}: the gradient has shape {given.shape}; it must have the tensor's, {target.shape}"
        )
    return given if given.dtype is target.dtype else given.astype(target.dtype)


def _unbroadcast(gradient: Tensor, shape: tuple[int, ...], node: Node) -> Tensor:
    """Sum a gradient over the axes along which its input was repeated."""
    have = gradient.shape
    added = len(have) - len(shape)
    if added < 0 or any(n not in (1, m) for n, m in zip(shape, have[added:], strict=True)):
        raise RuntimeError(
            f"{type(node._op).__name__}.backward returned a gradient of shape {have} "
            f"for an input of shape {shape}"
        )
    repeated = [i for i, n in enumerate(shape, added) if n != have[i]]
    return gradient.sum((*range(added), *repeated)).reshape(shape)


def _deposit(node: Vertex, gradient: Tensor) -> None:
    """Store a gradient in `.grad`, where whoever still holds the tensor can look at it.

    A leaf gets a copy, for the array may be shared; the native twin, which can see that nobody
    else holds it, hands it over. A node keeps a reference, which dies with it; `Tensor.grad`
    copies when somebody asks.
    """
    array = gradient._data
    if isinstance(node, Node):
        node.grad = array if node.grad is None else node.grad + array
    elif node._grad is None:
        node._grad = np.array(array)
    else:
        node._grad = _accumulate(node._grad, array)


def _accumulate(held: Any, array: Any) -> Any:
    """A leaf's gradient with another added, in place if it can be.

    One that was assigned may be read-only or of another type; the sum is then a new array, of the
    type of gradients.
    """
    if held.dtype == array.dtype and held.flags.writeable:
        held += array
        return held
    return np.asarray(held + array, array.dtype)


_native_walk = native_walk(_check_node, _check_gradients, _run_hooks, _adapt, _accumulate)
