"""The variables called BABYGRAD_something: what they do, and what a wrong value gets."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from babygrad import _environment

try:
    from babygrad import _core
except ImportError:
    _core = None

needs_engine = pytest.mark.skipif(_core is None, reason="built without the C++ engine")


def warnings_for(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """What an import of babygrad would warn of."""
    for name in list(os.environ):
        if name.startswith("BABYGRAD_"):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _environment._check()
    assert all(warning.category is RuntimeWarning for warning in caught)
    return [str(warning.message) for warning in caught]


THREADS, MEGABYTES = "an integer from 1 to 1024", "an integer from 0 to 1000000000"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(
            ("BABYGRAD_NUM_THREADS", value, THREADS)
            for value in (
                "abc",
                "0",
                "2.5",
                "-1",
                "1025",
                "9" * 5000,
                "1_0",
                "0x4",
                "²",
                "4 4",
                "+",
            )
        ),
        *(
            ("BABYGRAD_CACHE_MB", value, MEGABYTES)
            for value in ("lots", "-1", "1.5", "512MB", "1e3", "1000000001", "nan")
        ),
        *(
            ("BABYGRAD_ENGINE", value, "native or python")
            for value in ("fortran", "Python", "c++", "1")
        ),
        ("BABYGRAD_REQUIRE_CPP", "maybe", "0 or 1"),
    ],
)
def test_a_wrong_value_gets_the_default_and_one_warning(monkeypatch, name, value, allowed):
    (message,) = warnings_for(monkeypatch, **{name: value})
    assert message == f"{name} is {value!r}, allowed is {allowed}; the default is used"
    assert _environment.num_threads() is None
    assert _environment.cache_megabytes() == 512
    assert _environment.engine() == "native"


@pytest.mark.parametrize(
    ("name", "value", "read", "result"),
    [
        ("BABYGRAD_NUM_THREADS", "1", _environment.num_threads, 1),
        ("BABYGRAD_NUM_THREADS", " 1024\n", _environment.num_threads, 1024),
        ("BABYGRAD_NUM_THREADS", "0" * 99 + "7", _environment.num_threads, 7),
        ("BABYGRAD_NUM_THREADS", "", _environment.num_threads, None),
        ("BABYGRAD_CACHE_MB", "0", _environment.cache_megabytes, 0),
        ("BABYGRAD_CACHE_MB", "1000000000", _environment.cache_megabytes, 10**9),
        ("BABYGRAD_CACHE_MB", "  ", _environment.cache_megabytes, 512),
        ("BABYGRAD_ENGINE", "python ", _environment.engine, "python"),
        ("BABYGRAD_ENGINE", "native", _environment.engine, "native"),
        ("BABYGRAD_ENGINE", "", _environment.engine, "native"),
        ("BABYGRAD_DEVICE", "", _environment.device, None),
        ("BABYGRAD_DEVICE", "\tcpu:numpy ", _environment.device, "cpu:numpy"),
    ],
)
def test_a_right_value_counts_and_an_empty_one_does_not(monkeypatch, name, value, read, result):
    assert warnings_for(monkeypatch, **{name: value}) == []
    assert read() == result


@pytest.mark.parametrize(
    ("misspelt", "right"),
    [
        ("BABYGRAD_THREADS", "BABYGRAD_NUM_THREADS"),
        ("BABYGRAD_CACHEDIR", "BABYGRAD_CACHE_DIR"),
        ("BABYGRAD_DEVICES", "BABYGRAD_DEVICE"),
    ],
)
def test_a_misspelt_variable_is_asked_about(monkeypatch, misspelt, right):
    message = f"{misspelt} is no variable of babygrad's; did you mean {right}?"
    assert warnings_for(monkeypatch, **{misspelt: "1"}) == [message]


def test_other_variables_are_nobody_s_mistake(monkeypatch):
    assert warnings_for(monkeypatch, BABYGRAD_SLOW="1", BABYGRAD_BUILD="x", MY_THREADS="2") == []


def run(code: str, folder: Path | None = None, **variables: str) -> tuple[str, list[str]]:
    """What a program prints, and the warnings on its stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BABYGRAD_")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), [li for li in result.stderr.splitlines() if "Warning:" in li]


SUM = "import babygrad; print(babygrad.Tensor([1.0, 2.0]).sum().item(), end=' ')\n"


def test_every_wrong_value_at_once_warns_once_each_and_computes():
    names = ("BABYGRAD_NUM_THREADS", "BABYGRAD_CACHE_MB", "BABYGRAD_ENGINE", "BABYGRAD_ISA")
    out, found = run(SUM + SUM, **dict.fromkeys(names, "fortran"), BABYGRAD_DEVICE="")
    assert out == "3.0 3.0"
    found = [line for line in found if "BABYGRAD_" in line]  # "cpu" may have fallen back, too
    for name in names[: 4 if _core else 3]:
        assert sum(f"RuntimeWarning: {name} is 'fortran'," in line for line in found) == 1
    assert len(found) == (4 if _core else 3)


@needs_engine
def test_the_engine_takes_its_settings_from_the_environment():
    code = (
        "from babygrad import _core\n"
        "print(_core.get_num_threads(), _core.memory_stats()['limit'] >> 20, _core.isa())"
    )
    variables = {"BABYGRAD_NUM_THREADS": "3", "BABYGRAD_CACHE_MB": "7", "BABYGRAD_ISA": "baseline"}
    assert run(code, **variables) == ("3 7 baseline", [])


@needs_engine
@pytest.mark.parametrize("isa", ["AVX2", "sse9", "avx2,baseline"])
def test_an_instruction_set_that_there_is_not_leaves_the_best(isa):
    out, (warning,) = run("from babygrad import _core; print(_core.isa())", BABYGRAD_ISA=isa)
    assert out == _core.available_isas()[-1]
    have = ", ".join(_core.available_isas())
    assert f"BABYGRAD_ISA is '{isa}', this machine has: {have}; the default is used" in warning


@pytest.mark.parametrize("name", ["cpu:nope", "foo", "CPU", "cpu:"])
def test_an_unknown_device_gets_the_default_and_one_warning(name):
    out, found = run(SUM + SUM + "print(babygrad.get_default_device())", BABYGRAD_DEVICE=name)
    assert out == "3.0 3.0 cpu"
    (warning,) = (line for line in found if "BABYGRAD_" in line)  # "cpu" may have fallen back, too
    assert f"RuntimeWarning: BABYGRAD_DEVICE is '{name}', there are cpu, cpu:cpp, " in warning
    assert warning.endswith("; the default is used")


def test_a_device_that_the_program_names_must_exist():
    code = (
        "import babygrad\n"
        "try: babygrad.Tensor([1.0], device='foo')\nexcept ValueError as error: print(error)"
    )
    out, found = run(code, BABYGRAD_DEVICE="cpu:numpy")
    assert out.startswith("unknown device 'foo': there are cpu,")
    assert found == []


FOLDER = "import os, babygrad; os.chdir('/'); print(babygrad._environment.CACHE_FOLDER)"


def test_the_cache_folder_is_fixed_at_import_and_may_begin_with_a_tilde(tmp_path):
    """A later change of the current folder does not move it."""
    assert run(FOLDER, tmp_path, BABYGRAD_CACHE_DIR="here/x") == (f"{tmp_path}/here/x", [])
    home = {"HOME": str(tmp_path / "home"), "BABYGRAD_CACHE_DIR": "~/kernels"}
    assert run(FOLDER, tmp_path, **home) == (f"{tmp_path}/home/kernels", [])
    assert run(FOLDER, tmp_path, BABYGRAD_CACHE_DIR="") == ("None", [])


def test_the_home_folder_of_nobody_is_one_warning(tmp_path):
    out, (warning,) = run(FOLDER, tmp_path, BABYGRAD_CACHE_DIR="~there-is-no-such-user/x")
    assert out == "None"
    assert "BABYGRAD_CACHE_DIR is '~there-is-no-such-user/x', allowed is a path" in warning


def test_a_relative_cache_folder_without_a_current_folder_is_one_warning(tmp_path):
    code = (
        "import os; folder = os.getcwd(); import numpy, numpy.linalg, warnings, tempfile\n"
        "os.rmdir(folder)\n" + FOLDER
    )
    folder = tmp_path / "gone"
    folder.mkdir()
    out, (warning,) = run(code, folder, BABYGRAD_CACHE_DIR="kernels")
    assert out == "None"
    assert "BABYGRAD_CACHE_DIR is 'kernels', allowed is a path" in warning


@pytest.mark.usefixtures("numba")
def test_numba_keeps_its_kernels_in_the_folder_of_the_import(tmp_path):
    code = (
        "import os, babygrad; os.chdir('/')\n"
        "from babygrad.backends.numba import cache; print(cache.folder().parent)"
    )
    assert run(code, tmp_path, BABYGRAD_CACHE_DIR="kernels") == (f"{tmp_path}/kernels", [])
