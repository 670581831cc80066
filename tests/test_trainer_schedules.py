"""Schedules that follow a metric: the Trainer steps them with the loss or the accuracy."""

import numpy as np
import pytest

from babygrad import nn
from babygrad.optim import SGD, ReduceLROnPlateau
from babygrad.trainer import Trainer

X = np.arange(30, dtype=np.float32).reshape(10, 3) / 30
Y = np.arange(10) % 2


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x)


class Metrics(ReduceLROnPlateau):
    """Notes what it is given."""

    def step(self, metric):
        self.given = [*getattr(self, "given", []), metric]
        super().step(metric)


def following(mode, val=None, loss_fn=None, model=None):
    model = model or Classifier()
    optimizer = SGD(model.parameters(), 0.1)
    schedule = Metrics(optimizer, mode=mode)
    train = [(X[:6], Y[:6]), (X[6:], Y[6:])]
    return Trainer(model, optimizer, loss_fn or nn.SoftmaxLoss(), train, val, scheduler=schedule)


def test_reduce_lr_on_plateau_follows_the_training_without_validation(device):
    for mode, name in (("min", "loss"), ("max", "accuracy")):
        it = following(mode)
        history = it.fit(3, quiet=True)
        assert it.scheduler.given == history[name]
        assert set(history) == {"loss", "accuracy"}


def test_reduce_lr_on_plateau_follows_the_validation(device, capsys):
    val = [(X[:7], Y[:7]), (X[7:], Y[7:])]
    it = following("min", val)
    history = it.fit(1)
    logits = X.astype(np.float64) @ it.model.linear.weight.numpy() + it.model.linear.bias.numpy()
    expected = (np.log(np.exp(logits).sum(1)) - logits[np.arange(10), Y]).mean()
    assert it.scheduler.given == history["val_loss"] == pytest.approx([expected], rel=1e-5)
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert f", val_loss {expected:.4f}, val_accuracy " in capsys.readouterr().out
    assert it.model.training
    it = following("max", val)
    history = it.fit(2, quiet=True)
    assert it.scheduler.given == history["val_accuracy"]
    assert set(history) == {"loss", "accuracy", "val_accuracy"}


def test_reduce_lr_on_plateau_lowers_the_rate(device):
    model = Classifier()
    optimizer = SGD(model.parameters(), 1e-30)
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    it = Trainer(model, optimizer, nn.SoftmaxLoss(), [(X, Y)], [(X, Y)], scheduler=schedule)
    it.fit(5, quiet=True)
    assert optimizer.lr == pytest.approx(1e-30 / 4)  # epochs 3 and 5 are the second in waiting


def test_a_scheduler_is_not_given_an_accuracy_that_is_not_known(device):
    it = following("max", loss_fn=lambda p, y: (p * p).sum() + y.sum() * 0)
    it.train_loader = [(X, X)]
    with pytest.warns(UserWarning, match="mode 'max' follows the accuracy, which is not known"):
        it.fit(1, quiet=True)
    assert not hasattr(it.scheduler, "given")
