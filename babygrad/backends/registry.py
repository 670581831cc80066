"""Finds backends by name and loads each on its first use.

A backend is a `Backend` subclass that a package registers as an entry point of the group
``babygrad.backends``; babygrad's own three are in a table here too, because a source checkout has
no metadata. Nothing is imported for a backend before its name is asked for.

    resolve("cpu:numba")    the backend of a device string
    get("numba")            the same by the backend's name
    available()             which backends load, and why the others do not
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babygrad.dtypes import as_dtype

if TYPE_CHECKING:
    from babygrad.backends.base import Backend

GROUP = "babygrad.backends"
BUILTIN = {
    "cpp": "babygrad.backends.cpp:CppBackend",
    "numba": "babygrad.backends.numba:NumbaBackend",
    "numpy": "babygrad.backends.numpy:NumpyBackend",
}
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent

_lock = threading.RLock()
_loaded: dict[str, Backend] = {}


def resolve(device: str) -> Backend:
    """The backend of ``"cpu:<name>"``; ``"cpu"`` is cpp if it loads, else numpy.

    Raises
    ------
    ValueError
        No backend has that name; the message lists those there are.
    RuntimeError
        The backend exists and does not load; the message says why and what helps.
    """
    if device == "cpu":
        return _best()
    kind, _, name = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind != "cpu" or not (name in BUILTIN or name in names()):
        known = ", ".join(devices())
        if hasattr(device, "__array__") and not isinstance(device, type):
            # A tensor or an array has a dtype, but names none; it may be large, and is not shown.
            raise ValueError(f"unknown device of type {type(device).__name__}: there are {known}")
        if _is_type(device):
            raise ValueError(f"{device!r} is a type, to which astype casts; devices are {known}")
        raise ValueError(f"unknown device {device!r}: there are {known}")
    return get(name)


def _is_type(name: Any) -> bool:
    """Whether what should name a device names a dtype, as `to` of other libraries may."""
    try:
        return name is not None and bool(as_dtype(name))
    except TypeError:
        return False


def get(name: str) -> Backend:
    """The backend called ``name``, loaded now if it has not been; errors as for `resolve`."""
    backend = _loaded.get(name)
    if backend is None:
        with _lock:
            backend = _loaded.get(name) or _loaded.setdefault(name, _load(name))
    return backend


def names() -> list[str]:
    """The backends there are, whether they load or not, in alphabetical order."""
    return sorted({*BUILTIN, *(point.name for point in _entry_points())})


def devices() -> list[str]:
    """The device strings there are, whether their backends load or not."""
    return ["cpu", *(f"cpu:{name}" for name in names())]


def available() -> dict[str, str | None]:
    """For each backend None if it loads, else the reason why not. Loads them all."""
    reasons: dict[str, str | None] = {}
    for name in names():
        try:
            get(name)
            reasons[name] = None
        except RuntimeError as error:
            reasons[name] = str(error)
    return reasons


def _best() -> Backend:
    """cpp, or numpy, which starts at once, where Numba would compile for seconds."""
    try:
        return get("cpp")
    except RuntimeError as error:
        if "numpy" not in _loaded and not _built_without_extension():
            warnings.warn(f'"cpu" falls back to cpu:numpy: {error}', RuntimeWarning, stacklevel=4)
        return get("numpy")


def _load(name: str) -> Backend:
    from babygrad.backends.base import Backend, missing_members

    load, source = _find(name)
    try:
        backend = load()
    except Exception as error:
        raise RuntimeError(f"cpu:{name} does not load: {_reason(name, source, error)}") from error
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise RuntimeError(
            f"cpu:{name} does not load: {source} is {backend!r}, "
            "which is not a subclass of babygrad.backends.base.Backend"
        )
    missing = missing_members(backend)
    if missing:
        raise RuntimeError(
            f"cpu:{name} is refused: {source} lacks the required members {', '.join(missing)}"
        )
    return backend()


def _find(name: str) -> tuple[Callable[[], Any], str]:
    """What loads the backend, and where that is found."""
    if name in BUILTIN:
        source = BUILTIN[name]
        module, _, attribute = source.partition(":")
        return lambda: getattr(importlib.import_module(module), attribute), source
    points = [point for point in _entry_points() if point.name == name]
    if not points:
        raise ValueError(f"unknown backend {name!r}: there are {', '.join(names())}")
    if len({point.value for point in points}) > 1:
        sources = " and ".join(sorted(point.value for point in points))
        raise RuntimeError(f"cpu:{name} is registered twice, by {sources}: uninstall one of them")
    return points[0].load, points[0].value


def _entry_points() -> list[Any]:
    from importlib.metadata import entry_points  # 10 ms that a known name does not pay

    return [point for point in entry_points(group=GROUP) if point.name not in BUILTIN]


# ----- Why a backend does not load, and the cure -----


def _reason(name: str, source: str, error: Exception) -> str:
    if name == "cpp" and not _has_extension():
        return _why_no_extension()
    if name == "cpp" and isinstance(error, ImportError) and error.name is None:
        # The extension's own: nothing that a user installs would help.
        return str(error.__cause__ or error)
    if name == "numba" and isinstance(error, ImportError) and find_spec("numba") is None:
        return "numba is not installed (cure: pip install numba)"
    cure = _CURES.get(name, "reinstall the package that provides it")
    text = " ".join(str(error).split())
    return f"{source} raised {type(error).__name__}: {text} (cure: {cure})"


_CURES = {
    "cpp": "pip install .",
    "numba": "pip install --force-reinstall numba llvmlite",
    "numpy": "pip install .",
}


def _has_extension() -> bool:
    return find_spec("babygrad._core") is not None


def _installed_elsewhere() -> Path | None:
    """The installed babygrad with a compiled extension, when it is not the one imported."""
    from importlib.metadata import distributions

    for distribution in distributions(name="babygrad"):
        folder = Path(str(distribution.locate_file("babygrad"))).resolve()
        if folder != PACKAGE_FOLDER and any(folder.glob("_core.*")):
            return folder
    return None


def _built_without_extension() -> bool:
    """Whether doing without cpp is what the installation meant, so that no warning is due."""
    if _has_extension():
        return False
    missing = _left_out()
    return _installed_elsewhere() is None if missing is None else not missing.FAILED


def _left_out() -> Any:
    """What the installation says about the extension that it left out (cmake/leave_out.cmake)."""
    name = "babygrad._core_missing"
    return importlib.import_module(name) if find_spec(name) else None


def _why_no_extension() -> str:
    missing = _left_out()
    installed = _installed_elsewhere() if missing is None else None
    if installed is None:
        why = "" if missing is None else f", because {missing.REASON}"
        return (
            f"{PACKAGE_FOLDER} has no compiled extension babygrad._core{why} "
            "(cure: install with GCC 10, Clang 13 or newer, C++17, pip install .)"
        )
    return (
        f"babygrad is imported from the source folder {PACKAGE_FOLDER}, which has no compiled "
        f"extension; the installed one is {installed} (cure: start Python in another folder, "
        "or pip install -e .)"
    )
