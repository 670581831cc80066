"""`Module` and `Parameter`: layers, what they learn, and how a model's state is read and written.

A module is any object with a `forward`. What belongs to it is found, not registered: parameters,
buffers and layers are looked up in its attributes and in the lists, tuples and dicts among them,
so that a subclass works even if it forgot `super().__init__()`. What is a buffer is decided once,
when the constructor has returned.
"""

from __future__ import annotations

import inspect
import os
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any, ClassVar, Self, TypeGuard

from babygrad.device import find
from babygrad.nn._state import Layout, LoadReport, load_into
from babygrad.tensor import NDArray, Tensor

# Types of settings, which are most attributes and hold no tensor.
_SETTINGS = frozenset((bool, int, float, str, type(None)))
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


class ModuleType(ABCMeta):
    """The class of module classes: notes the buffers when a constructor has returned.

    It derives from ABCMeta so that a module can be an abstract base class too.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if (args or kwargs) and cls.__init__ is Module.__init__:  # type: ignore[misc]
            given = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
            raise TypeError(f"{cls.__name__}: takes no arguments, but got {', '.join(given)}")
        module = super().__call__(*args, **kwargs)
        module._note_buffers()
        return module

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of `__init__`, which `inspect` would take from `__call__` otherwise."""
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=[*signature.parameters.values()][1:])


class Module(metaclass=ModuleType):
    """The base class of layers and models.

    A subclass creates its parameters and layers in `__init__` and computes in `forward`; the module
    is then called like a function. Errors that `forward` raises name the layer by its path from the
    module that was called.

    What a model's state is, which `state_dict` and `save` contain:

    - Parameters. An attribute that is a `Parameter` is learned, whenever it was set.
    - Buffers, which are not learned. An attribute that was a Tensor when `__init__` returned, no
      Parameter and without a graph, is a buffer; so is what `register_buffer` sets. It stays one
      when `forward` replaces it. The same holds for lists, tuples and dicts, by their entries.

    Any other Tensor is no state: a hidden state that was None in `__init__`, a list of losses, what
    is set from outside once the module exists (`model.extra = tensor`; use `register_buffer`).

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
    # The parameters that PyTorch's layer of this name stores in another layout.
    layouts: ClassVar[Mapping[str, Layout]] = {}
    _buffer_names: frozenset[str] = frozenset()

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
            if value.__class__ in _SETTINGS:
                continue
            if isinstance(value, Tensor | Module):
                yield name, value
            elif isinstance(value, list | tuple):
                stack += [(f"{name}.{i}", v) for i, v in reversed([*enumerate(value)])]
            elif isinstance(value, dict):
                stack += [(f"{name}.{k}", v) for k, v in reversed(value.items())]

    def _note_buffers(self) -> None:
        """Make a buffer of every Tensor held directly that is no Parameter and has no graph."""
        names = {
            name
            for name, value in self._members()
            if isinstance(value, Tensor) and value._node is None and not _is_parameter(value)
        }
        if names:
            self._buffer_names |= names

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
        """Parameters and buffers, under every name they have, in the order of the attributes."""
        for name, value in self._members():
            if isinstance(value, Module):
                if value is not self and not any(value is module for module in above):
                    yield from value._named_tensors(f"{prefix}{name}.", (*above, self))
            elif _is_parameter(value) or name in self._buffer_names:
                yield prefix + name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters, each once, under the first of its names."""
        return _unique((n, t) for n, t in self._named_tensors() if _is_parameter(t))

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that are state and not learned, such as running averages; each once."""
        return _unique((n, t) for n, t in self._named_tensors() if not _is_parameter(t))

    def buffers(self) -> list[Tensor]:
        """The buffers, each once."""
        return [buffer for _, buffer in self.named_buffers()]

    def register_buffer(self, name: str, tensor: Tensor | None) -> None:
        """Set an attribute that is state and not learned; the tensor stops requiring grad.

        With None the name is registered: a Tensor that is set later is saved.
        """
        if isinstance(tensor, Parameter) or not isinstance(tensor, Tensor | None):
            raise TypeError(
                f"register_buffer: {name} is a {type(tensor).__name__}; it must be a Tensor "
                "that is no Parameter, or None"
            )
        setattr(self, name, None if tensor is None else tensor.requires_grad_(False))
        self._buffer_names |= {name}

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
        """Move all parameters and buffers, and other tensors without a graph that are kept.

        They stay the same objects, and nothing is copied.
        """
        target = find(device)
        for module in Module.modules(self):
            for _, value in module._members():
                if isinstance(value, Tensor) and value._node is None:
                    value._device = target
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
            In babygrad's layout, which no shape decides: a Linear's weight is (in, out). PyTorch's
            own tensors load too, where its layer has the same layout.
        strict : bool
            Whether every name must be there, and no other. A tensor that the module has under
            several names is there when one of them is.

        Returns
        -------
        LoadReport
            The names that were missing and those that were not expected.

        Raises
        ------
        TypeError
            When `state_dict` is no mapping.
        ValueError
            With every name that is missing, unexpected, of another shape or in PyTorch's layout
            where that is another, and what was probably meant; nothing has been changed then.
        """
        ignored: set[str] = set()
        layouts: dict[int, Layout] = {}
        for path, module in self.named_modules():
            ignored.update(f"{path}.{key}" if path else key for key in module.ignored_keys)
            layouts |= {id(getattr(module, name)): x for name, x in module.layouts.items()}
        tensors = dict(self._named_tensors())
        own = {name: layouts[id(t)] for name, t in tensors.items() if id(t) in layouts}
        return load_into(tensors, state_dict, strict, ignored, own)

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
        """Read parameters and buffers from a safetensors file; see `load_state_dict`.

        What the module does not have is not read, and may be of any type. A file whose metadata
        say that it is PyTorch's, `{"format": "pt"}`, is refused for layers whose layout is another,
        such as Linear; the message has the line that converts each array.
        """
        from babygrad import serialization

        with serialization.Archive(filename) as archive:
            return self.load_state_dict(archive, strict)

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
    return all(isinstance(part, Real | str) for part in parts)


def _is_parameter(tensor: Tensor) -> TypeGuard[Parameter]:
    return isinstance(tensor, Parameter)


def _unique(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
