"""The C++ engine's runtime: default threads, subnormals, instruction sets, binding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")


def kernel(name: str) -> Any:
    def fallback(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(name)

    return _core.bind(name, fallback)


@pytest.fixture(autouse=True)
def restore_settings() -> Any:
    threads, isa = _core.get_num_threads(), _core.isa()
    yield
    _core.set_num_threads(threads)
    _core.set_isa(isa)
    _core.set_flush_denormal(False)


# ----- Default number of threads -----


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("quota", "limit"), [("max 100000", 0.0), ("150000 100000", 1.5), ("400000 100000", 4.0)]
)
def test_cgroup_v2(tmp_path: Path, quota: str, limit: float) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path / "sys/fs/cgroup/a/cpu.max", quota)
    write(tmp_path / "sys/fs/cgroup/a/b/cpu.max", "max 100000")
    assert _core._cgroup_cpu_limit(str(tmp_path)) == limit


@pytest.mark.parametrize(("quota", "limit"), [("-1", 0.0), ("50000", 0.5), ("300000", 3.0)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_cgroup_v1(tmp_path: Path, mount: str, quota: str, limit: float) -> None:
    write(tmp_path / "proc/self/cgroup", "7:memory:/m\n3:cpu,cpuacct:/docker/x\n")
    folder = tmp_path / "sys/fs/cgroup" / mount / "docker/x"
    write(folder / "cpu.cfs_quota_us", quota)
    write(folder / "cpu.cfs_period_us", "100000")
    assert _core._cgroup_cpu_limit(str(tmp_path)) == limit


@pytest.mark.parametrize("text", ["", "0::", "garbage", "0::/x\n"])
def test_cgroup_files_that_say_nothing(tmp_path: Path, text: str) -> None:
    write(tmp_path / "proc/self/cgroup", text)
    assert _core._cgroup_cpu_limit(str(tmp_path)) == 0.0
    assert _core._cgroup_cpu_limit(str(tmp_path / "missing")) == 0.0


def test_default_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "50000 100000")
    monkeypatch.delenv("BABYGRAD_NUM_THREADS", raising=False)
    assert _core._default_num_threads(str(tmp_path)) == 1
    monkeypatch.setenv("BABYGRAD_NUM_THREADS", "7")
    assert _core._default_num_threads(str(tmp_path)) == 7
    monkeypatch.setenv("BABYGRAD_NUM_THREADS", "many")
    assert _core._default_num_threads(str(tmp_path)) == 1


# ----- Floating-point state -----


@pytest.mark.skipif("avx2" not in _core.available_isas(), reason="flushing is an x86 mode")
@pytest.mark.parametrize("isa", _core.available_isas())
def test_only_kernels_flush_subnormals(isa: str) -> None:
    _core.set_isa(isa)
    tiny = np.full(100_000, np.finfo(np.float32).tiny)
    multiply = kernel("multiply")
    assert (multiply(tiny, 0.5) > 0).all()
    _core.set_flush_denormal(True)
    assert (multiply(tiny, 0.5) == 0).all()
    assert sys.float_info.min / 2 != 0


# ----- Instruction sets -----


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("isa", _core.available_isas())
def test_the_environment_forces_an_isa(isa: str) -> None:
    code = "from babygrad import _core; print(_core.isa())"
    assert run_python(code, BABYGRAD_ISA=isa).stdout.strip() == isa


def test_an_unknown_isa_is_refused() -> None:
    result = run_python("from babygrad import _core", BABYGRAD_ISA="vax")
    assert "BABYGRAD_ISA is 'vax', this machine has: baseline" in result.stderr
    with pytest.raises(ValueError, match="'vax' is not available"):
        _core.set_isa("vax")


# ----- Binding -----


def test_bind_gives_a_builtin_with_keywords_and_a_fallback() -> None:
    calls: list[Any] = []

    def reference(a: Any, b: Any) -> str:
        calls.append((a, b))
        return "reference"

    add = _core.bind("add", reference)
    assert add.__name__ == "add"
    assert add.__self__.fallback is reference
    assert add(b=np.ones(2), a=np.ones(2)).tolist() == [2.0, 2.0]
    assert add(np.ones(2, np.float16), b=1) == "reference"
    assert len(calls) == 1
    with pytest.raises(KeyError, match="no kernel named 'nonesuch'"):
        _core.bind("nonesuch", reference)


@pytest.mark.parametrize(
    ("args", "keywords", "message"),
    [
        ((1, 2, 3), {}, r"add\(\) takes 2 arguments but 3 were given"),
        ((1,), {}, r"add\(\) is missing its argument 'b'"),
        ((1, 2), {"c": 3}, r"unexpected keyword argument 'c'"),
        ((1, 2), {"a": 3}, r"multiple values for argument 'a'"),
    ],
)
def test_wrong_calls(args: Any, keywords: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        kernel("add")(*args, **keywords)
