"""What the command does when its output or the place for its weights fails: nothing is lost."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from digits import write_digits

import babygrad
from babygrad import cli
from babygrad.models import DigitsMLP

ENVIRONMENT = {**os.environ, "BABYGRAD_DEVICE": "cpu:numpy", "PYTHONUNBUFFERED": ""}
SHORT = ("--model", "mlp", "--epochs", "2")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full or resource limits")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each test has a folder and a temporary folder of its own, and no seed outlives it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    babygrad.manual_seed(None)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    write_digits(folder)
    return folder


def command(*arguments: Any, **changes: str) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-m", "babygrad", *map(str, arguments)],
        "env": {**ENVIRONMENT, "TMPDIR": os.environ["TMPDIR"], **changes},
    }


def run(*arguments: Any, setup: Any = None, **changes: str) -> tuple[int, str, str]:
    """The exit code and output of the command in a process of its own."""
    done = subprocess.run(
        **command(*arguments, **changes), preexec_fn=setup, capture_output=True, timeout=120
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode()


def saved(line: str) -> Path:
    """The file that a line names, which a model can load."""
    path = Path(re.search(r"are saved as (\S+) instead$", line.strip())[1])  # type: ignore[index]
    DigitsMLP().load(path)
    return path


def test_a_name_that_is_too_long_is_shortened(digits: Path, tmp_path: Path) -> None:
    for letter, size in (("a", 300), ("模", 100)):
        name = letter * size + ".safetensors"
        code, out, err = run("train", "--data", digits, *SHORT, "--out", name)
        assert code == 1
        assert err.startswith(f"babygrad train: --out {name}: File name too long; the weights are")
        assert err.count("\n") == 1
        place = saved(err)
        assert place.name == letter * (100 // len(letter.encode())) + ".safetensors"
        assert (tmp_path / "work" / place).exists()
        assert out.endswith(f"saved {place}\n")


def test_the_longest_legal_name_is_used(digits: Path) -> None:
    name = "é" * 121 + ".safetensors"
    code, _, err = run("train", "--data", digits, *SHORT, "--out", name)
    assert (code, err) == (0, "")
    DigitsMLP().load(name)


def losing(folder: Path) -> Any:
    """A training during which a folder goes away."""

    class Trainer(cli.Trainer):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            history = super().fit(*args, **kwargs)
            folder.rmdir()
            return history

    return Trainer


def call(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in ("train", "--device", "cpu:numpy", *SHORT, *arguments)])
    return code, *capsys.readouterr()


def test_a_folder_that_is_gone_costs_no_weights(
    capsys: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go to the current folder, under a name that nothing there has."""
    for name in ("w.safetensors", "w-2.safetensors", "w-3.safetensors"):
        folder = tmp_path / "out"
        folder.mkdir()
        monkeypatch.setattr(cli, "Trainer", losing(folder))
        code, out, err = call(capsys, "--data", digits, "--out", folder / "w.safetensors")
        assert code == 1
        assert f"--out {folder}/w.safetensors: No such file or directory; " in err
        assert err.count("\n") == 1
        assert saved(err) == Path(name)
        assert out.endswith(f"saved {name}\n")
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path / "work")


@linux
def test_a_current_folder_that_is_gone_leaves_the_temporary_one(
    capsys: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "Trainer", losing(tmp_path / "work"))
    code, _, err = call(capsys, "--data", digits)
    assert code == 1
    assert saved(err).is_relative_to(tmp_path / "temporary")
    monkeypatch.chdir(tmp_path)


def test_a_full_disk_is_named_and_nothing_is_left_behind(
    capsys: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = call(capsys, "--data", digits, "--out", "w")
    assert code == 1
    assert err == (
        "babygrad train: --out w: No space left on device; the weights are lost: "
        "the current and the temporary folder did not take them either\n"
    )
    assert out.endswith("samples/s, not saved\n")
    assert not list((tmp_path / "work").iterdir())
    assert not list((tmp_path / "temporary").iterdir())


@linux
def test_a_disk_that_is_full_in_one_place_is_not_in_another(digits: Path) -> None:
    code, _, err = run("train", "--data", digits, *SHORT, "--out", "/dev/full")
    assert code == 1
    assert err.startswith("babygrad train: --out /dev/full: No space left on device; the weig")
    assert saved(err) == Path("full")
    assert Path("/dev/full").is_char_device()


@linux
def test_a_file_that_may_not_grow_ends_with_one_line(digits: Path, tmp_path: Path) -> None:
    import resource

    code, _, err = run(
        *("train", "--data", digits, *SHORT),
        setup=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert code == 1
    assert err.startswith("babygrad train: --out mnist-mlp.safetensors: File too large; ")
    assert err.count("\n") == 1
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_output_cannot_show_are_escaped(
    encoding: str, digits: Path, tmp_path: Path
) -> None:
    name = b"zi\xc3\xbcrich-\xe6\xa8\xa1.st"
    code, out, err = run(
        *("train", "--data", digits, *SHORT, "--out", os.fsdecode(name)), PYTHONIOENCODING=encoding
    )
    assert (code, err) == (0, "")
    assert [os.fsencode(p.name) for p in (tmp_path / "work").iterdir()] == [name]
    assert re.search(r", saved zi\S+rich-\S+\.st\n$", out)


@linux
def test_names_that_are_no_text_are_escaped(digits: Path) -> None:
    code, out, err = run("train", "--data", digits, *SHORT, "--out", os.fsdecode(b"w\xff.st"))
    assert (code, err) == (0, "")
    assert out.endswith("saved w\\udcff.st\n")
    assert os.path.exists(b"w\xff.st")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_a_training_without_a_word(
    unbuffered: str, digits: Path
) -> None:
    options = ("--data", digits, "--model", "mlp", "--epochs", 500)
    with subprocess.Popen(
        **command("train", *options, PYTHONUNBUFFERED=unbuffered),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline().startswith(b"mlp on cpu:numpy")
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(60) == cli.READER_GONE
    DigitsMLP().load("mnist-mlp.safetensors")  # what was learned until then


@pytest.mark.parametrize("arguments", [("devices",), ("--help",), ("train", "--help")])
def test_a_reader_that_is_gone_ends_it_without_a_word(arguments: tuple[str, ...]) -> None:
    with subprocess.Popen(
        **command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(60) == cli.READER_GONE


@linux
@pytest.mark.parametrize("arguments", [("train",), ("devices",), ("--version",)])
def test_an_output_that_is_full_ends_with_one_line(
    arguments: tuple[str, ...], digits: Path
) -> None:
    if arguments == ("train",):
        arguments = ("train", "--data", str(digits), *SHORT)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            **command(*arguments), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"babygrad: [Errno 28] No space left on device\n"


@linux
def test_an_output_that_was_closed_is_in_nobodys_way(digits: Path) -> None:
    def close() -> None:
        os.close(1)
        os.close(2)

    code, _, _ = run("train", "--data", digits, *SHORT, setup=close)
    assert code == 0
    DigitsMLP().load("mnist-mlp.safetensors")


def test_ctrl_c_saves_what_was_learned(digits: Path) -> None:
    with subprocess.Popen(
        **command("train", "--data", digits, "--model", "mlp", "--epochs", 10**6),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What a shell starts in the background, these tests perhaps, inherits that it ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:
        assert program.stdout is not None
        for _ in range(3):
            program.stdout.readline()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert program.returncode == cli.INTERRUPTED
    assert err == b""
    assert re.search(rb"interrupted in epoch \d+\n", out)
    assert out.endswith(b", saved mnist-mlp.safetensors\n")
    DigitsMLP().load("mnist-mlp.safetensors")


def test_ctrl_c_before_the_training_ends_with_one_line(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_digits", interrupt)
    code, out, err = call(capsys)
    assert (code, out, err) == (cli.INTERRUPTED, "", "babygrad: interrupted\n")


def test_the_place_is_checked_before_the_training(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "w")
    for out, reason in (
        (tmp_path, "this is a folder"),
        (tmp_path / "nowhere" / "w", "the folder .*nowhere does not exist"),
        (tmp_path / "file" / "w", "the folder .*file does not exist"),
        (tmp_path / "link", "the folder .*nowhere does not exist"),
        (tmp_path / ("d" * 300) / "w", "the folder .*d does not exist"),
    ):
        code, text, err = call(capsys, "--out", out)
        assert (code, text) == (2, "")
        assert re.fullmatch(rf"babygrad train: --out {out}: {reason}.*\n", err)
