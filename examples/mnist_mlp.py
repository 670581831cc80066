"""Handwritten digits with a network of one hidden layer, in the book's own style.

    python examples/mnist_mlp.py

Reaches about 94 % on the 1,000 test images that come with babygrad, in a few seconds.
"""

import babygrad
from babygrad import nn
from babygrad.data import DataLoader, mnist5k
from babygrad.optim import Adam
from babygrad.trainer import Trainer

babygrad.manual_seed(0)

train, test = mnist5k()  # images (28, 28, 1) in [0, 1], labels 0 to 9
train_loader = DataLoader(train, batch_size=64, shuffle=True)
test_loader = DataLoader(test, batch_size=500)

model = nn.Sequential(
    nn.Flatten(),  # (N, 28, 28, 1) -> (N, 784)
    nn.Linear(784, 128),
    nn.ReLU(),
    nn.Linear(128, 10),
)
optimizer = Adam(model.parameters(), lr=1e-3)
trainer = Trainer(model, optimizer, nn.SoftmaxLoss(), train_loader, val_loader=test_loader)
trainer.fit(epochs=10)

print(f"test accuracy {100 * trainer.evaluate():.2f} %")
model.save("mnist-mlp.safetensors")
