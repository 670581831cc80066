"""Installing from source when the C++ engine cannot be built: the rest is, with the reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("CMakeLists.txt", "LICENSE", "README.md", "babygrad", "cmake", "csrc", "pyproject.toml")

for package in ("pip", "scikit_build_core", "pybind11"):
    pytest.importorskip(package, reason=f"building needs {package}")
pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or not all((ROOT / name).exists() for name in NEEDED),
    reason="building needs cmake and the source folder",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder to install from, so that no installation may depend on those before it."""
    folder = tmp_path_factory.mktemp("source")
    unwanted = shutil.ignore_patterns("_core*.so", "__pycache__", "*.gz")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


Install = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def install(source: Path, tmp_path: Path) -> Install:
    """Install into a folder of the test's own with these variables, without a network."""

    def pip(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("BABYGRAD", "CMAKE"))
        }
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-v",
            "--no-build-isolation",
            "--no-deps",
        ]
        command += ["--no-index", "--disable-pip-version-check", f"--target={tmp_path / 'site'}"]
        return subprocess.run(
            [*command, *options, str(source)],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return pip


def compiler(folder: Path, script: str) -> str:
    """A C++ compiler that does what the shell script says."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def run(site: Path, code: str) -> tuple[str, list[str]]:
    """What a program prints that uses the installation, and its warnings."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=site,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), [li for li in result.stderr.splitlines() if "Warning:" in li]


COMPUTE = "import babygrad; print((babygrad.Tensor([1.0]) + babygrad.Tensor([1.0])).tolist())"
DEVICES = "from babygrad.cli import main; main(['devices'])"


def check(site: Path, reason: str, warned: bool) -> None:
    out, found = run(site, COMPUTE)
    assert out == "[2.0]"
    assert [reason in line and '"cpu" falls back to cpu:numpy' in line for line in found] == (
        [True] if warned else []
    )
    out, _ = run(site, DEVICES)
    assert out.startswith("cpu:cpp does not load: ")
    assert f"because {reason} (cure: install with GCC 10, Clang 13 or newer, C++17, pip" in out
    assert "cpu:numpy loads" in out


def test_a_compiler_that_always_fails_leaves_the_engine_out(
    install: Install, tmp_path: Path
) -> None:
    broken = compiler(tmp_path, "exit 1")
    result = install(CXX=broken)
    assert result.returncode == 0, result.stdout + result.stderr
    check(tmp_path / "site", f"the C++ compiler {broken} does not compile", warned=True)


# Passes all checks, and fails at the engine's own sources.
LATE = r"""
for word in "$@"; do
    case $word in
    */csrc/*.cpp) printf '%s:1:2: error: %s\n' "$word" "it's \"not\" \1; [more" >&2; exit 1 ;;
    esac
done
exec c++ "$@"
"""


@pytest.mark.slow
def test_a_compile_that_fails_leaves_the_engine_out_with_its_message(
    install: Install, tmp_path: Path
) -> None:
    result = install(CXX=compiler(tmp_path, LATE))
    assert result.returncode == 0, result.stdout + result.stderr
    out, (warning,) = run(tmp_path / "site", COMPUTE)
    assert out == "[2.0]"
    message = (
        r"""because its build failed: csrc/\S+\.cpp:1:2: error: it's "not" \\1; \[more \(cure"""
    )
    assert re.search(message, warning)
    assert re.search(message, run(tmp_path / "site", DEVICES)[0])


@pytest.mark.parametrize(
    ("macros", "reason"),
    [
        (
            "-U__GNUC__ -D__GNUC__=9",
            "it needs GCC 10 or Clang 13, or newer, and the compiler is GNU 9",
        ),
        ("-D_SYS_MMAN_H", "lacks vector types, or the system sys/mman.h or its like"),
    ],
)
def test_an_unsuitable_compiler_is_refused_before_it_compiles(
    install: Install, tmp_path: Path, macros: str, reason: str
) -> None:
    if shutil.which("g++") is None:
        pytest.skip("the compiler is disguised by GCC's macros")
    result = install(CXX=compiler(tmp_path, f'exec g++ {macros} "$@"'))
    assert result.returncode == 0, result.stdout + result.stderr
    assert reason in run(tmp_path / "site", DEVICES)[0]


def test_without_a_compiler_nothing_warns(install: Install, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cmake", "ninja", "make", "sh"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    result = install(PATH=str(tools), CXX="c++")
    assert result.returncode == 0, result.stdout + result.stderr
    check(tmp_path / "site", "no C++ compiler was found", warned=False)


def test_an_installation_without_the_engine_on_request_does_not_warn(
    install: Install, tmp_path: Path
) -> None:
    result = install("-C", "cmake.define.BABYGRAD_NATIVE=OFF", CXX=compiler(tmp_path, "exit 1"))
    assert result.returncode == 0, result.stdout + result.stderr
    check(tmp_path / "site", "BABYGRAD_NATIVE was OFF", warned=False)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["exit 1", LATE])
def test_where_the_engine_is_required_the_installation_fails(
    install: Install, tmp_path: Path, script: str
) -> None:
    result = install(CXX=compiler(tmp_path, script), BABYGRAD_REQUIRE_CPP="1")
    assert result.returncode != 0
    assert not (tmp_path / "site").exists()
