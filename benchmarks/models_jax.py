"""The five training steps in JAX, each one jitted function; images are NHWC, which XLA prefers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks._training import (
    ADAM,
    BLOCKS,
    CHECKED_STEPS,
    HEADS,
    LENGTH,
    SGD,
    STEPS,
    VOCABULARY,
    WIDTH,
    State,
)

Weights = dict[str, Array]


def linear(w: Weights, name: str, x: Array) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def conv(w: Weights, name: str, x: Array, stride: int = 1) -> Array:
    y = lax.conv_general_dilated(
        x,
        w[f"{name}.weight"],
        (stride, stride),
        [(1, 1), (1, 1)],
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
    )
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def normalize(w: Weights, name: str, x: Array, axes: tuple[int, ...]) -> Array:
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def mlp(w: Weights, x: Array, layers: int) -> Array:
    for i in range(0, 2 * layers - 2, 2):
        x = jax.nn.relu(linear(w, f"{i}", x))
    return linear(w, f"{2 * layers - 2}", x)


mlp_small = partial(mlp, layers=2)
mlp_wide = partial(mlp, layers=3)


def cnn(w: Weights, x: Array) -> Array:
    for name, stride in (("0", 1), ("2", 2), ("4", 2)):
        x = jax.nn.relu(conv(w, name, x, stride))
    return linear(w, "7", x.transpose(0, 3, 1, 2).reshape(len(x), -1))


def conv_norm(w: Weights, name: str, x: Array, stride: int = 1) -> Array:
    """Without running averages, which spares JAX that little work."""
    return normalize(w, f"{name}.1", conv(w, f"{name}.0", x, stride), (0, 1, 2))


def residual_block(w: Weights, name: str, x: Array) -> Array:
    y = conv_norm(w, f"{name}.second", jax.nn.relu(conv_norm(w, f"{name}.first", x)))
    return jax.nn.relu(x + y)


def resnet(w: Weights, x: Array) -> Array:
    x = jax.nn.relu(conv_norm(w, "0", x))
    x = residual_block(w, "3", residual_block(w, "2", x))
    x = jax.nn.relu(conv_norm(w, "4", x, stride=2))
    x = residual_block(w, "7", residual_block(w, "6", x))
    return linear(w, "9", x.mean((1, 2)))


def attention(w: Weights, name: str, x: Array) -> Array:
    joined = x @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"]
    q, k, v = (
        part.reshape(*x.shape[:2], HEADS, WIDTH // HEADS) for part in jnp.split(joined, 3, -1)
    )
    scores = jnp.einsum("blhd,bshd->bhls", q, k) / math.sqrt(WIDTH // HEADS)
    scores = jnp.where(jnp.tri(LENGTH, dtype=bool), scores, -jnp.inf)
    y = jnp.einsum("bhls,bshd->blhd", jax.nn.softmax(scores), v)
    return linear(w, f"{name}.out_proj", y.reshape(x.shape))


def gpt(w: Weights, ids: Array) -> Array:
    x = w["tokens.weight"][ids] + w["positions"]
    for i in range(BLOCKS):
        block = f"blocks.{i}"
        x = x + attention(w, f"{block}.self_attn", normalize(w, f"{block}.norm1", x, (-1,)))
        y = linear(w, f"{block}.linear1", normalize(w, f"{block}.norm2", x, (-1,)))
        x = x + linear(w, f"{block}.linear2", jax.nn.gelu(y, approximate=False))
    return linear(w, "head", normalize(w, "norm", x, (-1,))).reshape(-1, VOCABULARY)


def sgd(w: Weights, grads: Weights, state: None, count: Array) -> tuple[Weights, None]:
    return {k: w[k] - SGD["lr"] * grads[k] for k in w}, state


def adam(
    w: Weights, grads: Weights, state: tuple[Weights, Weights], count: Array
) -> tuple[Weights, tuple[Weights, Weights]]:
    m = {k: 0.9 * state[0][k] + 0.1 * g for k, g in grads.items()}
    v = {k: 0.999 * state[1][k] + 0.001 * g * g for k, g in grads.items()}
    step_size, root = ADAM["lr"] / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
    updated = {k: w[k] - step_size * m[k] / (jnp.sqrt(v[k]) / root + ADAM["eps"]) for k in w}
    return updated, (m, v)


def prepare(
    name: str, variant: str, quick: bool, start: State
) -> tuple[Callable[[], float], tuple[State, list[float], State]]:
    """The step to time, its first weights, the losses of the first steps and the weights after."""
    step = STEPS[name]
    model = globals()[step.model]
    update = sgd if step.optimizer == "sgd" else adam
    samples, labels = step.data(quick)
    x = jnp.asarray(samples.transpose(0, 2, 3, 1) if samples.ndim == 4 else samples)
    y = jnp.asarray(labels)

    def loss_of(w: Weights) -> Array:
        scores = jax.nn.log_softmax(model(w, x=x) if step.model[:3] == "mlp" else model(w, x))
        return -scores[jnp.arange(len(y)), y].mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def train(w: Weights, state: object, count: Array) -> tuple[Array, Weights, object]:
        loss, grads = jax.value_and_grad(loss_of)(w)
        return loss, *update(w, grads, state, count)

    w = {key: jnp.asarray(value) for key, value in start.items()}
    zeros = lambda: {k: jnp.zeros_like(a) for k, a in w.items()}  # noqa: E731
    state: object = (zeros(), zeros()) if step.optimizer == "adam" else None
    count = 0

    def run() -> float:
        nonlocal w, state, count
        count += 1
        loss, w, state = train(w, state, jnp.float32(count))
        jax.block_until_ready((w, state))
        return float(loss)

    losses = [run() for _ in range(CHECKED_STEPS)]
    return run, (start, losses, {key: np.asarray(value) for key, value in w.items()})
