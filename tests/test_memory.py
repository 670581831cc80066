"""Memory: no step leaves a tensor behind, and activations go while backward goes on."""

from __future__ import annotations

import gc
import runpy
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

import babygrad
from babygrad import Function, Tensor, checkpoint, nn, ops, optim
from babygrad.data import ArrayDataset, DataLoader
from babygrad.trainer import Trainer

STEPS = 1000
EXAMPLES = Path(__file__).parents[1] / "examples"


def mlp():
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3)
    )
    return model, np.ones((6, 4), "float32"), [0, 1, 2, 0, 1, 2]


def cnn():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    return model, np.ones((2, 1, 4, 4), "float32"), [0, 2]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = nn.TransformerBlock(8, 2, hidden=8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(x, causal=True).mean(1))


def attention():
    return Attention(), np.ones((2, 3, 8), "float32"), [0, 2]


MODELS = {"mlp": mlp, "cnn": cnn, "attention": attention}


def live_tensors():
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


@pytest.mark.parametrize("name", MODELS)
def test_a_thousand_steps_hold_the_number_of_live_tensors(name):
    model, x, labels = MODELS[name]()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(Tensor(x)), labels)
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    gc.collect()
    gc.disable()
    try:
        before, garbage = live_tensors(), len(gc.get_objects())
        for _ in range(STEPS):
            step()
        assert live_tensors() == before
        # Caches of the interpreter and of the library may grow a little, steps must not.
        assert len(gc.get_objects()) - garbage < STEPS // 2
    finally:
        gc.enable()


@pytest.mark.parametrize("name", MODELS)
def test_no_step_makes_cyclic_garbage(device, name):
    model, x, labels = MODELS[name]()
    optimizer = optim.SGD(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        ops.cross_entropy(model(Tensor(x)), labels).backward()
        optimizer.step()

    for _ in range(2):
        step()
    gc.collect()
    gc.disable()
    try:
        before = live_tensors()
        for _ in range(20):
            step()
        assert live_tensors() == before
    finally:
        gc.enable()


def mnist_mlp():
    """The network and the loop of the example, which trains when it is imported, on few images."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    images = np.random.default_rng(0).random((10, 28, 28, 1), np.float32)
    loader = DataLoader(ArrayDataset(images, np.arange(10)), batch_size=2, shuffle=True)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    trainer = Trainer(model, optimizer, nn.SoftmaxLoss(), loader, val_loader=loader)
    return lambda steps: trainer.fit(steps // 5, quiet=True)


def mnist_cnn():
    model = runpy.run_path(str(EXAMPLES / "mnist_cnn.py"))["DigitsCNN"]()
    loss_fn, optimizer = nn.SoftmaxLoss(), optim.Adam(model.parameters(), lr=3e-3)
    cosine = optim.CosineLR(optimizer, total_steps=2 * STEPS)
    schedule = optim.LinearWarmup(optimizer, 10, cosine)
    x, y = Tensor(np.ones((1, 28, 28, 1), np.float32)), Tensor([3])

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
            schedule.step()

    return run


def custom_function():
    softsign = runpy.run_path(str(EXAMPLES / "custom_function.py"))["softsign"]
    x = Tensor(np.linspace(-3, 3, 7), requires_grad=True)

    def run(steps):
        for _ in range(steps):
            softsign(x).sum().backward()

    return run


TRAININGS = {"mnist_mlp": mnist_mlp, "mnist_cnn": mnist_cnn, "custom_function": custom_function}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_thousand_steps_of_an_example_hold_the_number_of_live_tensors(device, name):
    run = TRAININGS[name]()
    run(10)
    gc.collect()
    gc.disable()
    try:
        before = live_tensors()
        run(STEPS)
        assert live_tensors() == before
    finally:
        gc.enable()


def test_every_example_is_among_them():
    # The engine in a page computes without tensors.
    assert sorted([*TRAININGS, "engine_in_a_page"]) == sorted(p.stem for p in EXAMPLES.glob("*.py"))


def test_a_forward_without_backward_leaves_nothing(device):
    model, x, labels = mlp()
    ops.cross_entropy(model(Tensor(x)), labels)
    gc.collect()
    gc.disable()
    try:
        before = live_tensors()
        for _ in range(50):
            ops.cross_entropy(model(Tensor(x)), labels)
        for _ in range(50):
            (model(Tensor(x)) * 2).sum().backward(retain_graph=True)
        assert live_tensors() == before
    finally:
        gc.enable()


class Probe(Function):
    """The identity, which notes what is alive when its backward runs."""

    uses = ("",)

    def __init__(self, look):
        self.look = look

    def forward(self, a):
        return a.copy()

    def backward(self, out_grad, node):
        self.look()
        return out_grad


def test_activations_are_gone_one_layer_after_the_other(device):
    layers, alive, refs = 6, [], []
    x = Tensor(np.ones((4, 4)), requires_grad=True)
    w = Tensor(np.eye(4), requires_grad=True)
    h = x
    for _ in range(layers):
        h = Probe(lambda: alive.append(sum(ref() is not None for ref in refs)))(h)
        h = ops.tanh(h @ w)
        refs.append(weakref.ref(h.data))
    out = h.sum()
    del h
    out.backward()
    # Layer k's backward finds the activations of the layers before it and no later one.
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] == 0
    assert len(set(alive)) == layers


def peak_of(step):
    tracemalloc.start()
    try:
        step()
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
        step()
        return tracemalloc.get_traced_memory()[1] - base
    finally:
        tracemalloc.stop()


def deep_network():
    ws = [Tensor(np.eye(64) * 0.9, requires_grad=True) for _ in range(20)]
    x = Tensor(np.ones((1024, 64)))
    return ws, x, x.data.nbytes


def test_the_peak_of_a_step_is_its_kept_activations():
    """20 layers, each with a product and a relu: one array per layer is kept, not two."""
    with babygrad.device("cpu:numpy"):
        ws, x, size = deep_network()

        def step():
            h = x
            for w in ws:
                w.grad = None
                h = ops.relu(h @ w)
            h.sum().backward()

        assert peak_of(step) < (len(ws) + 6) * size


def test_checkpoints_lower_the_peak():
    with babygrad.device("cpu:numpy"):
        ws, x, size = deep_network()

        def segment(begin):
            def run(h):
                for w in ws[begin : begin + 5]:
                    h = ops.relu(h @ w)
                return h

            return run

        def step():
            h = x
            for w in ws:
                w.grad = None
            for begin in range(0, len(ws), 5):
                h = checkpoint(segment(begin), h)
            h.sum().backward()

        # 4 inputs of segments, and the activations of one
        assert peak_of(step) < (4 + 5 + 6) * size
