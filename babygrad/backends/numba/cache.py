"""Where compiled kernels are kept between runs.

The first of these that can be written to: ``$BABYGRAD_CACHE_DIR``, the user's cache folder, a
folder of the user's own in the temporary directory. With none of them kernels are compiled anew in
every process; nothing here ever raises. The folder's name holds the package's version and a hash
of every kernel's source, because Numba itself does not notice a change in a function that a
kernel calls (numba/numba#9483).
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from numba.core import caching

from babygrad._environment import CACHE_FOLDER

_log = logging.getLogger("babygrad")


def attach(dispatcher: Any) -> None:
    """Let a Numba dispatcher load and save its machine code in `folder`, where there is one."""
    try:
        if folder() is not None:
            dispatcher._cache = _Cache(dispatcher.py_func)
    except Exception as error:  # Numba's caching is not a public interface: go without
        _log.debug("kernels are not cached: %s", error)


@cache
def folder() -> Path | None:
    """The folder of this version's kernels, or None when nothing can be written."""
    for parent in _candidates():
        path = parent / f"numba-{_version()}-{sources_hash(Path(__file__).parent)}"
        if _usable(path):
            return path
    _log.debug("kernels are not cached: no folder can be written; set BABYGRAD_CACHE_DIR to one")
    return None


def sources_hash(package: Path) -> str:
    """16 hexadecimal digits that change when a source file of the package does."""
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _version() -> str:
    try:
        return metadata.version("babygrad")
    except metadata.PackageNotFoundError:
        return "source"


def _candidates() -> Iterator[Path]:
    if CACHE_FOLDER is not None:
        yield CACHE_FOLDER
    users = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or ""
    # A relative one counts as not set: it would move with the current folder.
    yield Path(users if os.path.isabs(users) else os.path.expanduser("~/.cache")) / "babygrad"
    try:
        yield Path(tempfile.gettempdir()) / f"babygrad-{_user()}"
    except OSError:
        return


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _usable(path: Path) -> bool:
    """Whether the folder can be written and is this user's: machine code is loaded from it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
    except OSError:
        return False


class _Locator(caching._CacheLocator):
    def __init__(self, line: int) -> None:
        self._line = line

    def get_cache_path(self) -> str:
        return str(folder())

    def get_source_stamp(self) -> str:
        return ""  # the folder's name is the stamp

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls(py_func.__code__.co_firstlineno)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes: Any = (_Locator,)


class _Cache(caching.FunctionCache):
    """Numba's cache of one function; a file that cannot be read or written counts as absent."""

    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:
            _log.debug("kernel %s is compiled anew: %s", self._name, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _log.debug("kernel %s is not cached: %s", self._name, error)
