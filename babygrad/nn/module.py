"""`Module` and `Parameter`: layers, what they learn, and how a model's state is read and written.

A module is any object with a `forward`. What belongs to it is found, not registered: parameters,
buffers and layers are looked up in its attributes and in the lists, tuples and dicts among them,
so that a subclass works even if it forgot `super().__init__()`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from babygrad.device import find
from babygrad.nn._state import LoadReport, load_into
from babygrad.tensor import NDArray, Tensor

_LOCATED = ValueError, TypeError, IndexError, RuntimeError


class Parameter(Tensor):
    """A tensor that a module learns: an optimizer finds it in `parameters()`.

    Parameters
    ----------
    data : Tensor, array or list
        The initial values, which are copied. A Tensor keeps its dtype, anything else is cast to
        float32 unless `dtype` says otherwise.
    """

    __slots__ = ()

    def __init__(
        self,
        data: Any,
        *,
        device: str | None = None,
        dtype: Any = None,
        requires_grad: bool = True,
    ) -> None:
        if dtype is None:
            dtype = data.dtype if isinstance(data, Tensor) else "float32"
        super().__init__(data, device=device, dtype=dtype, requires_grad=requires_grad)


class Module:
    """The base class of layers and models.

    A subclass creates its parameters and layers in `__init__` and computes in `forward`; the module
    is then called like a function. An attribute that is a `Parameter` is learned. Any other Tensor
    without a graph is a buffer: saved with the model and not learned. Errors that `forward` raises
    name the layer by its path from the module that was called.

    Examples
    --------
    >>> from babygrad import Tensor, nn
    >>> class Model(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layers = [nn.Linear(3, 8), nn.Linear(8, 2)]
    ...     def forward(self, x):
    ...         return self.layers[1](self.layers[0](x).relu())
    >>> model = Model()
    >>> [name for name, _ in model.named_parameters()]
    ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
    >>> model(Tensor.ones(4, 3)).shape
    (4, 2)
    """

    training = True
    # Keys of other libraries' files that say nothing to this layer.
    ignored_keys: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.forward(*args, **kwargs)
        except _LOCATED as error:
            self._locate(error)
            raise

    def _locate(self, error: Any) -> None:
        """Begin the error's message with the path from this module to the one that raised it.

        Every module that the error passes on its way out does this anew, so that the path begins
        where the user called.
        """
        if not hasattr(error, "_layer"):
            error._layer, error._sentence = self, str(error)
        for path, module in self.named_modules():
            if path and module is error._layer:
                error.args = (f"in {path} ({type(module).__name__}): {error._sentence}",)
                return

    # ----- What belongs to it -----

    def _attributes(self) -> Mapping[str, Any]:
        return vars(self)

    def _members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """The tensors and modules held directly, also inside lists, tuples and dicts."""
        stack = [(str(k), v) for k, v in reversed([*self._attributes().items()])]
        while stack:
            name, value = stack.pop()
            if isinstance(value, Tensor | Module):
                yield name, value
            elif isinstance(value, list | tuple):
                stack += [(f"{name}.{i}", v) for i, v in reversed([*enumerate(value)])]
            elif isinstance(value, dict):
                stack += [(f"{name}.{k}", v) for k, v in reversed(value.items())]

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module, under the name `prefix`, and all below it, each once, parents first."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(n, m) for n, m in module._members() if isinstance(m, Module)]
            stack += [(f"{path}.{n}" if path else n, m) for n, m in reversed(below)]

    def modules(self) -> Iterator[Module]:
        """The module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named_tensors(
        self, prefix: str = "", above: tuple[Module, ...] = ()
    ) -> Iterator[tuple[str, Tensor]]:
        """Every tensor without a graph, under every name it has, in the order of the attributes."""
        for name, value in self._members():
            if isinstance(value, Module):
                if value is not self and not any(value is module for module in above):
                    yield from value._named_tensors(f"{prefix}{name}.", (*above, self))
            elif value._node is None:
                yield prefix + name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters, each once, under the first of its names."""
        return _unique((n, t) for n, t in self._named_tensors() if isinstance(t, Parameter))

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that are state and not learned, such as running averages; each once."""
        return _unique((n, t) for n, t in self._named_tensors() if not isinstance(t, Parameter))

    def buffers(self) -> list[Tensor]:
        """The buffers, each once."""
        return [buffer for _, buffer in self.named_buffers()]

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """Set an attribute that is state and not learned; it stops requiring grad."""
        if isinstance(tensor, Parameter) or not isinstance(tensor, Tensor | None):
            raise TypeError(
                f"register_buffer: {name} is a {type(tensor).__name__}; it must be a Tensor "
                "that is no Parameter, or None"
            )
        setattr(self, name, None if tensor is None else tensor.requires_grad_(False))

    # ----- What it does to all of them -----

    def train(self, mode: bool = True) -> Self:
        """Set `training`, which dropout and batch normalization read, here and below."""
        for module in Module.modules(self):
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module below this one, and on it, children first."""
        for module in reversed([*Module.modules(self)]):
            function(module)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Make all parameters learn, or none."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, device: str) -> Self:
        """Move all parameters and buffers; they stay the same objects, and nothing is copied."""
        target = find(device)
        for _, tensor in self._named_tensors():
            tensor._device = target
        return self

    def zero_grad(self) -> None:
        """Forget all gradients: `.grad` becomes None."""
        for parameter in self.parameters():
            parameter.grad = None

    # ----- State -----

    def state_dict(self) -> dict[str, NDArray]:
        """Copies of all parameters and buffers, by name."""
        return {name: tensor.numpy() for name, tensor in self._named_tensors()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Copy values into the parameters and buffers, which stay the same objects.

        Parameters
        ----------
        state_dict : mapping of str to array or Tensor
        strict : bool
            Whether every name must be there, and no other.

        Returns
        -------
        LoadReport
            The names that were missing and those that were not expected.

        Raises
        ------
        ValueError
            With every name that is missing, unexpected or of another shape, and what was probably
            meant; the module has not been changed then.
        """
        ignored = {
            f"{path}.{key}" if path else key
            for path, module in self.named_modules()
            for key in module.ignored_keys
        }
        given = {key: value for key, value in state_dict.items() if key not in ignored}
        return load_into(dict(self._named_tensors()), given, strict)

    def save(
        self,
        filename: str | os.PathLike[str],
        metadata: dict[str, str] | None = None,
        dtype: str | None = None,
    ) -> None:
        """Write all parameters and buffers to a safetensors file, whole or not at all.

        With `dtype="bfloat16"` or `"float16"` it has half the size; see `serialization.save_file`.
        """
        from babygrad import serialization

        arrays = {name: tensor._data for name, tensor in self._named_tensors()}
        serialization.save_file(arrays, filename, metadata, dtype)

    def load(self, filename: str | os.PathLike[str], strict: bool = True) -> LoadReport:
        """Read parameters and buffers from a safetensors file; see `load_state_dict`."""
        from babygrad import serialization

        return self.load_state_dict(serialization.load_file(filename), strict)

    # ----- As text -----

    def extra_repr(self) -> str:
        """What `repr` shows between the parentheses: by default the settings that are numbers."""
        return ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name[0] != "_" and name != "training" and _is_setting(value)
        )

    def __repr__(self) -> str:
        return "\n".join(self._tree("", ()))

    def _tree(self, label: str, above: tuple[Module, ...]) -> Iterator[str]:
        """The lines of `repr`: a layer in one, a module with modules in an indented block."""
        below = [(n, m) for n, m in self._members() if isinstance(m, Module)]
        below = [(n, m) for n, m in below if m is not self and not any(m is a for a in above)]
        head = f"{label}{type(self).__name__}({self.extra_repr()}"
        if not below:
            yield head + ")"
            return
        yield head
        for name, module in below:
            for line in module._tree(f"({name}): ", (*above, self)):
                yield "  " + line
        yield ")"


def _is_setting(value: Any) -> bool:
    parts = value if isinstance(value, tuple) and value else (value,)
    return all(isinstance(part, bool | int | float | str) for part in parts)


def _unique(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
