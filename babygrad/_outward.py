"""The ways out of a Tensor: to numpy, to DLPack, to Python numbers and to text."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from babygrad.dtypes import FLOAT32, DType

NDArray = np.ndarray


class TensorOutward:
    """Conversions of a tensor to everything else; a base class of `Tensor`."""

    __slots__ = ()

    if TYPE_CHECKING:
        _data: NDArray
        _requires_grad: bool

        @property
        def shape(self) -> tuple[int, ...]: ...
        @property
        def dtype(self) -> DType: ...
        @property
        def size(self) -> int: ...
        @property
        def device(self) -> str: ...

        def __getitem__(self, index: Any) -> Any: ...

    def numpy(self) -> NDArray:
        """A copy of the values as a numpy array."""
        return self._data.copy()

    def item(self) -> Any:
        """The only element as a Python number; raises unless there is exactly one."""
        if self._data.size != 1:
            raise ValueError(
                f"item: a tensor of shape {self.shape} has {self.size} elements, not 1"
            )
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(
                f"bool: the truth of a tensor of shape {self.shape} is ambiguous; "
                "use any() or all()"
            )
        return bool(self._data.item())

    def __index__(self) -> int:
        return operator.index(self.item())

    def __len__(self) -> int:
        if self._data.ndim == 0:
            raise TypeError("len: a tensor of shape () has no length")
        return len(self._data)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        if self._requires_grad:
            raise RuntimeError(
                "__array__: a tensor that requires grad would lose its graph in numpy; "
                "call detach() first, or read .data"
            )
        array = self._data.view()
        array.flags.writeable = False
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(
                    f"__array__: copy=False, but {array.dtype} to {dtype} needs a copy"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        if self._requires_grad:
            raise BufferError("__dlpack__: this tensor requires grad; call detach() first")
        array = self._data
        if min(array.strides, default=0) < 0:
            # numpy would share it, and PyTorch, which has no such strides, end the process.
            if options.get("copy") is False:
                raise BufferError(
                    f"__dlpack__: copy=False, but a tensor with negative strides {array.strides} "
                    "needs a copy"
                )
            array = array.copy()
        return array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def __repr__(self) -> str:
        values = np.array2string(self._data, separator=", ", prefix="Tensor(")
        parts = [values]
        if self.dtype != FLOAT32:
            parts.append(f"dtype={self.dtype}")
        if self.device != "cpu":
            parts.append(f"device={self.device!r}")
        if self._requires_grad:
            parts.append("requires_grad=True")
        return f"Tensor({', '.join(parts)})"

    def __str__(self) -> str:
        return str(self._data)

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self._data.size != 1:
            raise TypeError(
                f"format: {spec!r} formats one number; a tensor of shape {self.shape} "
                f"has {self.size} elements"
            )
        return format(self._data.item(), spec)
