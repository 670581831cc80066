"""Handwritten digits with a convolutional network, and the training loop written out.

    python examples/mnist_cnn.py

The network, the schedule and the augmentation are those of `babygrad train`: about 98 % on the
1,000 test images that come with babygrad.
"""

import time

import babygrad
from babygrad import nn, ops
from babygrad.data import DataLoader, RandomCrop, mnist5k
from babygrad.optim import Adam, CosineLR, LinearWarmup

EPOCHS = 15


class DigitsCNN(nn.Module):
    def __init__(self):
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

    def forward(self, x):
        return self.layers(ops.permute(x, (0, 3, 1, 2)))  # images become (N, 1, 28, 28)


def accuracy(model, loader):
    """The part of the images whose largest score is that of their label."""
    model.eval()
    with babygrad.no_grad():
        correct = [(model(x).data.argmax(axis=1) == y.data) for x, y in loader]
    return sum(c.sum() for c in correct) / sum(c.size for c in correct)


def main():
    babygrad.manual_seed(0)
    # A random shift by up to two pixels makes new images of the 4,000: 95 % without, 98 % with.
    train, test = mnist5k(transforms=[RandomCrop(padding=2)])
    train_loader = DataLoader(train, batch_size=64, shuffle=True)
    test_loader = DataLoader(test, batch_size=500)

    model = DigitsCNN()
    loss_fn = nn.SoftmaxLoss()
    optimizer = Adam(model.parameters(), lr=3e-3)
    # One epoch up to the full learning rate, then down along a cosine.
    cosine = CosineLR(optimizer, total_steps=(EPOCHS - 1) * len(train_loader))
    schedule = LinearWarmup(optimizer, len(train_loader), cosine)

    for epoch in range(1, EPOCHS + 1):
        model.train()
        begin, loss_sum = time.perf_counter(), 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(x)
        speed = len(train) / (time.perf_counter() - begin)
        print(
            f"epoch {epoch}: loss {loss_sum / len(train):.4f}, "
            f"test accuracy {100 * accuracy(model, test_loader):.2f} %, {speed:,.0f} images/s"
        )
    model.save("mnist-cnn.safetensors")


if __name__ == "__main__":
    main()
