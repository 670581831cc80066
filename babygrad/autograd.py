"""Automatic differentiation: `Function`, what it records, and the backward pass over the record.

What you can do with this module: define an operation (`Function`), choose whether operations are
recorded (`no_grad`, `enable_grad`), and differentiate what was recorded (`Tensor.backward`,
`grad`).

Calling a `Function` computes its result and, when an input requires grad, records a `Node`: the
operation and its inputs, `y._op` and `y._inputs` of the resulting tensor. The backward pass visits
nodes from the youngest to the oldest. Why that order? A node may pass a
gradient on only when it has received all of its own, and all of them come from operations that
used its value, which are younger. Creation order is thus a topological order for free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from babygrad import _state
from babygrad._numbers import as_numbers, checked
from babygrad._scope import Scope
from babygrad._sharing import Version, share
from babygrad.device import Device
from babygrad.dtypes import FLOAT16, FLOAT32, FLOAT64, NATIVE

if TYPE_CHECKING:
    from babygrad.backends.base import Backend
    from babygrad.tensor import Tensor

NDArray = np.ndarray
Hook = Callable[["Tensor"], "Tensor | None"]

_local = _state.local
_tick = _state.tick


class _GradMode(Scope):
    """Switches recording for a block or a decorated function, in this thread only."""

    _enabled: ClassVar[bool]

    def __new__(cls, func: Callable[..., Any] | None = None) -> Any:
        """A block; or, as `@no_grad` without parentheses, the decorated function."""
        return super().__new__(cls) if func is None else cls()(func)

    def __enter__(self) -> None:
        self._previous.append(_local.grad_enabled)
        _local.grad_enabled = self._enabled

    def __exit__(self, *exc_info: object) -> None:
        _local.grad_enabled = self._previous.pop()


class no_grad(_GradMode):  # noqa: N801 - the name that everyone knows
    """Record nothing inside: results have no graph. A context manager and a decorator.

    Decorated generators and coroutines record nothing while they run; what their caller does
    between two steps is recorded as ever.

    Examples
    --------
    >>> import babygrad
    >>> w = babygrad.Tensor([1.0], requires_grad=True)
    >>> with babygrad.no_grad():
    ...     (w * 2).requires_grad
    False
    """

    _enabled = False


class enable_grad(_GradMode):  # noqa: N801
    """Record again, inside a `no_grad` block. A context manager and a decorator."""

    _enabled = True


def is_grad_enabled() -> bool:
    """Whether operations of this thread are being recorded."""
    return _local.grad_enabled


class Function:
    """One differentiable operation.

    A subclass defines `forward`, from arrays to an array, and `backward`, from the gradient of the
    output to the gradients of the inputs as Tensors. Inside both, `self.xp` is the backend of the
    inputs' device: a namespace of array functions with numpy's names. Neither undoes broadcasting:
    a gradient of the output's shape is summed to its input's shape by the engine.

    Attributes
    ----------
    uses : tuple of str, or None
        What the gradient of each input reads: the positions of inputs as digits, `y` for the
        output. `("1", "0")` says that the first input's gradient reads the second input, and the
        other way round. The graph keeps alive, and watches for in-place writes, only what is
        named here and needed. None stands for "everything".
    differentiable : bool
        False for operations with results that have no gradient, such as comparisons.

    Examples
    --------
    >>> import babygrad
    >>> class Cube(babygrad.Function):
    ...     def forward(self, x):
    ...         return x * x * x
    ...     def backward(self, out_grad, node):
    ...         (x,) = node._inputs
    ...         return out_grad * 3 * x * x
    >>> x = babygrad.Tensor([2.0], requires_grad=True)
    >>> Cube()(x).backward()
    >>> x.grad
    array([12.], dtype=float32)
    """

    __slots__ = ("_site", "xp")

    uses: ClassVar[tuple[str, ...] | None] = None
    differentiable: ClassVar[bool] = True
    xp: Backend
    _site: str  # where the user called it, noted within detect_anomaly() only
    _plans: ClassVar[dict[int, tuple[tuple[bool, ...], bool]]]

    def __init_subclass__(cls) -> None:
        cls._plans = {}
        uses: Any = cls.uses
        if uses is not None and not (
            isinstance(uses, tuple)
            and all(isinstance(use, str) and set(use) <= set("0123456789y") for use in uses)
        ):
            raise TypeError(
                f"{cls.__name__}: uses (={uses!r}) must be a tuple of strings, one for each input, "
                "of positions as digits and y for the output"
            )

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward(*arrays)")

    def backward(self, out_grad: Any, node: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define backward(out_grad, node)")

    def __call__(self, *inputs: Tensor) -> Tensor:
        if not inputs or not all(isinstance(tensor, _tensor_type) for tensor in inputs):
            kinds = ", ".join(type(tensor).__name__ for tensor in inputs) or "nothing"
            raise TypeError(
                f"{type(self).__name__}: called with {kinds}; a Function is called with Tensors"
            )
        device = inputs[0]._device
        needs = 0  # bit i: input i requires grad
        arrays = []
        for i, tensor in enumerate(inputs):
            array = tensor._data
            arrays.append(array if array.dtype is not FLOAT16 else array.astype(FLOAT32))
            if tensor._requires_grad:
                needs |= 1 << i
            if tensor._device is not device and tensor._device.backend is not device.backend:
                raise _mixed_devices(self, inputs)
        self.xp = device.backend
        data = self.forward(*arrays)
        if type(data) is not NDArray or NATIVE.get(data.dtype) is not data.dtype:
            data = _result(self, data)
        source = _source_of(data, inputs)
        version = [0] if source is None else source._version
        if needs and self.differentiable and _local.grad_enabled:
            node = _record(self, inputs, needs, data, version, device)
            out = _make(data, node, True, device, version)
        else:
            out = _make(data, None, False, device, version)
        if source is not None:
            share(source, out)
        if _local.anomaly is not None:
            _local.anomaly.check_forward(self, inputs, out)
        return out

    @classmethod
    def _plan(cls, needs: int, n: int) -> tuple[tuple[bool, ...], bool]:
        """Which inputs, and whether the output, the gradients of the inputs in `needs` read."""
        if cls.uses is None:
            return (True,) * n, True
        # One entry serves any number of inputs, as in concatenate.
        uses = cls.uses * n if len(cls.uses) == 1 else cls.uses
        read = "".join(use for i, use in enumerate(uses) if needs >> i & 1)
        return tuple(str(i) in read for i in range(n)), "y" in read


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """A recorded operation: the place in the graph of the tensor that it made.

    The tensor points to its node and the node to what it was made from, never back, so that a
    graph has no cycles and reference counting frees it. A node holds the input tensors that the
    gradient reads; an input whose values nobody will read is represented by its own node, which
    has a shape and no values. This is what lets go of activations early.
    """

    _op: Function | None  # None once the node has been freed
    _inputs: tuple[Any, ...]  # Tensors, and Nodes in place of those whose values are not kept
    _kept: tuple[bool, ...]
    _needs: int
    _output: tuple[NDArray, Version] | None
    _serial: int
    _device: Device
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grad: NDArray | None = None
    _hooks: list[Hook] | None = None

    requires_grad = True

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def device(self) -> str:
        return self._device.name

    def as_tensor(self) -> Any:
        """What `backward` sees as its node: the output with its values if it reads them."""
        if self._output is None:
            return self
        data, version = self._output
        return _make(data, self, True, self._device, version)

    def check_versions(self) -> None:
        """Raise when a value that the gradient reads was written to after the operation ran."""
        for tensor, kept in zip(self._inputs, self._kept, strict=True):
            if kept and tensor._version[0] > self._serial:
                raise self._changed("an input", tensor.shape, tensor._version[0])
        if self._output is not None and self._output[1][0] > self._serial:
            raise self._changed("the output", self.shape, self._output[1][0])

    def _changed(self, what: str, shape: tuple[int, ...], version: int) -> RuntimeError:
        return RuntimeError(
            f"backward: {what} of {type(self._op).__name__}, of shape {shape}, was modified in "
            f"place after the operation had saved it: it is at version {version}, saved at "
            f"version {self._serial}. Compute with a copy, or modify it after backward()"
        )

    def free(self) -> None:
        """Let go of everything but the gradient."""
        self._op = None
        self._inputs = ()
        self._output = None


@dataclass(slots=True, eq=False)
class PartialGradient:
    """A gradient that is zero outside of one region of its input.

    What a `backward` may return instead of a Tensor when no graph of the gradient is recorded.
    The engine adds it to what the input's other users contribute: a tensor taken apart into many
    slices gets one array for its gradient and not one for each slice.

    Parameters
    ----------
    values : Tensor
        The gradient of the region.
    index : tuple
        The region as a basic index, of integers, slices, ... and None.
    shape : tuple of int
        The input's.
    """

    _values: Tensor
    _index: tuple[Any, ...]
    _shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def _data(self) -> NDArray:
        return self._values._data

    def add_to(self, held: Tensor | None, owned: bool) -> Tensor:
        """The sum of this and a whole gradient, in the latter's memory if the engine owns it."""
        values, device = self._values._data, self._values._device
        xp = device.backend
        if held is None:
            total = xp.setitem(xp.zeros(self._shape, values.dtype), self._index, values)
        else:
            total = held._data if owned else xp.copy(held._data)
            region = xp.getitem(total, self._index)
            region += values
        return _make(total, None, False, device, [0])


def _result(op: Function, data: Any) -> NDArray:
    """What `forward` returned as an array of a tensor's types, which a scalar or a list is not."""
    door = f"{type(op).__name__}.forward"
    # numpy's results without axes are scalars.
    array = checked(door, np.asarray(data) if isinstance(data, np.generic) else data)
    if array.dtype == FLOAT64 and not hasattr(data, "dtype"):
        array = array.astype(FLOAT32)  # Python's floats, as everywhere
    return as_numbers(door, array)


def _record(
    op: Function,
    inputs: tuple[Tensor, ...],
    needs: int,
    data: NDArray,
    version: Version,
    device: Device,
) -> Node:
    """The node of a result, holding on only to what the gradients will read."""
    count = len(inputs)
    key = (needs << 32) + count
    plan = op._plans.get(key)
    if plan is None:
        plan = op._plans[key] = op._plan(needs, count)
    kept, keeps_output = plan
    sources = [t if k or t._node is None else t._node for t, k in zip(inputs, kept, strict=True)]
    output = (data, version) if keeps_output else None
    return Node(op, tuple(sources), kept, needs, output, _tick(), device, data.shape, data.dtype)


def _make(
    data: NDArray, node: Node | None, requires_grad: bool, device: Device, version: Version
) -> Tensor:
    """A Tensor around an array, without the constructor's conversions and copies."""
    tensor: Tensor = _new(_tensor_type)
    tensor._data = data
    tensor._node = node
    tensor._requires_grad = requires_grad
    tensor._device = device
    tensor._version = version
    tensor._grad = None
    tensor._hooks = None
    return tensor


_new: Callable[[Any], Any] = object.__new__
_tensor_type: Any = None


def _bind_tensor_type(cls: type[Tensor]) -> None:
    """Tell this module, which Tensor's own module imports, what class results have."""
    global _tensor_type
    _tensor_type = cls


def _source_of(data: NDArray, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """The input whose memory a result is, or is a view of, if there is one."""
    base = data.base
    for tensor in inputs:
        array = tensor._data
        if array is data or (base is not None and (array is base or array.base is base)):
            return tensor
    return None


def _mixed_devices(op: Function, inputs: tuple[Tensor, ...]) -> RuntimeError:
    names = ", ".join(repr(t.device) for t in inputs)
    return RuntimeError(
        f"{type(op).__name__}: inputs live on different devices ({names}); "
        "move them to one with .to(device)"
    )
