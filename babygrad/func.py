"""Derivatives of functions: `grad value_and_grad vjp jacobian hvp hessian`.

Each takes a function of Tensors and gives another function, or its value, in the manner of JAX.
They work on the engine of `Tensor.backward`, write into no `.grad`, and nest: `grad(grad(f))` is
the second derivative. Where the function reads tensors that require grad besides its arguments, a
result can be differentiated with respect to those too; within `no_grad()` results have no graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from babygrad import engine
from babygrad.autograd import enable_grad, is_grad_enabled
from babygrad.ops.joining import stack
from babygrad.ops.shape import Reshape
from babygrad.tensor import Tensor, zeros_like

__all__ = ["grad", "hessian", "hvp", "jacobian", "value_and_grad", "vjp"]

Argnums = int | Sequence[int]


def separate(value: Any) -> Tensor:
    """The same values at a place of their own in the graph.

    The gradient with respect to it counts the uses of this one tensor, also when the original is
    used elsewhere, and flows on to the original if that requires grad.
    """
    tensor = value if isinstance(value, Tensor) else Tensor(value, dtype=None)
    if is_grad_enabled() and tensor._requires_grad:
        return Reshape(tensor.shape)(tensor)
    return Tensor._wrap(tensor._data, tensor._device).requires_grad_()


class _Evaluation:
    """A function's outputs at a point, and their gradients with respect to some arguments."""

    def __init__(
        self, op: str, fn: Callable[..., Any], args: Sequence[Any], places: Sequence[int]
    ) -> None:
        recording = is_grad_enabled()
        given = list(args)
        for i in places:
            if not -len(args) <= i < len(args):
                raise ValueError(f"{op}: argnums names argument {i} of {len(args)}")
            given[i] = separate(args[i])
        self.inputs = [given[i] for i in places]
        with enable_grad():
            result = fn(*given)
        self.single = not isinstance(result, tuple | list)
        self.outputs: list[Tensor] = [result] if self.single else list(result)
        for out in self.outputs:
            if not isinstance(out, Tensor):
                raise TypeError(f"{op}: the function returned a {type(out).__name__}, not a Tensor")
        self.has_more = recording and self._reads_more()

    def _reads_more(self) -> bool:
        """Whether the outputs depend on leaves that are not the separated arguments."""
        own = {id(tensor) for tensor in self.inputs}
        vertices = engine._collect([out for out in self.outputs if out._requires_grad])
        return any(isinstance(v, Tensor) and id(v) not in own for v in vertices)

    def values(self) -> Any:
        """The outputs, without a graph when nobody could use it."""
        outs = self.outputs
        if not self.has_more:
            outs = [Tensor._wrap(out._data, out._device) for out in outs]
        return outs[0] if self.single else tuple(outs)

    def pull_back(self, upstream: Sequence[Any], again: bool) -> list[Tensor]:
        """Gradients of the inputs, zeros where there is none; `again` keeps the graph."""
        found = engine.grad(
            self.outputs,
            self.inputs,
            upstream,
            create_graph=self.has_more,
            retain_graph=again or self.has_more,
            allow_unused=True,
        )
        pairs = zip(found, self.inputs, strict=True)
        return [zeros_like(x) if g is None else g for g, x in pairs]


def _places(argnums: Argnums) -> tuple[int, ...]:
    return tuple(argnums) if isinstance(argnums, Sequence) else (int(argnums),)


def _as_asked(argnums: Argnums, results: Sequence[Any]) -> Any:
    return tuple(results) if isinstance(argnums, Sequence) else results[0]


def value_and_grad(fn: Callable[..., Tensor], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the value of `fn` and its gradient.

    Parameters
    ----------
    fn : callable
        From Tensors to a Tensor with one element.
    argnums : int or sequence of int
        The positions of the arguments to differentiate with respect to.

    Returns
    -------
    callable
        With the arguments of `fn`. The gradient is a Tensor, or a tuple of them when `argnums` is
        a sequence; zeros for an argument that the value does not depend on.

    Raises
    ------
    ValueError
        When called, if the value has not exactly one element.

    Examples
    --------
    >>> import babygrad
    >>> value, slope = value_and_grad(lambda x: (x * x).sum())(babygrad.Tensor([1.0, 2.0]))
    >>> value.item(), slope.tolist()
    (5.0, [2.0, 4.0])
    """

    def evaluate(*args: Any) -> tuple[Tensor, Any]:
        found = _Evaluation("grad", fn, args, _places(argnums))
        shapes = [out.shape for out in found.outputs]
        if len(shapes) != 1 or found.outputs[0].size != 1:
            raise ValueError(
                f"grad: the function returned tensors of shapes {shapes}; it must return one "
                "element, see jacobian for more"
            )
        return found.values(), _as_asked(argnums, found.pull_back([None], False))

    return evaluate


def grad(fn: Callable[..., Tensor], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the gradient of `fn`; see `value_and_grad`.

    Examples
    --------
    >>> import babygrad
    >>> cube = lambda x: x**3
    >>> x = babygrad.Tensor(3.0)
    >>> grad(cube)(x).item(), grad(grad(cube))(x).item()
    (27.0, 18.0)
    """
    evaluate = value_and_grad(fn, argnums)

    def gradient(*args: Any) -> Any:
        return evaluate(*args)[1]

    return gradient


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """The value of `fn`, and the function that multiplies vectors with its Jacobian from the left.

    Parameters
    ----------
    fn : callable
        From Tensors to a Tensor or a tuple of them.
    *primals : Tensor
        The point, all of whose parts are differentiated.

    Returns
    -------
    value : what `fn` returned
    pull_back : callable
        From one upstream gradient for each output to a tuple with one gradient for each primal.

    Examples
    --------
    >>> import babygrad
    >>> value, pull_back = vjp(lambda x: x * x, babygrad.Tensor([1.0, 2.0]))
    >>> pull_back(babygrad.Tensor([1.0, 10.0]))[0].tolist()
    [2.0, 40.0]
    """
    found = _Evaluation("vjp", fn, primals, range(len(primals)))
    return found.values(), lambda *upstream: tuple(found.pull_back(upstream, True))


def jacobian(fn: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives all derivatives of all outputs of `fn`, one backward pass for each.

    Parameters
    ----------
    fn : callable
        From Tensors to a Tensor or a tuple of them.
    argnums : int or sequence of int

    Returns
    -------
    callable
        Its result has the shape of the output followed by that of the argument: element
        `[i, j]` is the derivative of output i in argument j. A tuple for outputs in a tuple, of
        tuples for several `argnums`.

    Examples
    --------
    >>> import babygrad
    >>> jacobian(lambda x: x * x)(babygrad.Tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    def derivatives(*args: Any) -> Any:
        found = _Evaluation("jacobian", fn, args, _places(argnums))
        blocks = [_as_asked(argnums, _block(found, k)) for k in range(len(found.outputs))]
        return blocks[0] if found.single else tuple(blocks)

    return derivatives


def _block(found: _Evaluation, k: int) -> list[Tensor]:
    """The Jacobian of output k with respect to each input."""
    out = found.outputs[k]
    rows = []
    for i in range(out.size):
        upstream = [zeros_like(other) for other in found.outputs]
        upstream[k]._data.flat[i] = 1
        rows.append(found.pull_back(upstream, True))
    shapes = [(*out.shape, *x.shape) for x in found.inputs]
    if not rows:
        return [Tensor.zeros(*s, dtype=out.dtype, requires_grad=False) for s in shapes]
    columns = zip(*rows, strict=True)
    return [stack(column).reshape(shape) for column, shape in zip(columns, shapes, strict=True)]


def hvp(fn: Callable[..., Tensor], primals: Any, tangents: Any) -> Any:
    """The Hessian of `fn` times a vector, without the Hessian: the gradient of grad(fn) . v.

    Parameters
    ----------
    fn : callable
        From Tensors to a Tensor with one element.
    primals : Tensor or tuple of Tensors
        The arguments of `fn`.
    tangents : Tensor or tuple of Tensors
        The vector, with the shapes of the primals.

    Returns
    -------
    Tensor, or tuple of Tensors for primals in a tuple

    Examples
    --------
    >>> import babygrad
    >>> x, v = babygrad.Tensor([1.0, 2.0]), babygrad.Tensor([1.0, 0.0])
    >>> hvp(lambda x: (x**3).sum(), x, v).tolist()
    [6.0, 0.0]
    """
    single = isinstance(primals, Tensor)
    point, vector = ([primals], [tangents]) if single else (list(primals), list(tangents))
    shapes = [[t.shape for t in side] for side in (point, vector)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"hvp: primals of shapes {shapes[0]} and tangents of shapes {shapes[1]}")
    everything = range(len(point))

    def along(*args: Tensor) -> Tensor:
        products = [(g * v).sum() for g, v in zip(grad(fn, everything)(*args), vector, strict=True)]
        total: Tensor = sum(products[1:], products[0])
        return total

    return _as_asked(0 if single else everything, grad(along, everything)(*point))


def hessian(fn: Callable[..., Tensor], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives all second derivatives of `fn`, the Jacobian of its gradient.

    Examples
    --------
    >>> import babygrad
    >>> hessian(lambda x: (x**3).sum())(babygrad.Tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(fn, argnums), argnums)
