"""Modules made of modules: `Sequential`, `Residual`, `ModuleList`, `ModuleDict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from babygrad.nn.module import Module
from babygrad.tensor import Tensor


class _Layers(tuple[Module, ...]):
    """The layers of a Sequential: the book's `model.modules[0]`, and every Module's `modules()`."""

    owner: Module

    def __call__(self) -> Iterator[Module]:
        return Module.modules(self.owner)


class Sequential(Module):
    """Modules applied one after another.

    Parameters
    ----------
    *modules : Module

    Notes
    -----
    `model.modules` is the tuple of the layers, and its keys in a state dict are `modules.0.weight`,
    as in the book; `model.modules()` goes through all modules below, as for every Module. The
    layers are also there as `model[0]`, `len(model)` and `for layer in model`.

    Examples
    --------
    >>> from babygrad import Tensor, nn
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model(Tensor.ones(5, 3)).shape
    (5, 2)
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            _check_module("Sequential", i, module)
        # Under the book's name; the property below takes precedence over it.
        self.__dict__["modules"] = modules

    @property
    def modules(self) -> _Layers:
        layers = _Layers(self.__dict__["modules"])
        layers.owner = self
        return layers

    def forward(self, x: Any) -> Any:
        for module in self.__dict__["modules"]:
            x = module(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        chosen = self.__dict__["modules"][index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen

    def __len__(self) -> int:
        return len(self.__dict__["modules"])

    def __iter__(self) -> Iterator[Module]:
        return iter(self.__dict__["modules"])


class Residual(Module):
    """`fn(x) + x`: a module with a connection around it (He et al., 2016)."""

    def __init__(self, fn: Module) -> None:
        super().__init__()
        if not callable(fn):
            raise TypeError(f"Residual: fn is a {type(fn).__name__}, not a Module")
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fn(x) + x
        return y


class Identity(Module):
    """Gives back what it gets; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class ModuleList(Module):
    """A list of modules. Its keys in a state dict are `0.weight`, as in PyTorch."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self._list: list[Module] = []
        self.extend(modules)

    def _attributes(self) -> Mapping[str, Any]:
        return {str(i): module for i, module in enumerate(self._list)}

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        _check_module("ModuleList", len(self._list), module)
        self._list.append(module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def __getitem__(self, index: int | slice) -> Any:
        return ModuleList(self._list[index]) if isinstance(index, slice) else self._list[index]

    def __setitem__(self, index: int, module: Module) -> None:
        _check_module("ModuleList", index, module)
        self._list[index] = module

    def __len__(self) -> int:
        return len(self._list)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._list)


class ModuleDict(Module):
    """Modules by name. Its keys in a state dict are `name.weight`, as in PyTorch."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self._dict: dict[str, Module] = {}
        for name, module in (modules or {}).items():
            self[name] = module

    def _attributes(self) -> Mapping[str, Any]:
        return self._dict

    def keys(self) -> Iterable[str]:
        """The names, in the order of insertion."""
        return self._dict.keys()

    def values(self) -> Iterable[Module]:
        """The modules, in the order of insertion."""
        return self._dict.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules, in the order of insertion."""
        return self._dict.items()

    def __getitem__(self, name: str) -> Module:
        return self._dict[name]

    def __setitem__(self, name: str, module: Module) -> None:
        _check_module("ModuleDict", name, module)
        self._dict[name] = module

    def __delitem__(self, name: str) -> None:
        del self._dict[name]

    def __contains__(self, name: str) -> bool:
        return name in self._dict

    def __len__(self) -> int:
        return len(self._dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict)


def _check_module(container: str, place: int | str, module: Any) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"{container}: entry {place!r} is a {type(module).__name__}, not a Module")
