"""Tensors, models and optimizers that were pickled, sent to another process or copied go on."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, optim
from babygrad.device import find

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def pickled(value, protocol=pickle.DEFAULT_PROTOCOL):
    return pickle.loads(pickle.dumps(value, protocol))


COPIES = {"pickle": pickled, "deepcopy": copy.deepcopy}


class Named(Tensor):
    """A subclass with attributes, and with a slot."""

    __slots__ = ("__dict__", "unit")

    def __init__(self, data, name, unit):
        super().__init__(data, requires_grad=True)
        self.name, self.unit = name, unit


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickled_tensor_computes_with_others_on_its_device(device, dtype, protocol):
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    x.grad = np.full((2, 2), 0.5)
    twin = pickled(x, protocol)
    assert type(twin) is Tensor
    assert (twin.device, twin.dtype, twin.requires_grad) == (device, x.dtype, True)
    assert twin._device is find(device)
    assert twin.tolist() == x.tolist()
    assert twin.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    (twin * x).sum().backward()
    assert twin.grad.tolist() == [[1.5, 2.5], [3.5, 4.5]]
    with babygrad.no_grad():
        twin += 1
    assert x.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("how", COPIES)
def test_subclasses_keep_their_attributes_and_slots(device, how):
    twin = COPIES[how](Named([1.0], "gain", "dB"))
    assert type(twin) is Named
    assert (twin.name, twin.unit, twin.tolist(), twin.requires_grad) == ("gain", "dB", [1.0], True)
    parameter = COPIES[how](nn.Parameter([1.0, 2.0]))
    assert type(parameter) is nn.Parameter
    assert parameter.requires_grad
    assert copy.copy(twin).name == "gain"


def test_a_device_is_the_same_object_after_any_copy(device):
    original = find(device)
    for protocol in PROTOCOLS:
        assert pickled(original, protocol) is original
    assert copy.copy(original) is copy.deepcopy(original) is original


@pytest.mark.parametrize("how", COPIES)
def test_a_tensor_with_a_graph_is_refused_and_unharmed(device, how):
    w = Tensor([2.0], requires_grad=True)
    y = w * w
    with pytest.raises(RuntimeError, match=f"^{how}: only leaves can be copied, .* Multiply; call"):
        COPIES[how](y)
    y.backward()
    assert w.grad.tolist() == [4.0]
    assert COPIES[how](y.detach()).tolist() == [4.0]


@pytest.mark.parametrize("how", COPIES)
def test_hooks_and_earlier_writes_stay_behind(device, how):
    w = Tensor([1.0], requires_grad=True)
    w.register_hook(lambda g: g * 100)
    with babygrad.no_grad():
        w += 1
    twin = COPIES[how](w)
    (twin * twin).sum().backward()
    assert twin.grad.tolist() == [4.0]


def test_a_mapped_file_comes_back_as_a_writable_array(device, tmp_path):
    """What joblib makes of large arrays on their way to a worker."""
    stored = np.lib.format.open_memmap(tmp_path / "w.npy", "w+", "float32", (3,))
    stored[:] = 1
    stored.flush()
    twin = Tensor.__new__(Tensor)
    attributes, slots = Tensor([0.0, 0.0, 0.0]).__getstate__()
    twin.__setstate__((attributes, {**slots, "_data": np.load(tmp_path / "w.npy", mmap_mode="r")}))
    assert type(twin.data) is np.ndarray
    twin += 1
    assert twin.tolist() == [2, 2, 2]
    buffers = []
    content = pickle.dumps(Tensor([1.0]), 5, buffer_callback=buffers.append)
    twin = pickle.loads(content, buffers=[bytes(buffer) for buffer in buffers])
    twin += 1
    assert twin.tolist() == [2]


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def step(model, optimizer, schedule):
    """One step on fixed data; the loss and the weights after it."""
    x = Tensor(np.linspace(-1, 1, 12).reshape(4, 3))
    optimizer.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.item(), model.state_dict()


def trained(name):
    network = model()
    parameters = network.parameters()
    if name == "Muon":
        matrices = [p for p in parameters if min(p.shape) > 1 and p.ndim == 2]
        rest = [p for p in parameters if not any(p is m for m in matrices)]
        parameters = [{"params": matrices}, {"params": rest, "adamw": True}]
    options = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(optim, name)(parameters, lr=0.1, **options)
    state = network, optimizer, optim.StepLR(optimizer, 2)
    step(*state)
    return state


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Lion", "Muon"])
def test_a_model_with_its_optimizer_goes_on_bit_by_bit(device, how, name):
    state = trained(name)
    twins = COPIES[how](state)
    for p, q in zip(state[0].parameters(), twins[0].parameters(), strict=True):
        assert any(q is r for r in twins[1].params), "the optimizer holds the copied parameters"
        assert p is not q
    for _ in range(3):
        (loss, weights), (twins_loss, twins_weights) = step(*state), step(*twins)
        assert loss == twins_loss
        for key, array in weights.items():
            np.testing.assert_array_equal(array, twins_weights[key])


@pytest.mark.parametrize("how", COPIES)
def test_tied_parameters_stay_tied(device, how):
    layer = nn.Linear(2, 2)
    layer.twin = layer.weight
    copied = COPIES[how](layer)
    assert copied.twin is copied.weight
    assert copied.weight is not layer.weight


def gradient_of(model, x):
    """What a worker does: a forward and a backward pass and a step."""
    loss = (model(x) ** 2).sum()
    loss.backward()
    optim.SGD(model.parameters(), lr=0.5).step()
    return loss.detach(), [p.grad for p in model.parameters()], model


def test_workers_of_a_pool_get_and_return_models_and_tensors(device):
    layer = nn.Linear(3, 2)
    xs = [Tensor(np.full((2, 3), float(i + 1))) for i in range(2)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        results = list(pool.map(gradient_of, [layer] * 2, xs))
    before = layer.state_dict()
    for x, (loss, grads, returned) in zip(xs, results, strict=True):
        y = x.data.astype("float64") @ before["weight"] + before["bias"]
        np.testing.assert_allclose(loss.item(), (y**2).sum(), rtol=1e-5)
        np.testing.assert_allclose(grads[0], x.data.T @ (2 * y), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            returned.weight.data, before["weight"] - 0.5 * grads[0], rtol=1e-5, atol=1e-6
        )
        assert (loss + x.sum()).device == device
        assert returned(x).shape == (2, 2)


def test_a_pickle_is_read_where_nothing_of_babygrad_was_imported(tmp_path):
    file = tmp_path / "tensor.pickle"
    file.write_bytes(pickle.dumps(Tensor([1.0, 2.0])))
    code = f"import pickle; print((pickle.load(open({str(file)!r}, 'rb')) * 2).tolist())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[2.0, 4.0]"
