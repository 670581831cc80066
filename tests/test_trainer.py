"""The training loop: averages, modes, batches of every form, interruption, reports."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn
from babygrad.data import ArrayDataset, DataLoader, mnist5k
from babygrad.optim import SGD, Adam, StepLR
from babygrad.trainer import Trainer


class Recorder(nn.Module):
    """A linear classifier that notes its mode and the sizes of what it is given."""

    def __init__(self, inputs=3, classes=2):
        super().__init__()
        self.linear = nn.Linear(inputs, classes)
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, len(x), babygrad.is_grad_enabled()))
        return self.linear(x)


@pytest.fixture(autouse=True)
def seeded():
    babygrad.manual_seed(0)
    yield
    babygrad.manual_seed(None)


def problem(n=10):
    """n points, labelled by the sign of their first coordinate."""
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    return ArrayDataset(x, (x[:, 0] > 0).astype(np.int64))


def trainer(train=None, val=None, model=None, loss_fn=None, lr=0.5, **options):
    model = model or Recorder()
    train = train if train is not None else DataLoader(problem(), 4)
    optimizer = SGD(model.parameters(), lr)
    return Trainer(model, optimizer, loss_fn or nn.SoftmaxLoss(), train, val, **options)


def test_it_learns(device):
    loader = DataLoader(problem(100), 10, shuffle=True)
    it = trainer(loader, loader)
    history = it.fit(15, quiet=True)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["val_accuracy"][-1] >= 0.95
    assert it.evaluate() == history["val_accuracy"][-1]


def test_it_learns_digits(device):
    train, test = mnist5k()
    part = ArrayDataset(train.images[::10], train.labels[::10])
    model = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    loader = DataLoader(part, 40, shuffle=True)
    it = Trainer(model, Adam(model.parameters(), 0.01), nn.SoftmaxLoss(), loader)
    it.fit(5, quiet=True)
    assert it.evaluate(DataLoader(ArrayDataset(test.images, test.labels), 500)) > 0.6


def test_averages_are_over_samples(device):
    """Batches of 4, 4 and 2 with means 1, 2 and 3 have the mean 1.8, not 2.0."""
    means = {0: 1.0, 4: 2.0, 8: 3.0}

    def loss_fn(prediction, y):
        return (prediction * 0).sum() + means[int(y.data[0])]

    loader = DataLoader(ArrayDataset(np.zeros((10, 3), np.float32), np.arange(10)), 4)
    history = trainer(loader, loss_fn=loss_fn).fit(2, quiet=True)
    assert history["loss"] == pytest.approx([1.8, 1.8], rel=1e-12)


def test_accuracy_is_merged_by_counts():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter([0.0])

        def forward(self, x):
            return x + self.w * 0

    scores = np.eye(2, dtype=np.float32)[[0, 0, 0, 0, 1]]  # right, right, right, wrong; wrong
    dataset = ArrayDataset(scores, np.array([0, 0, 0, 1, 0]))
    it = trainer(DataLoader(dataset, 4), model=Constant())
    assert it.fit(1, quiet=True)["accuracy"] == pytest.approx([3 / 5])
    assert it.evaluate(DataLoader(dataset, 4)) == pytest.approx(3 / 5)


def test_history_is_floats_by_epoch():
    loader = DataLoader(problem(), 4)
    history = trainer(loader, loader).fit(3, quiet=True)
    assert set(history) == {"loss", "accuracy", "val_accuracy"}
    for values in history.values():
        assert [type(v) for v in values] == [float] * 3
    assert set(trainer(loader).fit(1, quiet=True)) == {"loss", "accuracy"}


def test_modes_during_and_after():
    loader = DataLoader(problem(), 4)
    it = trainer(loader, loader)
    it.model.eval()
    it.fit(2, quiet=True)
    training = [(True, n, True) for n in (4, 4, 2)]
    validating = [(False, n, False) for n in (4, 4, 2)]
    assert it.model.seen == (training + validating) * 2
    assert it.model.training
    assert it.model.linear.training
    it.evaluate()
    assert not it.model.training


def test_evaluate_without_any_loader_is_zero_as_in_the_book():
    assert trainer().evaluate() == 0.0


BATCHES = {
    "tuples of Tensors": lambda x, y: (Tensor(x), Tensor(y, dtype=None)),
    "lists": lambda x, y: [x, y],
    "arrays": lambda x, y: (x, y),
    "float64 arrays and lists": lambda x, y: (x.astype("float64"), y.tolist()),
    "objects": lambda x, y: SimpleNamespace(x=x, y=y),
    "objects of Tensors": lambda x, y: SimpleNamespace(x=Tensor(x), y=Tensor(y, dtype=None)),
    "the book's float labels": lambda x, y: (Tensor(x), Tensor(y)),
}


@pytest.mark.parametrize("form", BATCHES)
def test_batches_of_every_form_train_alike(device, form):
    x, y = problem().arrays
    plain = trainer([(x, y)])
    babygrad.manual_seed(0)
    other = trainer([BATCHES[form](x, y)], [BATCHES[form](x, y)])
    for w, v in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        w.data = v.data.copy()
    assert plain.fit(2, quiet=True)["loss"] == other.fit(2, quiet=True)["loss"]
    assert other.evaluate() == plain.evaluate([(x, y)])


@pytest.mark.usefixtures("numba")
def test_batches_follow_the_model_to_its_device():
    it = trainer(DataLoader(problem(), 4))
    it.model.to("cpu:numba")
    it.fit(1, quiet=True)
    assert it.model(Tensor.ones(1, 3, device="cpu:numba")).device == "cpu:numba"


def test_regression_has_no_accuracy(capsys):
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(8, 1)
    loader = DataLoader(ArrayDataset(x, 2 * x), 4)
    model = nn.Linear(1, 1)
    it = Trainer(model, SGD(model.parameters(), 0.5), nn.MSELoss(), loader, loader)
    history = it.fit(40)
    assert history["loss"][-1] < 1e-3
    assert all(math.isnan(a) for a in history["accuracy"] + history["val_accuracy"])
    assert "accuracy" not in capsys.readouterr().out


def test_a_scheduler_is_stepped_with_every_batch():
    model = Recorder()
    optimizer = SGD(model.parameters(), 1.0)
    schedule = StepLR(optimizer, step_size=3, gamma=0.5)
    loader = DataLoader(problem(), 4)
    Trainer(model, optimizer, nn.SoftmaxLoss(), loader, scheduler=schedule).fit(2, quiet=True)
    assert optimizer.lr == 0.25


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_it_does_harm(device, bad):
    x, y = problem().arrays
    it = trainer([(x, y), (x * bad, y)])
    before = None

    def loss_fn(prediction, target):
        nonlocal before
        before = it.model.state_dict()
        return nn.SoftmaxLoss()(prediction, target)

    it.loss_fn = loss_fn
    with pytest.raises(
        RuntimeError, match=r"the loss is nan in epoch 1, batch 1; .* babygrad.detect_anomaly\(\)"
    ):
        it.fit(3, quiet=True)
    for name, value in it.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert it.model.training


def test_ctrl_c_ends_the_training_and_keeps_the_history(capsys):
    class Interrupted(Recorder):
        def forward(self, x):
            if len(self.seen) == 8:  # in the second epoch's validation
                raise KeyboardInterrupt
            return super().forward(x)

    loader = DataLoader(problem(), 4)
    it = trainer(loader, loader, model=Interrupted())
    history = it.fit(5)
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 1,
        "accuracy": 1,
        "val_accuracy": 1,
    }
    assert it.model.training
    assert capsys.readouterr().out.splitlines()[-1] == "interrupted in epoch 2"


def test_one_line_per_epoch_when_there_is_no_terminal(capsys):
    loader = DataLoader(problem(), 4)
    trainer(loader, loader).fit(2)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2: loss 0.")
    assert "%, val_accuracy " in lines[0]
    assert lines[0].endswith(" samples/s")
    assert err == ""


def test_a_bar_on_request_and_nothing_when_quiet(capsys):
    trainer().fit(1, progress=True)
    out, err = capsys.readouterr()
    assert "epoch 1/1" in err
    assert len(out.splitlines()) == 1
    trainer().fit(1, quiet=True, progress=True)
    assert capsys.readouterr() == ("", "")


def test_no_graph_outlives_a_batch():
    it = trainer()
    it.fit(1, quiet=True)
    assert all(p.grad is not None for p in it.model.parameters())
    assert not [v for v in vars(it).values() if isinstance(v, Tensor)]
