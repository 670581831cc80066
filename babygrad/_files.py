"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a file beside `path` and move it there when it is safe on the disk.

    The other file's name is random: saves at the same time, and what a killed one has left, are in
    nobody's way. A symbolic link stays, and the file that it points to is replaced; a file that is
    replaced keeps its mode. What is no regular file, such as a terminal, is written to.

    Raises
    ------
    OSError
        Naming `path`; there is no other file then, and the old one is as it was.
    """
    try:
        _replace(path, content)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _replace(path: Path, content: bytes) -> None:
    mode = _mode(path)
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if mode is not None and not stat.S_ISREG(mode):
        path.write_bytes(content)
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    temporary = path.with_name(f".babygrad-{secrets.token_hex(8)}.tmp")
    file = open(temporary, "xb")  # noqa: SIM115 - only what was made here may be removed
    try:
        with file:
            file.write(content)
            file.flush()
            if mode is not None:  # else it follows the umask
                os.chmod(temporary, stat.S_IMODE(mode))
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _mode(path: Path) -> int | None:
    """The kind and permissions of the file that `path` leads to, None when there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make the new name safe too, where the system can: some open or sync no folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
