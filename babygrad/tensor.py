"""`Tensor`: an array that knows how it was computed.

What you can do here: create tensors (the constructor, `rand`, `zeros`, `one_hot` and the other
factories), look at them (`shape`, `dtype`, `numpy`, `item`), move them (`to`), and differentiate
what was computed from them (`backward`, `grad`). Arithmetic and the methods that compute, `sum`
and `reshape` for two, are the functions of `babygrad.ops`; that package puts them on the class.
"""

from __future__ import annotations

import copy
import sys
from types import FunctionType, ModuleType
from typing import Any, Self

import numpy as np

from babygrad import _state, autograd
from babygrad._factories import TensorFactories
from babygrad._methods import TensorMethods
from babygrad._numbers import array_of, as_numbers, checked, exchanged, unpickled
from babygrad._outward import TensorOutward
from babygrad._sharing import Version
from babygrad.autograd import Function, Hook, NDArray, Node
from babygrad.device import Device, current, find
from babygrad.dtypes import DType, as_dtype, is_float

__all__ = ["NDArray", "Tensor", "from_dlpack", "from_numpy", "ones_like", "tensor", "zeros_like"]


class Tensor(TensorMethods, TensorFactories, TensorOutward):
    """An n-dimensional array with automatic differentiation.

    Parameters
    ----------
    data : Tensor, array, number or nested list
        The values, which are copied.
    device : str, optional
        `"cpu"`, `"cpu:numpy"`, `"cpu:cpp"` or `"cpu:numba"`; by default that of `data` when it is
        a Tensor, else the default device.
    dtype : str or dtype, optional
        The type to cast to, float32 by default whatever `data` is, as in the book. None keeps
        the type of an array or Tensor; lists and numbers become float32.
    requires_grad : bool
        Record operations on this tensor, so that `backward` computes its gradient.

    Raises
    ------
    TypeError
        When `data` is anything but real numbers: text, dates, None, objects, complex numbers, a
        masked array; or when an integer tensor is to require grad.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4.], dtype=float32)
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_device",
        "_grad",
        "_hooks",
        "_node",
        "_requires_grad",
        "_version",
    )

    _data: NDArray
    _device: Device
    _grad: NDArray | None
    _hooks: list[Hook] | None
    _node: Node | None
    _requires_grad: bool
    _version: Version

    # numpy must leave `array + tensor` to Tensor.__radd__ instead of looping over its elements.
    __array_ufunc__ = None

    def __init__(
        self,
        data: Any,
        *,
        device: str | None = None,
        dtype: Any = "float32",
        requires_grad: bool = False,
    ) -> None:
        if device is not None:
            self._device = find(device)
        else:
            self._device = data._device if isinstance(data, Tensor) else current()
        self._data = as_numbers(type(self).__name__, array_of(data), dtype, copy=True)
        self._node = None
        self._grad = None
        self._hooks = None
        self._version = [0]
        self.requires_grad_(requires_grad)

    @classmethod
    def _wrap(cls, data: NDArray, device: Device) -> Tensor:
        """A leaf around an array that is not copied."""
        return autograd._make(data, None, False, device, [0])

    # ----- What it is -----

    @property
    def data(self) -> NDArray:
        """The values, a numpy array that is not copied.

        Assigning to it (`w.data -= 0.1 * w.grad`) replaces them, and a backward pass that needs
        the old ones will refuse to run. Writing into the array itself (`w.data[0] = 5`) goes past
        this property and cannot be seen.

        What the constructor refuses is refused here too. A tensor of floats keeps its dtype:
        floats of another width are cast to it, as are lists. It takes the type of an integer or
        bool array, unless it requires grad, when such an array is refused. An array that needs
        no conversion is shared and not copied; it may have another shape.
        """
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        if value is self._data:
            self._touch()
            return
        value, own = array_of(value), self._data.dtype
        array = checked("data", value)
        is_integral = array.dtype.kind in "biu" and isinstance(value, np.ndarray | np.generic)
        if is_integral and self._requires_grad:
            raise TypeError(
                f"data: an array of {array.dtype} was assigned to a tensor of {own} that requires "
                f"grad; cast it with .astype({own.name!r})"
            )
        # Kernels take aligned arrays in the machine's byte order; others are converted once, here.
        keeps_type = is_float(own) and not is_integral
        self._data = as_numbers("data", array, own if keeps_type else None)
        self._version = [_state.tick()]

    def _touch(self) -> None:
        """Note that the values were written to, for backward passes that need the old ones."""
        self._version[0] = _state.tick()

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._data.shape

    @property
    def dtype(self) -> DType:
        """The type of the elements, a numpy dtype."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def device(self) -> str:
        """The device string, as it was given."""
        return self._device.name

    @property
    def T(self) -> Tensor:  # noqa: N802 - numpy's name
        """The tensor with its last two axes swapped."""
        return self.transpose()

    # ----- Gradients -----

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Start or stop recording operations on this leaf; returns the tensor itself."""
        if requires_grad and not is_float(self._data.dtype):
            raise TypeError(
                f"requires_grad: only floating-point tensors have gradients; dtype is {self.dtype}"
            )
        if not requires_grad and self._node is not None:
            raise RuntimeError(
                "requires_grad: the result of a recorded operation cannot stop requiring grad; "
                "use detach()"
            )
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad(self) -> NDArray | None:
        """The gradient that backward passes have added up, a numpy array, or None.

        What is assigned is cast to the tensor's dtype. An array that needs no cast is shared, and
        later passes add into it, unless it is read-only: then it is copied.
        """
        if self._node is None:
            return self._grad
        if self._node.grad is not None:
            # The engine shares the arrays of inner gradients; a reader gets a private one.
            self._node.grad = np.array(self._node.grad)
        return self._node.grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not is_float(self._data.dtype):
                raise TypeError(f"grad: a tensor of {self.dtype} has no gradient")
            value = as_numbers("grad", array_of(value), self._data.dtype)
            if value.shape != self._data.shape:
                raise ValueError(
                    f"grad: shape {value.shape} was assigned to the gradient of a tensor of shape "
                    f"{self.shape}; they must be equal"
                )
            if not value.flags.writeable:
                value = value.copy()
        if self._node is None:
            self._grad = value
        else:
            self._node.grad = value

    @property
    def _op(self) -> Function | None:
        """The operation that made this tensor, None for a leaf and once the graph is freed."""
        return None if self._node is None else self._node._op

    @property
    def _inputs(self) -> tuple[Any, ...]:
        return () if self._node is None else self._node._inputs

    def backward(self, grad: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it was computed from.

        Parameters
        ----------
        grad : Tensor or array, optional
            The upstream gradient, of this tensor's shape; ones by default.
        retain_graph : bool
            Keep the graph for another pass. Otherwise it is freed while the pass goes on.

        Raises
        ------
        RuntimeError
            When the tensor does not require grad, its graph was freed, or a value that the
            gradient needs was modified in place; no gradient has been written then.
        """
        from babygrad import engine  # a layer above this one

        engine.backward(self, grad, retain_graph)

    def register_hook(self, hook: Hook) -> Hook:
        """Call `hook(gradient)` when this tensor's gradient is complete, once in each pass.

        The hook may return a Tensor to take the gradient's place.
        """
        if not self._requires_grad:
            raise RuntimeError("register_hook: this tensor does not require grad")
        owner: Any = self if self._node is None else self._node
        owner._hooks = [*(owner._hooks or ()), hook]
        return hook

    def detach(self) -> Tensor:
        """A copy without history, as in the book."""
        return Tensor._wrap(self._data.copy(), self._device)

    # ----- Copies and pickles -----

    def _leaf_state(self, op: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """What a copy of this leaf takes along: attributes and slots, but hooks and version."""
        if self._node is not None:
            raise RuntimeError(
                f"{op}: only leaves can be copied, this tensor is the result of "
                f"{type(self._op).__name__}; call detach() first"
            )
        # A pair, for there are slots; the first is None unless a subclass has attributes besides.
        attributes, slots = _state_of(self)
        own = {name: slots[name] for name in slots.keys() - {"_node", "_hooks", "_version"}}
        return attributes, own

    def __getstate__(self) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        return self._leaf_state("pickle")

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        attributes, slots = state
        for name, value in {**(attributes or {}), **slots}.items():
            setattr(self, name, value)
        self._data = unpickled(self._data)
        self._grad = None if self._grad is None else unpickled(self._grad)
        self._node, self._hooks, self._version = None, None, [0]

    def __copy__(self) -> Self:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        state = self._leaf_state("deepcopy")
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(state, memo))
        return twin

    __hash__ = object.__hash__


autograd._bind_tensor_type(Tensor)
_state_of: Any = object.__getstate__

# Python's own messages begin with this name: what the user called is Tensor.rand.
for _member in [*vars(TensorFactories).values(), *vars(TensorOutward).values()]:
    _function = getattr(_member, "__func__", _member)
    if isinstance(_function, FunctionType):
        _function.__qualname__ = f"Tensor.{_function.__name__}"


def tensor(
    data: Any, *, device: str | None = None, dtype: Any = "float32", requires_grad: bool = False
) -> Tensor:
    """`Tensor(data, ...)` as a function, also under the name `babygrad.tensor`.

    Examples
    --------
    >>> import babygrad
    >>> babygrad.tensor([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """
    return Tensor(data, device=device, dtype=dtype, requires_grad=requires_grad)


class _CallableModule(ModuleType):
    """`babygrad.tensor` is this module, as in the book, and calling it is calling its `tensor`."""

    def __call__(
        self,
        data: Any,
        *,
        device: str | None = None,
        dtype: Any = "float32",
        requires_grad: bool = False,
    ) -> Tensor:
        """`Tensor(data, ...)`; see `tensor`."""
        return tensor(data, device=device, dtype=dtype, requires_grad=requires_grad)


sys.modules[__name__].__class__ = _CallableModule


def zeros_like(a: Tensor, *, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape, dtype and device of `a`."""
    return Tensor._wrap(np.zeros_like(a._data), a._device).requires_grad_(requires_grad)


def ones_like(a: Tensor, *, requires_grad: bool = False) -> Tensor:
    """Ones of the shape, dtype and device of `a`."""
    return Tensor._wrap(np.ones_like(a._data), a._device).requires_grad_(requires_grad)


def from_numpy(array: NDArray, *, device: str | None = None) -> Tensor:
    """A tensor that shares the memory of `array`: a write to one is seen in the other.

    Raises
    ------
    TypeError
        When `array` is no numpy array, or not one of numbers in the machine's byte order.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a numpy array, got {type(array).__name__}")
    dtype = as_dtype(checked("from_numpy", array).dtype, "from_numpy")
    if dtype != array.dtype or not array.flags.aligned:
        raise TypeError(
            "from_numpy: the array is unaligned or byte-swapped and cannot be shared; "
            "use Tensor(array, dtype=None), which copies"
        )
    # The dtype of an array that was unpickled equals the one that tensors have, and is another.
    shared = array.view(np.ndarray) if array.dtype is dtype else array.view(dtype, np.ndarray)
    return Tensor._wrap(shared, current() if device is None else find(device))


def from_dlpack(source: Any, *, device: str | None = None) -> Tensor:
    """A tensor that shares the memory of any object with `__dlpack__`, such as a torch tensor.

    Examples
    --------
    >>> import babygrad, numpy
    >>> babygrad.from_dlpack(numpy.arange(3.0)).tolist()
    [0.0, 1.0, 2.0]
    """
    return from_numpy(exchanged(source), device=device)
