"""The two networks for handwritten digits that `babygrad train` offers.

Both take images as `data.MNISTDataset` gives them, (N, 28, 28, 1) in [0, 1], and return (N, 10)
scores. `examples/` shows the same networks in scripts that stand alone.
"""

from __future__ import annotations

from babygrad import nn, ops
from babygrad.tensor import Tensor


class DigitsMLP(nn.Module):
    """One hidden layer of 128 units."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(28 * 28, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class DigitsCNN(nn.Module):
    """Three 3x3 convolutions with 16, 32 and 64 channels, two of stride 2, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv(1, 16, 3),
            nn.ReLU(),
            nn.Conv(16, 32, 3, stride=2),  # 28 x 28 -> 14 x 14
            nn.ReLU(),
            nn.Conv(32, 64, 3, stride=2),  # 14 x 14 -> 7 x 7
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        images = ops.permute(x, (0, 3, 1, 2))  # (N, 28, 28, 1) -> (N, 1, 28, 28), a view
        return self.layers(images)  # type: ignore[no-any-return]
