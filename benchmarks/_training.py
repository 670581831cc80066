"""The five training steps: what they compute, on which data, and how results are compared.

The networks themselves are in `models_babygrad.py`, `models_torch.py` and `models_jax.py`, under
the same names. Weights are exchanged with PyTorch's names and layouts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

State = dict[str, np.ndarray]

# The optimizers' settings. Adam's eps is large enough that a gradient which is zero but for
# rounding, as that of the keys' bias is, does not become a step of full size.
SGD = {"lr": 0.1}
ADAM = {"lr": 1e-3, "eps": 1e-6}

VOCABULARY, LENGTH, WIDTH, HEADS, BLOCKS = 65, 64, 128, 4, 4
"""The GPT's sizes."""

CHECKED_STEPS = 4


@dataclass(frozen=True)
class Step:
    """One training step: forward, loss, backward, update.

    Attributes
    ----------
    model : str
        The function that builds the network, in each `models_*` module.
    optimizer : {"sgd", "adam"}
    batch : int
    shape : tuple of int
        Of one sample.
    classes : int
    flops : int
        Floating-point operations of the products and convolutions, for one sample.
    """

    title: str
    model: str
    optimizer: str
    batch: int
    shape: tuple[int, ...]
    classes: int
    flops: int

    def data(self, quick: bool) -> tuple[np.ndarray, np.ndarray]:
        """The batch and its labels; four samples when quick."""
        rng = np.random.default_rng(0)
        batch = 4 if quick else self.batch
        if self.model == "gpt":
            tokens = rng.integers(0, VOCABULARY, (batch, LENGTH + 1))
            return tokens[:, :-1], tokens[:, 1:].reshape(-1)
        x = rng.standard_normal((batch, *self.shape), dtype=np.float32)
        return x, rng.integers(0, self.classes, batch)


def _training_flops(first: int, *others: int) -> int:
    """From the multiply-adds of the layers: forward, weights, and inputs but for the first."""
    return 2 * (2 * first + 3 * sum(others))


def _conv(pixels: int, inputs: int, outputs: int, kernel: int = 3) -> int:
    return pixels * kernel**2 * inputs * outputs


_GPT_LAYER = LENGTH * 12 * WIDTH**2 + 2 * LENGTH**2 * WIDTH

STEPS = {
    "mlp": Step(
        "MLP 784-128-10, batch 64, SGD", "mlp_small", "sgd", 64, (784,), 10,
        _training_flops(784 * 128, 128 * 10),
    ),
    "mlp-wide": Step(
        "MLP 784-512-512-10, batch 256, Adam", "mlp_wide", "adam", 256, (784,), 10,
        _training_flops(784 * 512, 512 * 512, 512 * 10),
    ),
    "cnn": Step(
        "CNN 1-16-32-64, 28x28, batch 64, Adam", "cnn", "adam", 64, (1, 28, 28), 10,
        _training_flops(
            _conv(28**2, 1, 16), _conv(14**2, 16, 32), _conv(7**2, 32, 64), 64 * 49 * 10
        ),
    ),
    "resnet": Step(
        "residual CNN, 32 and 64 channels, 32x32, batch 32, Adam", "resnet", "adam", 32,
        (3, 32, 32), 10,
        _training_flops(
            _conv(32**2, 3, 32), *[_conv(32**2, 32, 32)] * 4, _conv(16**2, 32, 64),
            *[_conv(16**2, 64, 64)] * 4, 64 * 10,
        ),
    ),
    "gpt": Step(
        "GPT, 4 layers, 128 wide, 64 long, batch 16, Adam", "gpt", "adam", 16,
        (LENGTH,), VOCABULARY,
        _training_flops(0, *[_GPT_LAYER] * BLOCKS, LENGTH * WIDTH * VOCABULARY),
    ),
}  # fmt: skip


EXTRA_STEPS = {
    "mlp-deep": Step(
        "MLP of 50 layers, 512 wide, batch 1024, SGD",
        "mlp_deep",
        "sgd",
        1024,
        (512,),
        10,
        _training_flops(*[512**2] * 50, 512 * 10),
    ),
}
"""Not timed; its memory is measured."""

ALL_STEPS = STEPS | EXTRA_STEPS


def check_losses(name: str, losses: list[float], expected: list[float]) -> None:
    """Raise unless the losses of the first steps agree to 4 digits."""
    if not np.allclose(losses, expected, rtol=1e-4, atol=1e-4) or not np.isfinite(losses).all():
        raise AssertionError(f"{name}: losses {losses} instead of {expected}")


def check_weights(name: str, start: State, weights: State, expected: State) -> None:
    """Raise unless each tensor has moved as expected, but for a tenth of the way.

    Adam divides by the gradient's size, so that rounding errors in small gradients are errors of
    the step; a wrong gradient moves a tensor by a way of its own.
    """
    for key, want in expected.items():
        way = np.linalg.norm(want - start[key])
        error = np.linalg.norm(weights[key] - want)
        if not error <= 0.1 * way + 1e-6 * np.linalg.norm(want):
            raise AssertionError(f"{name}: {key} is {error / way:.3f} of its way off")
