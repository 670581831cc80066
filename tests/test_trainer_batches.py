"""What the Trainer is given: batches, loaders, losses and schedulers, good and bad."""

import math
import re
from contextlib import nullcontext

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn, ops
from babygrad.data import ArrayDataset, DataLoader
from babygrad.optim import SGD, ReduceLROnPlateau, StepLR
from babygrad.trainer import Trainer

X = np.arange(30, dtype=np.float32).reshape(10, 3) / 30
Y = np.arange(10) % 2


class Recorder(nn.Module):
    """A linear classifier that keeps the values that it was given."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.seen = []

    def forward(self, x):
        self.seen.append(x.numpy())
        return self.linear(x)


def trainer(train, val=None, loss_fn=None, **options):
    model = Recorder()
    optimizer = SGD(model.parameters(), 0.1)
    return Trainer(model, optimizer, loss_fn or nn.SoftmaxLoss(), train, val, **options)


def refused(it, kind, message, epochs=2):
    """Training ends with one sentence before a parameter has changed."""
    before = {name: value.copy() for name, value in it.model.state_dict().items()}
    with pytest.raises(kind, match=message) as caught:
        it.fit(epochs, quiet=True)
    assert "\n" not in str(caught.value)
    for name, value in it.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# ----- Types -----


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "uint64", "bool", ">i4"])
def test_raw_integers_keep_their_type_and_value(device, kind):
    large = min(16777217, np.iinfo(kind).max) if kind != "bool" else 1
    x = np.array([[large, 0, 1]] * 4).astype(kind)
    it = trainer([(x, Y[:4])])
    it.fit(1, quiet=True)
    it.evaluate([(x.tolist(), Y[:4])])
    raw, listed = it.model.seen
    assert raw.dtype == np.dtype(kind).newbyteorder("=")
    assert raw.tolist() == listed.tolist() == x.tolist()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_raw_floats_take_the_type_that_the_model_computes_in(device, dtype, kind):
    it = trainer([(X.astype(kind), Y)])
    it.model.linear = nn.Linear(3, 2, dtype=dtype)
    it.optimizer = SGD(it.model.parameters(), 0.1)
    it.fit(1, quiet=True)
    (seen,) = it.model.seen
    assert seen.dtype == dtype
    np.testing.assert_array_equal(seen, X.astype(kind).astype(dtype))


def test_raw_arrays_are_copied():
    x = X.copy()

    class Writer(Recorder):
        def forward(self, x):
            x.data[:] = 0
            return super().forward(x)

    model = Writer()
    Trainer(model, SGD(model.parameters(), 0.1), nn.SoftmaxLoss(), [(x, Y)]).fit(1, quiet=True)
    np.testing.assert_array_equal(x, X)


# ----- Batches that are none -----

BATCHES = {
    "dict": ({"x": X, "y": Y}, r"batch 1 of train_loader is a dict with the keys \['x', 'y'\]; a"),
    "triple": ((X, Y, Y), "batch 1 of train_loader is a tuple of 3 elements; a batch must be a pa"),
    "single": ((X,), "batch 1 of train_loader is a tuple of 1 elements; a batch must be a pair"),
    "Tensor": (Tensor(X), r"batch 1 of train_loader is a Tensor of shape \(10, 3\) and dtype"),
    "None": (None, "batch 1 of train_loader is None; a batch must be a pair"),
    "text": ("xy", r"batch 1 of train_loader is a str \(='xy'\); a batch must be a pair"),
    "no target": ((X, None), "the target of batch 1 of train_loader: data of type NoneType is"),
    "text input": (
        (["a"] * 10, Y),
        "the input of batch 1 of train_loader: data of type list with str in",
    ),
    "dict input": (
        ({"ids": X}, Y),
        "the input of batch 1 of train_loader: data of type dict is not",
    ),
    "ragged": (
        ([[1, 2], [3]], Y),
        "the input of batch 1 of train_loader: data of type list is not",
    ),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_that_is_none_is_named_with_what_it_must_be(device, case):
    batch, message = BATCHES[case]
    it = trainer([(X, Y), batch])
    with pytest.raises(TypeError, match=f"^Trainer: {message}") as caught:
        it.fit(1, quiet=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match=f"^Trainer: {message}".replace("train_", "the ")):
        it.evaluate([(X, Y), batch])


@pytest.mark.parametrize(("x", "y"), [(1.0, 1.0), (X[:0], Y[:0])])
def test_inputs_without_samples_are_refused(device, x, y):
    message = (
        r"^Trainer: the input of batch 0 of train_loader has shape \((0, 3)?\); its first axis"
    )
    refused(trainer([(x, y)]), ValueError, message)


# ----- Losses that are none -----

LOSSES = {
    "float": (lambda p, y: 0.5, TypeError, r"loss_fn returned a float \(=0.5\); it must"),
    "numpy": (lambda p, y: np.float64(2), TypeError, "loss_fn returned a float64 "),
    "array": (lambda p, y: p.numpy(), TypeError, "loss_fn returned a ndarray of shape"),
    "None": (lambda p, y: None, TypeError, "loss_fn returned None; it must"),
    "tuple": (lambda p, y: (p.sum(), 1), TypeError, "loss_fn returned a tuple of 2 elements"),
    "not reduced": (
        nn.CrossEntropyLoss(reduction="none"),
        ValueError,
        r"loss_fn returned a Tensor of shape \(10,\); it must have one element, the mean",
    ),
    "no graph": (lambda p, y: Tensor(p.numpy().mean()), RuntimeError, "does not require grad"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_that_cannot_be_differentiated_is_named(device, case):
    loss_fn, kind, message = LOSSES[case]
    refused(trainer([(X, Y)], loss_fn=loss_fn), kind, f"^Trainer: .*{message}")


def test_what_is_no_loss_loader_or_scheduler_is_refused_when_it_is_given():
    with pytest.raises(TypeError, match=r"loss_fn is the class MSELoss; give an instance, MSELoss"):
        trainer([(X, Y)], loss_fn=nn.MSELoss)
    with pytest.raises(TypeError, match="Trainer: train_loader is None, which has no batches"):
        trainer(None)
    with pytest.raises(TypeError, match=r"Trainer: val_loader is an int \(=3\), which has no batc"):
        trainer([(X, Y)], 3)
    with pytest.raises(TypeError, match=r"Trainer: scheduler is a float \(=0.1\), which has no st"):
        trainer([(X, Y)], scheduler=0.1)
    for schedule in (StepLR, ReduceLROnPlateau):
        kind = schedule.__name__
        message = rf"^Trainer: scheduler is the class {kind}; give an instance, {kind}\(\.\.\.\)$"
        with pytest.raises(TypeError, match=message):
            trainer([(X, Y)], scheduler=schedule)
    for wrong, shown in ((5, r"an int \(=5\)"), (None, "None"), ("mse", r"a str \(='mse'\)")):
        with pytest.raises(TypeError, match=f"^Trainer: loss_fn is {shown}; it must be a function"):
            Trainer(Recorder(), SGD([Tensor([1.0], requires_grad=True)]), wrong, [(X, Y)])


def test_what_is_no_model_or_optimizer_is_refused_when_it_is_given():
    model, loss_fn = Recorder(), nn.SoftmaxLoss()
    optimizer = SGD(model.parameters(), 0.1)
    for wrong, shown in ((None, "None"), (len, "a builtin_function_or_method .*"), ([1], "a list")):
        with pytest.raises(TypeError, match=f"^Trainer: model is {shown}.*; it must be a Module$"):
            Trainer(wrong, optimizer, loss_fn, [(X, Y)])
        message = f"^Trainer: optimizer is {shown}.*; it must be an Optimizer$"
        with pytest.raises(TypeError, match=message):
            Trainer(model, wrong, loss_fn, [(X, Y)])
    with pytest.raises(TypeError, match=r"^Trainer: model is the class Recorder; give an instance"):
        Trainer(Recorder, optimizer, loss_fn, [(X, Y)])
    with pytest.raises(TypeError, match=r"^Trainer: optimizer is the class SGD; give an instance"):
        Trainer(model, SGD, loss_fn, [(X, Y)])


@pytest.mark.parametrize("epochs", [-1, "3", True, 2.0, None, [1]])
def test_epochs_must_be_a_whole_number(epochs):
    message = rf"^Trainer.fit: epochs \(={re.escape(repr(epochs))}\) must be a non-negative integer"
    refused(trainer([(X, Y)]), ValueError, message, epochs)


def test_no_epochs_and_numpys_integers_are_whole_numbers():
    it = trainer([(X, Y)])
    assert it.fit(0, quiet=True) == {"loss": [], "accuracy": []}
    assert len(it.fit(np.int64(2), quiet=True)["loss"]) == 2


# ----- Loaders without batches -----


def generator():
    return (batch for batch in [(X, Y)])


def used_up():
    it = iter([(X, Y)])
    list(it)
    return it


EMPTY = {
    "a generator": (generator, "in epoch 2: an iterator can be gone through once; give a list"),
    "a used-up iterator": (used_up, "in epoch 1: an iterator can be gone through once"),
    "a list": (list, "in epoch 1: it is a list of 0 elements"),
    "a tuple": (tuple, "in epoch 1: it is a tuple of 0 elements"),
    "an empty dataset": (
        lambda: DataLoader(ArrayDataset(X[:0], Y[:0]), 4),
        "in epoch 1: its dataset has 0 samples",
    ),
    "a short dataset": (
        lambda: DataLoader(ArrayDataset(X, Y), 11, drop_last=True),
        "in epoch 1: its dataset has 10 samples, and drop_last leaves out a batch of less than 11",
    ),
}


@pytest.mark.parametrize("case", EMPTY)
def test_a_loader_without_batches_is_named_with_the_reason(device, case):
    make, message = EMPTY[case]
    refused(trainer(make()), ValueError, f"^Trainer: train_loader gives no batches {message}")
    it = trainer([(X, Y)], make())
    with pytest.raises(ValueError, match=f"^Trainer: val_loader gives no batches {message}"):
        it.fit(2, quiet=True)


def test_an_iterator_that_ends_with_the_first_epoch_is_named_in_the_second(device):
    for loaders, name in (((iter([(X, Y)]),), "train"), (([(X, Y)], iter([(X, Y)])), "val")):
        it = trainer(*loaders)
        with pytest.raises(ValueError, match=f"Trainer: {name}_loader gives no batches in epoch 2"):
            it.fit(3, quiet=True)


def test_a_generator_does_for_one_epoch(device):
    history = trainer(generator(), generator()).fit(1, quiet=True)
    assert all(math.isfinite(values[0]) for values in history.values())


def test_an_iterator_that_begins_anew_does_for_all_epochs():
    class Again:
        """As the book's loader: its own iterator, reset by iter()."""

        def __iter__(self):
            self.left = 2
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return X, Y

    assert len(trainer(Again(), Again()).fit(3, quiet=True)["val_accuracy"]) == 3


def test_evaluate_names_a_loader_without_batches(device):
    it = trainer([(X, Y)], used_up())
    with pytest.raises(
        ValueError, match=r"^Trainer: the loader gives no batches: it is a list of 0"
    ):
        it.evaluate([])
    with pytest.raises(ValueError, match=r"^Trainer: val_loader gives no batches: an iterator can"):
        it.evaluate()


# ----- Numbers that are not finite -----


@pytest.mark.parametrize("watched", [False, True], ids=["plain", "detect_anomaly"])
@pytest.mark.parametrize(("bad", "kind"), [(np.nan, "a NaN"), (np.inf, "an infinity")])
def test_a_nan_in_the_input_is_found_by_batch_sample_and_column(device, bad, kind, watched):
    x = X.copy()
    x[6, 1] = bad
    it = trainer(DataLoader(ArrayDataset(x, Y), 4))
    message = rf"{kind} in sample 2 \(sample 6 of the dataset\), column 1.* mend the data"
    scope = babygrad.detect_anomaly() if watched else nullcontext()
    with scope, pytest.raises(RuntimeError, match="^Trainer: .*the input has " + message) as caught:
        it.fit(2, quiet=True)
    text = str(caught.value)
    assert "epoch 1, batch 1" in text
    assert "learning rate" not in text
    assert ("detect_anomaly" in text) is not watched
    assert all(np.isfinite(value).all() for value in it.model.state_dict().values())


def test_the_sample_of_the_dataset_is_named_in_whatever_order_it_comes(device):
    x = X.copy()
    x[6, 2] = np.nan
    for seed in range(3):
        loader = DataLoader(
            ArrayDataset(x, Y), 4, shuffle=True, generator=np.random.default_rng(seed)
        )
        shuffled = np.arange(10)
        np.random.default_rng(seed).shuffle(shuffled)
        place = shuffled.tolist().index(6)
        message = (
            rf"in epoch 1, batch {place // 4}; the input has a NaN in sample {place % 4} "
            r"\(sample 6 of the dataset\), column 2"
        )
        with pytest.raises(RuntimeError, match=message):
            trainer(loader).fit(1, quiet=True)


def test_a_nan_in_images_targets_and_single_columns_is_found(device):
    images = np.ones((4, 1, 5, 6), np.float32)
    images[3, 0, 4, 2] = np.nan
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, 2))
    it = Trainer(model, SGD(model.parameters(), 0.1), nn.SoftmaxLoss(), [(images, Y[:4])])
    with pytest.raises(RuntimeError, match=r"input has a NaN in sample 3, column \(0, 4, 2\)"):
        it.fit(1, quiet=True)
    targets = X[:, :2].copy()
    targets[5, 1] = np.inf
    with pytest.raises(RuntimeError, match="the target has an infinity in sample 5, column 1"):
        trainer([(X, targets)], loss_fn=nn.MSELoss()).fit(1, quiet=True)
    column = np.array([0.0, np.nan, 1.0], np.float32)
    loss_fn = lambda p, y: (p.sum() + y.sum()) * 1.0  # noqa: E731
    with pytest.raises(RuntimeError, match=r"the target has a NaN in sample 1(:|,) "):
        trainer([(X[:3], column)], loss_fn=loss_fn).fit(1, quiet=True)


def test_the_learning_rate_is_to_blame_only_when_the_data_are_finite(device):
    it = trainer([(X, Y)], loss_fn=lambda p, y: (p.sum() * 0).log())
    message = (
        r"the loss is -?inf in epoch 1, batch 0; lower the learning rate, or fit within babygra"
    )
    refused(it, RuntimeError, message)


@pytest.mark.parametrize("ignored", [-100, 0, np.int64(1)])
def test_a_batch_without_a_label_that_counts_is_said_to_have_none(device, ignored):
    labels = np.full(len(X), ignored)
    for loss_fn in (
        nn.CrossEntropyLoss(ignore_index=ignored),
        nn.NLLLoss(ignore_index=ignored),
        *([nn.SoftmaxLoss(), lambda p, y: ops.cross_entropy(p, y)] if ignored == -100 else []),
    ):
        message = (
            "the loss is nan in epoch 1, batch 0; no label of the batch counts, for all are "
            f"{ignored}, and the mean of none is NaN: leave such a batch out$"
        )
        refused(trainer([(X, labels)], loss_fn=loss_fn), RuntimeError, message)


@pytest.mark.parametrize("loss", [nn.SoftmaxLoss, nn.CrossEntropyLoss, nn.NLLLoss, nn.MSELoss])
def test_a_model_that_returns_nothing_is_said_to(device, loss):
    it = trainer([(X, Y)], loss_fn=loss())
    it.model.forward = lambda x: None
    message = (
        r"^Trainer: the model returned None, which loss_fn cannot take \(\w+: an operand is a N"
    )
    refused(it, TypeError, message)


def test_a_parameter_that_is_not_finite_is_named(device):
    it = trainer([(X, Y)])
    it.model.linear.weight.data[1, 1] = np.nan
    for watch in (babygrad.detect_anomaly(), babygrad.enable_grad()):
        with (
            watch,
            pytest.raises(RuntimeError, match=r"batch 0; linear\.weight has a NaN from bef"),
        ):
            it.fit(1, quiet=True)


def test_within_detect_anomaly_the_operation_that_began_it_is_named(device):
    it = trainer([(X, Y)], loss_fn=lambda p, y: ((p - p.sum() * 0) * 0).log().sum())
    with (
        babygrad.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"^Log: the result") as caught,
    ):
        it.fit(1, quiet=True)
    assert caught.value.__notes__ == ["This happened in epoch 1, batch 0."]


def test_an_error_of_the_model_tells_the_batch(device):
    it = trainer([(X, Y), (X[:, :2], Y)])
    with pytest.raises(ValueError, match="linear") as caught:
        it.fit(1, quiet=True)
    assert caught.value.__notes__[-1] == "This happened in epoch 1, batch 1."
