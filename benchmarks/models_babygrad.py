"""The five training steps in babygrad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import babygrad
from babygrad import Tensor, nn, ops, optim
from benchmarks._training import (
    ADAM,
    ALL_STEPS,
    BLOCKS,
    CHECKED_STEPS,
    HEADS,
    LENGTH,
    SGD,
    VOCABULARY,
    WIDTH,
    State,
)


def mlp_small() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def mlp_wide() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def mlp_deep() -> nn.Module:
    hidden = [layer for _ in range(50) for layer in (nn.Linear(512, 512), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(512, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10),
    )


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs)
    )


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm(channels, channels)
        self.second = conv_norm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x + self.second(ops.relu(self.first(x))))


class GlobalAverage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def resnet() -> nn.Module:
    return nn.Sequential(
        conv_norm(3, 32),
        nn.ReLU(),
        ResidualBlock(32),
        ResidualBlock(32),
        conv_norm(32, 64, stride=2),
        nn.ReLU(),
        ResidualBlock(64),
        ResidualBlock(64),
        GlobalAverage(),
        nn.Linear(64, 10),
    )


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Parameter(Tensor.randn(LENGTH, WIDTH))
        self.blocks = nn.ModuleList([nn.TransformerBlock(WIDTH, HEADS) for _ in range(BLOCKS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions
        for block in self.blocks:
            x = block(x, causal=True)
        return self.head(self.norm(x)).reshape((-1, VOCABULARY))


gpt = GPT


def weights(model: nn.Module) -> State:
    """The parameters as PyTorch names them and lays them out: a Linear's weight is (out, in)."""
    state = {name: parameter.numpy() for name, parameter in model.named_parameters()}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            state[f"{path}.weight"] = state[f"{path}.weight"].T
            state[f"{path}.bias"] = state[f"{path}.bias"].reshape(-1)
    return {name.replace("modules.", ""): array for name, array in state.items()}


def training_step(
    name: str, device: str, quick: bool, dtype: str = "float32"
) -> tuple[nn.Module, Callable[[], float]]:
    """A network and the call that trains it once and returns the loss."""
    step = ALL_STEPS[name]
    with babygrad.device(device):
        babygrad.manual_seed(0)
        model: Any = globals()[step.model]()
        for parameter in [*model.parameters(), *model.buffers()]:
            parameter._data = parameter.data.astype(dtype)  # `.data` would keep its type
        samples, labels = step.data(quick)
        x = Tensor(samples, dtype=dtype if samples.dtype.kind == "f" else None)
        y = Tensor(labels, dtype=None)
    loss_fn = nn.CrossEntropyLoss()
    parameters = model.parameters()
    optimizer: Any = (
        optim.SGD(parameters, **SGD) if step.optimizer == "sgd" else optim.Adam(parameters, **ADAM)
    )

    def run() -> float:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return model, run


def prepare(
    name: str, variant: str, quick: bool, start: None, device: str
) -> tuple[Callable[[], float], tuple[State, list[float], State]]:
    """The step to time, its first weights, the losses of the first steps and the weights after."""
    model, run = training_step(name, device, quick)
    first = {key: np.array(value) for key, value in weights(model).items()}
    losses = [run() for _ in range(CHECKED_STEPS)]
    return run, (first, losses, weights(model))
