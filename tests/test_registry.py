"""How backends are found, loaded, refused and explained."""

import os
import subprocess
import sys
import threading
import tomllib
import warnings
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from babygrad.backends import registry
from babygrad.backends.base import Backend, composed_members, missing_members
from babygrad.backends.numpy import NumpyBackend


class Mine(NumpyBackend):
    """A third party's backend."""


class Incomplete(Backend):
    """Lacks every required member but one."""

    def exp(self, x):
        return x


not_a_backend = object()


def raising(error):
    """A function that raises it."""

    def load():
        raise error

    return load


@pytest.fixture
def entry_points(monkeypatch):
    """The function that replaces what is installed. Loaded backends are forgotten."""
    monkeypatch.setattr(registry, "_loaded", {})

    def install(**values):
        points = [
            metadata.EntryPoint(name, value, registry.GROUP)
            for name, listed in values.items()
            for value in ([listed] if isinstance(listed, str) else listed)
        ]
        monkeypatch.setattr(metadata, "entry_points", lambda group: points)

    install()
    return install


def test_a_third_party_backend_is_a_device(entry_points):
    entry_points(mine=f"{__name__}:Mine")
    backend = registry.resolve("cpu:mine")
    assert type(backend).__name__ == "Mine"
    assert registry.get("mine") is backend
    assert "mine" in registry.names()
    assert registry.available()["mine"] is None


def test_an_incomplete_backend_is_refused_with_all_that_is_missing(entry_points):
    entry_points(mine=f"{__name__}:Incomplete")
    with pytest.raises(RuntimeError, match=r"cpu:mine is refused.*Incomplete") as caught:
        registry.resolve("cpu:mine")
    listed = str(caught.value).split("required members ")[1].split(", ")
    assert listed == sorted(Backend.__abstractmethods__ - {"exp"})
    assert len(listed) > 80
    assert "is refused" in registry.available()["mine"]


@pytest.mark.parametrize("name", ["not_a_backend", "no_such_name"])
def test_what_is_no_backend_is_refused(entry_points, name):
    entry_points(mine=f"{__name__}:{name}")
    with pytest.raises(RuntimeError, match=f"cpu:mine does not load.*{name}"):
        registry.resolve("cpu:mine")


def test_a_backend_whose_module_fails_says_why_and_what_helps(entry_points):
    entry_points(mine="no_such_package.backend:Mine")
    with pytest.raises(RuntimeError, match=r"No module named 'no_such_package'.*reinstall"):
        registry.get("mine")


def test_a_name_that_two_packages_claim_is_refused(entry_points):
    entry_points(mine=[f"{__name__}:Mine", "other:Mine"])
    with pytest.raises(RuntimeError, match=r"registered twice, by other:Mine and .*uninstall"):
        registry.get("mine")


def test_an_entry_point_cannot_replace_a_backend_of_our_own(entry_points):
    entry_points(numpy=f"{__name__}:Mine")
    assert type(registry.get("numpy")) is NumpyBackend


@pytest.mark.parametrize("device", ["cpu:nope", "gpu", "", "cpu:", "numpy", "CPU", None, 3])
def test_an_unknown_device_is_answered_with_those_there_are(entry_points, device):
    entry_points(mine=f"{__name__}:Mine")
    with pytest.raises(ValueError, match="cpu, cpu:cpp, cpu:mine, cpu:numba, cpu:numpy"):
        registry.resolve(device)


def test_an_unknown_name_is_answered_with_those_there_are(entry_points):
    with pytest.raises(ValueError, match="unknown backend 'nope': there are cpp, numba, numpy"):
        registry.get("nope")


def test_threads_get_one_instance(entry_points):
    entry_points(mine=f"{__name__}:Mine")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(registry.get("mine"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(backend) for backend in found}) == 1


@pytest.fixture
def without_extension(monkeypatch, entry_points):
    """cpp cannot be imported because its extension is not there."""
    monkeypatch.setattr(registry, "_has_extension", lambda: False)
    monkeypatch.setitem(registry.BUILTIN, "cpp", "no_such_package:CppBackend")
    monkeypatch.setattr(registry, "_installed_elsewhere", lambda: None)
    monkeypatch.setattr(registry, "_left_out", lambda: None)


def test_cpu_falls_back_to_numpy(without_extension, recwarn):
    assert type(registry.resolve("cpu")) is NumpyBackend
    assert not recwarn.list
    with pytest.raises(RuntimeError, match=r"has no compiled extension.*C\+\+17"):
        registry.resolve("cpu:cpp")


@pytest.mark.parametrize("failed", [True, False])
def test_an_installation_that_left_cpp_out_says_why(
    without_extension, monkeypatch, recwarn, failed
):
    """And warns at the first use of cpu, when it should have had it."""
    missing = SimpleNamespace(REASON="its build failed: x.cpp:1: error", FAILED=failed)
    monkeypatch.setattr(registry, "_left_out", lambda: missing)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert type(registry.resolve("cpu")) is NumpyBackend
        registry.resolve("cpu")
    reason = registry.available()["cpp"]
    assert "babygrad._core, because its build failed: x.cpp:1: error (cure" in reason
    assert [reason in str(warning.message) for warning in caught] == ([True] if failed else [])


def test_what_the_extension_itself_refuses_has_no_cure(entry_points, monkeypatch):
    monkeypatch.setitem(registry.BUILTIN, "cpp", f"{__name__}:no_such_name")
    refusal = ImportError("cpu:cpp needs a processor with SSE4.2 (x86-64-v2)")
    monkeypatch.setattr(registry, "_find", lambda name: (raising(refusal), "source"))
    monkeypatch.setattr(registry, "_has_extension", lambda: True)
    assert registry.available()["cpp"] == f"cpu:cpp does not load: {refusal}"


@pytest.mark.parametrize(
    "error", [ImportError("libLLVM.so: no such file"), OSError("cannot\nload"), AttributeError("x")]
)
def test_a_broken_numba_is_installed_anew(entry_points, monkeypatch, error):
    monkeypatch.setattr(registry, "_find", lambda name: (raising(error), "source"))
    monkeypatch.setattr(registry, "find_spec", lambda name: object())
    with pytest.raises(RuntimeError) as caught:
        registry.get("numba")
    assert str(caught.value) == (
        f"cpu:numba does not load: source raised {type(error).__name__}: "
        f"{' '.join(str(error).split())} (cure: pip install --force-reinstall numba llvmlite)"
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import llvmlite_that_is_not_there", "raised ModuleNotFoundError: No module named"),
        ("raise ImportError('needs NumPy 2.9 or less')", "raised ImportError: needs NumPy 2.9"),
        ("raise OSError('libllvmlite.so: cannot open')", "raised OSError: libllvmlite.so"),
        ("import sys; sys.gone", "raised AttributeError: module 'sys' has no attribute 'gone'"),
    ],
)
def test_all_but_numba_works_beside_one_that_does_not_import(tmp_path, source, reason):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text(source)
    program = (
        "import babygrad; from babygrad.backends import registry\n"
        "with babygrad.device('cpu:numpy'), babygrad.threads(1):\n"
        "    print((babygrad.Tensor([1.0]) * 2).tolist(), registry.available()['numba'])"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith("[2.0] cpu:numba does not load: "), found.stderr
    assert reason in found.stdout
    assert "(cure: pip install --force-reinstall numba llvmlite)" in found.stdout


def test_numba_is_required_only_where_it_can_be():
    requirements = pytest.importorskip("packaging.requirements")
    project = Path(__file__).parents[1] / "pyproject.toml"
    if not project.exists():
        pytest.skip("the requirements are in the source folder")
    listed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    (numba,) = (r for r in map(requirements.Requirement, listed) if r.name == "numba")
    python = {"platform_python_implementation": "CPython", "python_version": "3.11"}
    assert numba.marker.evaluate(python)
    assert not numba.marker.evaluate({**python, "python_version": "3.99"})
    assert not numba.marker.evaluate({**python, "platform_python_implementation": "PyPy"})


def test_a_source_folder_in_front_of_the_installed_package_is_named(without_extension, monkeypatch):
    monkeypatch.setattr(registry, "_installed_elsewhere", lambda: Path("/site/babygrad"))
    with pytest.warns(
        RuntimeWarning, match=r"falls back to cpu:numpy.*source folder.*/site"
    ) as got:
        registry.resolve("cpu")
    assert len(got) == 1
    registry.resolve("cpu")  # the second time without a warning: warnings are errors here
    assert str(registry.PACKAGE_FOLDER) in str(got[0].message)
    reason = registry.available()["cpp"]
    assert "/site/babygrad" in reason
    assert "another folder" in reason


def test_the_installed_package_is_found(monkeypatch, tmp_path):
    folder = tmp_path / "babygrad"
    folder.mkdir()
    info = tmp_path / "babygrad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: babygrad\nVersion: 1.0\n")
    installed = [metadata.PathDistribution(info)]
    monkeypatch.setattr(metadata, "distributions", lambda name: installed)
    assert registry._installed_elsewhere() is None
    (folder / "_core.so").touch()
    assert registry._installed_elsewhere() == folder


def test_numba_that_is_not_installed_is_named(entry_points, monkeypatch):
    monkeypatch.setitem(registry.BUILTIN, "numba", "no_such_package:NumbaBackend")
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"numba is not installed.*pip install numba"):
        registry.get("numba")


def test_nothing_is_imported_for_a_backend_before_its_first_use():
    program = (
        "import sys; from babygrad.backends import registry; registry.get('numpy');"
        "print([m for m in ('numba', 'importlib.metadata', 'babygrad.backends.cpp',"
        " 'babygrad.backends.numba') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_members_are_required_or_composed():
    assert missing_members(NumpyBackend) == []
    assert {"add", "matmul", "sum", "take"} <= set(missing_members(Backend))
    assert {"softmax", "conv2d", "adam_step"} <= set(composed_members())
    assert not set(missing_members(Backend)) & set(composed_members())
