"""A save replaces a file whole or not at all, whatever else happens in its folder."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babygrad import nn
from babygrad.serialization import load_file, save_file


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_a_killed_save_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """Killed while it writes, then saved again by a process that has the same id."""
    code = (
        "import os, sys, numpy, babygrad.serialization as s\n"
        "os.fsync = lambda f: (print('writing', flush=True), sys.stdin.read())\n"
        "s.save_file({'w': numpy.zeros(1000)}, sys.argv[1])\n"
    )
    path = tmp_path / "w.safetensors"
    save_file({"w": np.ones(3)}, path)
    for _ in range(2):
        program = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert program.stdout is not None
        assert program.stdout.readline() == b"writing\n"
        program.send_signal(signal.SIGKILL)
        program.communicate()
    assert load_file(path)["w"].tolist() == [1.0, 1.0, 1.0]
    left = set(names(tmp_path)) - {path.name}
    assert len(left) == 2
    save_file({"w": np.zeros(2)}, path)
    assert load_file(path)["w"].tolist() == [0.0, 0.0]
    assert set(names(tmp_path)) - {path.name} == left


def test_the_process_id_does_not_name_the_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    for old in (".w.7.tmp", ".7.tmp", "w.7.tmp"):
        (tmp_path / old).write_bytes(b"old")
    save_file({"w": np.ones(1)}, tmp_path / "w")
    assert all((tmp_path / old).read_bytes() == b"old" for old in (".w.7.tmp", ".7.tmp"))


def test_threads_that_save_to_one_path_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "w"
    start = threading.Barrier(8)

    def save(i: int) -> None:
        start.wait()
        for _ in range(10):
            save_file({"w": np.full(20_000, i)}, path)
            found = load_file(path)["w"]
            assert (found == found[0]).all()

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(save, i) for i in range(8)]:
            done.result()
    assert names(tmp_path) == ["w"]


def test_processes_that_save_to_one_path_all_succeed(tmp_path: Path) -> None:
    code = (
        "import sys, numpy, babygrad.serialization as s\n"
        "for _ in range(20): s.save_file({'w': numpy.full(9000, int(sys.argv[2]))}, sys.argv[1])\n"
    )
    programs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "w"), str(i)])
        for i in range(3)
    ]
    assert [program.wait(60) for program in programs] == [0, 0, 0]
    found = load_file(tmp_path / "w")["w"]
    assert found.shape == (9000,)
    assert (found == found[0]).all()
    assert names(tmp_path) == ["w"]


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    target, link = tmp_path / "there" / "w", tmp_path / "here" / "latest"
    link.symlink_to(Path("..") / "there" / "w")
    for values in ([1.0], [2.0, 3.0]):  # first it leads nowhere
        save_file({"w": np.array(values)}, link)
        assert link.is_symlink()
        assert not target.is_symlink()
        assert load_file(target)["w"].tolist() == values
    assert names(tmp_path / "here") == ["latest"]
    assert names(tmp_path / "there") == ["w"]
    second = tmp_path / "second"
    second.symlink_to(link)
    save_file({"w": np.zeros(1)}, second)
    assert second.is_symlink()
    assert link.is_symlink()
    assert load_file(target)["w"].tolist() == [0.0]


def test_links_in_a_circle_raise_and_stay(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.symlink_to(b)
    b.symlink_to(a)
    with pytest.raises(OSError, match=r"'.*a'$"):
        save_file({"w": np.ones(1)}, a)
    assert names(tmp_path) == ["a", "b"]
    assert a.is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o664, 0o444])
def test_a_replaced_file_keeps_its_mode(permissions: int, umask: int, tmp_path: Path) -> None:
    path, link = tmp_path / "w", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(permissions)
    link.symlink_to(path)
    for name in (path, link):
        save_file({"w": np.ones(1)}, name)
        assert mode(path) == permissions
    save_file({"w": np.ones(1)}, tmp_path / "new")
    assert mode(tmp_path / "new") == 0o666 & ~umask


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "模" * 85, "." + "a" * 254])
def test_the_longest_legal_name_works(name: str, tmp_path: Path) -> None:
    for values in (np.ones(2), np.zeros(3)):
        save_file({"w": values}, tmp_path / name)
        np.testing.assert_array_equal(load_file(tmp_path / name)["w"], values)
    assert names(tmp_path) == [name]
    with pytest.raises(OSError, match="name too long"):
        save_file({"w": np.ones(1)}, tmp_path / (name + "aa"))
    assert names(tmp_path) == [name]


def test_relative_paths_with_a_folder_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("w", "./v", "sub/w", "sub/../x"):
        nn.Linear(2, 3).save(name)
        assert nn.Linear(2, 3).load(name) == ([], [])
    assert names(tmp_path) == ["sub", "v", "w", "x"]


class Disk(Exception):
    """What stands for an error of the system."""


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), Disk()])
def test_a_failure_removes_only_what_the_save_has_made(
    failing: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "w", tmp_path / ".babygrad-0.tmp"
    save_file({"w": np.ones(3)}, path)
    other.write_bytes(b"mine")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(type(error)):
            save_file({"w": np.zeros(3)}, path)
    assert names(tmp_path) == [other.name, "w"]
    assert other.read_bytes() == b"mine"
    assert load_file(path)["w"].tolist() == [1.0, 1.0, 1.0]


def test_a_temporary_name_that_exists_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "00")
    (tmp_path / ".babygrad-00.tmp").write_bytes(b"another's")
    with pytest.raises(FileExistsError):
        save_file({"w": np.zeros(3)}, tmp_path / "w")
    assert (tmp_path / ".babygrad-00.tmp").read_bytes() == b"another's"


def test_errors_name_the_file_that_was_to_be_saved(tmp_path: Path) -> None:
    for path, error in (
        (tmp_path / "gone" / "w", FileNotFoundError),
        (tmp_path, IsADirectoryError),
    ):
        with pytest.raises(error) as caught:
            save_file({"w": np.ones(1)}, path)
        assert str(caught.value).endswith(f": {str(path)!r}")
    assert not names(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_raises(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match=r"w'$"):
        save_file({"w": np.ones(1)}, folder / "w")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_devices_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        save_file({"w": np.ones(1)}, "/dev/full")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        content = pool.submit(fifo.read_bytes)
        save_file({"w": np.ones(1)}, fifo)
        (tmp_path / "w").write_bytes(content.result())
    assert load_file(tmp_path / "w")["w"].tolist() == [1.0]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_the_file_and_its_folder_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda f: (synced.append(stat.S_IFMT(os.fstat(f).st_mode)), sync(f))
    )
    save_file({"w": np.ones(1)}, tmp_path / "w")
    assert synced == [stat.S_IFREG, stat.S_IFDIR]
