"""The five training steps in PyTorch, eager, in both memory formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

VARIANTS = {"torch": torch.contiguous_format, "torch channels_last": torch.channels_last}


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
        return F.relu(x + self.second(F.relu(self.first(x))))


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


class Attention(nn.Module):
    """nn.MultiheadAttention's parameters, without its transposes and checks: it is faster."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * WIDTH, WIDTH))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * WIDTH))
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        joined = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (
            part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in joined.split(WIDTH, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(y.transpose(1, 2).reshape(batch, length, WIDTH))


class TransformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention()
        self.linear1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.linear2 = nn.Linear(4 * WIDTH, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm1(x))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Parameter(torch.empty(LENGTH, WIDTH))
        self.blocks = nn.ModuleList([TransformerBlock() for _ in range(BLOCKS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).reshape(-1, VOCABULARY)


gpt = GPT


def weights(model: nn.Module) -> State:
    return {name: p.detach().contiguous().numpy().copy() for name, p in model.named_parameters()}


def load(model: nn.Module, state: State) -> None:
    """Set every parameter; the running statistics are no part of the state."""
    parameters = dict(model.named_parameters())
    if parameters.keys() != state.keys():
        raise ValueError(f"parameters {list(parameters)}, but weights for {list(state)}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.from_numpy(np.array(state[name])))


def training_step(
    name: str, variant: str, quick: bool, start: State | None = None, fused: bool = False
) -> tuple[nn.Module, Callable[[], float]]:
    """A network, with the weights `start` if given, and the call that trains it once."""
    step = ALL_STEPS[name]
    layout: Any = VARIANTS[variant]
    model: nn.Module = globals()[step.model]()
    if start is not None:
        load(model, start)
    model = model.to(memory_format=layout)
    x, y = map(torch.from_numpy, step.data(quick))
    if x.ndim == 4:
        x = x.contiguous(memory_format=layout)
    optimizer: Any = (
        torch.optim.SGD(model.parameters(), **SGD, fused=fused)
        if step.optimizer == "sgd"
        else torch.optim.Adam(model.parameters(), **ADAM, fused=fused)
    )

    def run() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, run


def prepare(
    name: str, variant: str, quick: bool, start: State, fused: bool = False
) -> tuple[Callable[[], float], tuple[State, list[float], State]]:
    """The step to time, its first weights, the losses of the first steps and the weights after."""
    model, run = training_step(name, variant, quick, start, fused)
    losses = [run() for _ in range(CHECKED_STEPS)]
    return run, (start, losses, weights(model))
