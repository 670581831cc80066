"""T21 and T24 to T27 of docs/semantics.md: files, state, loading, randomness, averages."""

from __future__ import annotations

import json
import os
import struct
import threading

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, data, nn, ops, optim
from babygrad.serialization import load_file, save_file

pytestmark = pytest.mark.usefixtures("twins")


@pytest.fixture(autouse=True)
def numpys_generator():
    """Each test begins and ends with numpy's global generator in use."""
    babygrad.manual_seed(None)
    yield
    babygrad.manual_seed(None)


# ----- T21: files -----

ARRAYS = {
    "C": np.arange(6.0).reshape(2, 3),
    "F": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "strided": np.arange(12.0)[::2],
    "negative": np.arange(6.0)[::-1],
    "0-d": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "big-endian": np.arange(4, dtype=">f4"),
    "int": np.array([2**53 + 1, -1]),
    "half": np.array([0.5, 65504.0], np.float16),
    "bool": np.array([True, False]),
}


def test_round_trip(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(ARRAYS, path)
    loaded = load_file(path)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].shape == array.shape


def written(path, header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_bfloat16_is_read(tmp_path):
    body = np.array([1.5, -2.0], "float32").view(np.uint32) >> 16
    path = written(tmp_path / "b", {"x": entry("BF16", [2], 0, 4)}, body.astype("<u2").tobytes())
    assert load_file(path)["x"].tolist() == [1.5, -2.0]


DAMAGED = {
    "truncated": ({"x": entry("F32", [4], 0, 16)}, bytes(8)),
    "overlapping": ({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, bytes(12)),
    "gap": ({"x": entry("F32", [1], 0, 4), "y": entry("F32", [1], 8, 12)}, bytes(12)),
    "trailing": ({"x": entry("F32", [1], 0, 4)}, bytes(12)),
    "wrong size": ({"x": entry("F32", [3], 0, 8)}, bytes(8)),
    "claims a terabyte": ({"x": entry("F32", [2**38], 0, 2**40)}, bytes(8)),
    "duplicate": (b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                  b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "NaN": (b'{"x":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4)),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_raise(tmp_path, case):
    with pytest.raises(ValueError, match="load"):
        load_file(written(tmp_path / "d", *DAMAGED[case]))


def test_a_header_larger_than_the_file_raises(tmp_path):
    path = tmp_path / "h"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(ValueError, match="load"):
        load_file(path)


def test_tied_weights(tmp_path, device):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    model, path = Tied(), tmp_path / "t"
    model.save(path)
    stored = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    assert sum("weight" in name for name in stored) == 1
    twin = Tied()
    twin.load(path)
    assert twin.a.weight is twin.b.weight
    np.testing.assert_array_equal(twin.a.weight.data, model.a.weight.data)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w"
    save_file({"x": np.ones(2)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        save_file({"x": np.zeros(2)}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


# ----- T24: state -----


def test_a_state_dict_is_a_copy(device):
    model = nn.Linear(2, 1)
    state = model.state_dict()
    before = {k: v.copy() for k, v in state.items()}
    model(Tensor([[1.0, 2.0]])).sum().backward()
    optim.SGD(model.parameters(), lr=1.0).step()
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])


def test_loading_writes_in_place(device, dtype):
    model = nn.Linear(2, 1, dtype=dtype)
    weight, array = model.weight, model.weight.data
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    model.load_state_dict({"weight": np.array([[3.0], [4.0]]), "bias": np.zeros((1, 1))})
    assert model.weight is weight
    assert model.weight.data is array
    assert array.dtype == np.dtype(dtype)
    model(Tensor([[1.0, 1.0]], dtype=dtype)).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model.weight.data, [[2], [3]])


def test_all_or_nothing_with_every_problem(device):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = model.state_dict()
    bad = dict(before)
    del bad["modules.0.bias"]
    bad["modules.0.biass"] = np.zeros((1, 3))
    bad["modules.1.weight"] = np.zeros((1, 3))
    bad["other"] = np.zeros(1)
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        model.load_state_dict(bad)
    text = str(caught.value)
    assert "missing: modules.0.bias" in text
    assert "unexpected: modules.0.biass (did you mean modules.0.bias?)" in text
    assert "(1, 3)" in text
    assert "(3, 1)" in text
    assert "other" in text
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# ----- T25: loader (more in test_data.py) -----


@pytest.mark.parametrize(("n", "b"), [(10, 4), (8, 4), (0, 3), (2, 5), (1, 1)])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_index_once(device, n, b, drop_last, shuffle):
    dataset = data.ArrayDataset(np.arange(n, dtype="float32")[:, None], np.arange(n))
    loader = data.DataLoader(dataset, batch_size=b, drop_last=drop_last, shuffle=shuffle)
    assert len(loader) == (n // b if drop_last else -(-n // b))
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = [i for _, y in batches for i in y.tolist()]
    assert len(set(seen)) == len(seen) == (n // b * b if drop_last else n)
    for x, y in batches:
        assert x.device == device
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x.data[:, 0], y.data)


def test_iterators_are_independent_and_breaks_leave_no_threads(device):
    loader = data.DataLoader(data.ArrayDataset(np.arange(6)), batch_size=2)
    a, b = iter(loader), iter(loader)
    assert next(a)[0].tolist() == next(b)[0].tolist() == [0, 1]
    before = threading.active_count()
    for _ in loader:
        break
    assert threading.active_count() == before


# ----- T26: randomness -----


def draws():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    loader = data.DataLoader(data.ArrayDataset(np.arange(10)), batch_size=10, shuffle=True)
    epochs = [next(iter(loader))[0].tolist() for _ in range(2)]
    mask = ops.dropout(Tensor(np.ones(20)), 0.5).tolist()
    return model.modules[0].weight.tolist(), epochs, mask


def test_numpys_seed_governs_until_manual_seed(device):
    np.random.seed(0)
    first = draws()
    np.random.seed(0)
    assert draws() == first
    babygrad.manual_seed(7)
    np.random.seed(1)
    before = np.random.get_state(legacy=False)["state"]["key"].tobytes()
    second = draws()
    assert np.random.get_state(legacy=False)["state"]["key"].tobytes() == before
    babygrad.manual_seed(7)
    np.random.seed(99)
    assert draws() == second
    assert second != first


def test_one_seed_on_every_device(device):
    babygrad.manual_seed(3)
    here = draws()
    babygrad.manual_seed(3)
    with babygrad.device("cpu:numpy"):
        assert draws() == here
    assert here[1][0] != here[1][1], "epochs must differ"


def test_the_books_dropout_draw(device):
    np.random.seed(4)
    expected = np.random.rand(30) <= 1 - 0.3
    np.random.seed(4)
    y = ops.dropout(Tensor(np.ones(30)), 0.3)
    np.testing.assert_array_equal(y.data != 0, expected)


@pytest.mark.parametrize("seed", [None, 5])
def test_the_state_can_be_saved(seed):
    babygrad.manual_seed(seed)
    state = babygrad.random.get_state()
    first = draws()
    babygrad.random.set_state(state)
    assert draws() == first


def test_an_explicit_generator_leaves_the_others_alone(device):
    babygrad.manual_seed(5)
    before = babygrad.random.get_state()
    a = Tensor.rand(5, generator=np.random.default_rng(1)).tolist()
    assert babygrad.random.get_state() == before
    assert a == np.random.default_rng(1).random(5).astype("float32").tolist()


# ----- T27: averages -----


def test_the_mean_over_samples(device):
    """Batches of 4, 4 and 2 with the losses 1, 2 and 3 average 1.8."""
    from babygrad.trainer import Trainer

    losses = iter([1.0, 2.0, 3.0])
    model = nn.Linear(1, 2)
    loader = data.DataLoader(
        data.ArrayDataset(np.zeros((10, 1), "float32"), np.zeros(10, np.int64)), batch_size=4
    )
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.0),
        lambda p, y: p.sum() * 0 + next(losses),
        loader,
    )
    assert trainer.fit(1, quiet=True)["loss"] == [pytest.approx(1.8)]


def test_micro_batches_equal_the_batch(device, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3)), rng.integers(0, 4, 10)
    model = nn.Linear(3, 4, dtype=dtype)
    ops.cross_entropy(model(Tensor(x, dtype=dtype)), y).backward()
    whole = model.weight.grad.copy()
    model.zero_grad()
    for begin, end in ((0, 4), (4, 8), (8, 10)):
        part = ops.cross_entropy(model(Tensor(x[begin:end], dtype=dtype)), y[begin:end])
        (part * ((end - begin) / 10)).backward()
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(model.weight.grad, whole, atol=tolerance)
