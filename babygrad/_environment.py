"""What the environment says: the one place that reads the variables called BABYGRAD_something.

An empty value counts as not set, and blanks around a value do not count. A wrong value counts as
not set too, with one warning when babygrad is imported, which names the variable, the value and
what is allowed. Whether there is such a device, or such an instruction set, only their own layers
know: a device is looked up at its first use, and `babygrad._core` asks for the instruction set when
it is loaded.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PREFIX = "BABYGRAD_"


class _Setting(NamedTuple):
    allowed: str
    parse: Callable[[str], Any]  # None for what is not allowed


def _integer(least: int, most: int) -> _Setting:
    def parse(text: str) -> int | None:
        if not (text.isascii() and text.isdigit()):
            return None
        value = int(text.lstrip("0")[:20] or "0")  # 20 digits are enough to be too large
        return value if least <= value <= most else None

    return _Setting(f"an integer from {least} to {most}", parse)


def _one_of(*words: str) -> _Setting:
    return _Setting(" or ".join(words), lambda text: text if text in words else None)


def _folder(text: str) -> Path | None:
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):  # no such user, or one without a home
        return None
    try:
        return Path(os.path.abspath(expanded))
    except OSError:  # a relative path, and the current folder is gone
        return None


_SETTINGS = {
    "CACHE_DIR": _Setting("a path, absolute or of a current or home folder that exists", _folder),
    "CACHE_MB": _integer(0, 10**9),
    "DEVICE": _Setting("a device string", str),
    "ENGINE": _one_of("native", "python"),
    "ISA": _Setting("the name of an instruction set", str),
    "NUM_THREADS": _integer(1, 1024),
    "REQUIRE_CPP": _one_of("0", "1"),
}


def _text(name: str) -> str:
    return os.environ.get(PREFIX + name, "").strip()


def _value(name: str) -> Any:
    """The variable's value, None when it is not set or wrong."""
    text = _text(name)
    return _SETTINGS[name].parse(text) if text else None


def device() -> str | None:
    """The default device; it may be one that there is not, of which `no_such_device` warns."""
    value: str | None = _value("DEVICE")
    return value


def no_such_device(available: Sequence[str]) -> None:
    """Warn that the default device is not one of those available."""
    _warn("DEVICE", f"there are {', '.join(available)}")


def engine() -> str:
    """Which of the two engines runs, "native" or "python"."""
    return _value("ENGINE") or "native"


def num_threads() -> int | None:
    """The number of threads that was asked for."""
    value: int | None = _value("NUM_THREADS")
    return value


def cache_megabytes() -> int:
    """How much freed memory `cpu:cpp` keeps for reuse."""
    value: int | None = _value("CACHE_MB")
    return 512 if value is None else value


def isa(available: Sequence[str]) -> str | None:
    """The instruction set that was asked for, if it is one of those available."""
    wanted: str | None = _value("ISA")
    if wanted is None or wanted in available:
        return wanted
    _warn("ISA", f"this machine has: {', '.join(available)}")
    return None


def _warn(name: str, allowed: str) -> None:
    message = f"{PREFIX}{name} is {os.environ[PREFIX + name]!r}, {allowed}; the default is used"
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _check() -> None:
    """Warn about each wrong value, and about each variable that looks like one misspelt."""
    for name, setting in _SETTINGS.items():
        if _text(name) and _value(name) is None:
            _warn(name, f"allowed is {setting.allowed}")
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in _SETTINGS:
            _ask_about(variable)


def _ask_about(variable: str) -> None:
    from difflib import get_close_matches  # only programs with such a variable wait for it

    close = get_close_matches(variable.removeprefix(PREFIX), _SETTINGS, n=1, cutoff=0.7)
    if close:
        message = f"{variable} is no variable of babygrad's; did you mean {PREFIX}{close[0]}?"
        warnings.warn(message, RuntimeWarning, stacklevel=4)


_check()

CACHE_FOLDER: Path | None = _value("CACHE_DIR")
"""Where `cpu:numba` is to keep its kernels; a later chdir does not move it."""
