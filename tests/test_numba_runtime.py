"""cpu:numba in threads, in forked children, without a cache folder, and when Numba itself fails."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from babygrad.backends import registry

try:
    registry.get("numba")
except RuntimeError as reason:
    pytest.skip(str(reason), allow_module_level=True)

from babygrad.backends.numba import cache, layout, runtime
from babygrad.backends.numba.kernels import activation


@pytest.fixture(scope="module")
def xp():
    return registry.get("numba")


def problem(seed):
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((300, 64)).astype("float32")
    return x, draw.standard_normal((64, 64)).astype("float32"), np.arange(300) % 64


def train(xp, seed, steps=6):
    """One layer with layer norm and Adam; every kernel is large enough to run in parallel."""
    x, w, target = problem(seed)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step in range(1, steps + 1):
        h = xp.matmul(x, w)
        y, mean, rstd = xp.layer_norm(h, None, None, 1e-5)
        loss, lse = xp.cross_entropy(y, target)
        gy = xp.cross_entropy_grad(np.ones_like(loss), y, lse, target)
        gx, _, _ = xp.layer_norm_grad(gy, h, None, mean, rstd)
        gw = xp.matmul(x.T.copy(), gx)
        xp.adam_step([w], [gw], [m], [v], [step], 1e-3, 0.9, 0.99, 1e-8, 0.01, True)
    return w, float(xp.sum(loss))


def test_eight_threads_train_eight_models(xp):
    alone = [train(xp, seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: train(xp, seed), range(8)))
    for (w, loss), (other_w, other_loss) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(w, other_w)
        assert loss == other_loss


def in_a_process(program, **environment):
    """What the program prints, run in a Python of its own."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, timeout=300, env={**os.environ, **environment},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


DIGEST = """
import hashlib, numpy as np
from babygrad.backends import registry
xp = registry.get("numba")
x = np.random.default_rng(0).standard_normal((64, 30, 50)).astype("float32")
w = x[0, 0].copy()
y, mean, rstd = xp.layer_norm(x, w, w, 1e-5)
results = [y, xp.sum(x), xp.sum(x, (0, 1)), xp.sum(x, 1), xp.sum_of_squares(x), xp.silu(x)]
results += [*xp.layer_norm_grad(x, y, w, mean, rstd), *xp.batch_norm(x, None, None, 1e-5, 1)]
results += [xp.scatter_add((9, 50), np.arange(1920) % 9, x.reshape(1920, 50), 0)]
results += [xp.softmax(x, 1), xp.logsumexp(x, None, False)]
print(hashlib.sha256(b"".join(np.ascontiguousarray(r).tobytes() for r in results)).hexdigest())
"""


def test_results_do_not_depend_on_the_number_of_threads():
    counts = ("1", "2", "5")
    assert len({in_a_process(DIGEST, NUMBA_NUM_THREADS=n) for n in counts}) == 1


def test_serial_and_parallel_kernels_give_the_same_bits(xp, monkeypatch):
    parallel = train(xp, 0)
    monkeypatch.setattr(runtime._gate, "enter", lambda: False)
    serial = train(xp, 0)
    np.testing.assert_array_equal(parallel[0], serial[0])
    assert parallel[1] == serial[1]


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threads_on_every_threading_layer(layer):
    program = (
        "import threading, numpy as np\n"
        "from babygrad.backends import registry\n"
        "xp = registry.get('numba')\n"
        "x = np.ones((300, 300), 'float32')\n"
        "work = lambda: [xp.silu(x) for _ in range(50)]\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "import numba; print(numba.threading_layer())\n"
    )
    try:
        assert in_a_process(program, NUMBA_THREADING_LAYER=layer) == layer
    except AssertionError as error:
        if "No threading layer could be loaded" in str(error):
            pytest.skip(f"numba has no {layer} threading layer here")
        raise


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork()")
def test_a_forked_child_computes_serially_and_says_so():
    program = (
        "import os, sys, warnings, numpy as np\n"
        "from babygrad.backends import registry\n"
        "xp = registry.get('numba')\n"
        "x = np.linspace(-3, 3, 90000)\n"
        "want = xp.silu(x)\n"
        "sys.stdout.flush()\n"
        "if os.fork() == 0:\n"
        "    with warnings.catch_warnings(record=True) as caught:\n"
        "        warnings.simplefilter('always')\n"
        "        same = all((xp.silu(x) == want).all() for _ in range(3))\n"
        "    print(same, len(caught), 'one thread' in str(caught[0].message), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print((xp.silu(x) == want).all())\n"
    )
    assert in_a_process(program).split() == ["True", "1", "True", "True"]


def test_a_second_thread_is_not_admitted():
    gate = runtime._Gate()
    assert gate.enter()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(gate.enter()))
    thread.start()
    thread.join()
    assert answers == [False]
    gate.leave()


def test_nothing_is_compiled_before_its_first_call():
    program = (
        "from babygrad.backends import registry\n"
        "registry.get('numba')\n"
        "from babygrad.backends.numba.kernels import activation\n"
        "print(len(activation.silu._serial.signatures + activation.silu._parallel.signatures))\n"
    )
    assert in_a_process(program) == "0"


# ----- The cache -----

SILU = """
import numpy as np
from babygrad.backends import registry
from babygrad.backends.numba import cache
registry.get("numba").silu(np.ones(3))
print(cache.folder())
"""


def test_kernels_are_cached_in_the_given_folder(tmp_path):
    folder = in_a_process(SILU, BABYGRAD_CACHE_DIR=str(tmp_path))
    assert Path(folder).parent == tmp_path
    assert [path.name for path in Path(folder).glob("*.nbi")]
    written = {path: path.stat().st_mtime_ns for path in Path(folder).glob("*.nbc")}
    assert written
    in_a_process(SILU, BABYGRAD_CACHE_DIR=str(tmp_path))
    assert written == {path: path.stat().st_mtime_ns for path in Path(folder).glob("*.nbc")}


def test_damaged_cache_files_count_as_absent(tmp_path):
    folder = in_a_process(SILU, BABYGRAD_CACHE_DIR=str(tmp_path))
    for path in Path(folder).iterdir():
        path.write_bytes(b"damaged")
    assert in_a_process(SILU, BABYGRAD_CACHE_DIR=str(tmp_path)) == folder


def test_without_a_home_the_temporary_folder_is_used(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    environment = {"BABYGRAD_CACHE_DIR": str(blocked), "XDG_CACHE_HOME": str(blocked)}
    folder = in_a_process(SILU, TMPDIR=str(tmp_path), **environment)
    assert Path(folder).is_relative_to(tmp_path)


def test_without_any_folder_kernels_are_compiled_anew(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    program = "import tempfile\ndef none(): raise OSError\ntempfile.gettempdir = none\n"
    environment = {"BABYGRAD_CACHE_DIR": str(blocked), "XDG_CACHE_HOME": str(blocked)}
    assert in_a_process(program + SILU, **environment) == "None"


def test_a_folder_of_another_user_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1, raising=False)
    assert not cache._usable(tmp_path)


def test_the_folder_changes_with_any_source(tmp_path):
    (tmp_path / "kernels").mkdir()
    helper = tmp_path / "kernels" / "scalar.py"
    helper.write_text("one")
    before = cache.sources_hash(tmp_path)
    helper.write_text("two")
    assert cache.sources_hash(tmp_path) != before


# ----- What a kernel is given -----


def test_a_numba_error_is_one_sentence():
    with pytest.raises(RuntimeError, match="cannot compile its kernel 'silu'") as caught:
        activation.silu(3, "not an array", np.ones(3))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("dtype", ["float16", "int32", ">f4", "longdouble"])
def test_other_dtypes_go_to_the_definition(xp, dtype):
    x = np.array([[-1, 0, 2]], dtype)
    np.testing.assert_array_equal(xp.leaky_relu(x, 2.0), np.where(x > 0, x, x * 2.0))
    np.testing.assert_allclose(np.asarray(xp.softmax(x, 1), float).sum(), 1, rtol=1e-2)


@pytest.mark.parametrize(
    ("member", "arguments"),
    [
        ("conv2d", (np.ones((1, 4, 4, 3)), np.ones((3, 3, 2, 1)), None)),
        ("layer_norm", (np.ones((2, 3)), np.ones(4), None, 1e-5)),
        ("batch_norm", (np.ones((2, 3)), np.ones(4), None, 1e-5, 1)),
        ("softmax", (np.ones((2, 3)), 2)),
        ("sigmoid_grad", (np.ones((2, 3)), np.ones((2, 4)))),
        ("cross_entropy", (np.ones((2, 3)), np.array([0, 3]))),
        ("scatter_add", ((4,), np.array([0, 4]), np.ones(2), 0)),
        ("max_pool2d_grad", (np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 9), (1, 2, 2, 1))),
        ("sgd_step", ([np.ones(3)], [np.ones(4)], [], 0.1, 0.0, 0.0, False)),
    ],
)
def test_what_does_not_fit_raises_and_touches_no_memory(xp, member, arguments):
    if member == "conv2d":
        arguments += ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    with pytest.raises((ValueError, IndexError)):
        getattr(xp, member)(*arguments)


def test_permuted_arrays_are_not_copied():
    x = np.zeros((4, 3, 2)).transpose(2, 0, 1)
    order = layout.memory_order(x)
    assert np.shares_memory(layout.contiguous(x.transpose(order)), x)
