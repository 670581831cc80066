"""The Trainer's accuracy: what it counts for each loss and shape, and where it is NaN."""

import math

import numpy as np
import pytest

from babygrad import Tensor, nn, ops
from babygrad.data import ArrayDataset, DataLoader
from babygrad.optim import SGD
from babygrad.trainer import Trainer


class Scores(nn.Module):
    """Returns its input as the scores, whatever the weight is."""

    def __init__(self, form=lambda scores: scores):
        super().__init__()
        self.weight = nn.Parameter([1.0])
        self.form = form

    def forward(self, x):
        return self.form(x + self.weight * 0)


def accuracies(scores, labels, loss_fn, form=lambda scores: scores, batch_size=2):
    """While training and while evaluating; the training must go on in either case."""
    model = Scores(form)
    loader = DataLoader(ArrayDataset(scores, labels), batch_size)
    trainer = Trainer(model, SGD(model.parameters(), 0.1), loss_fn, loader, loader)
    history = trainer.fit(2, quiet=True)
    assert all(math.isfinite(loss) for loss in history["loss"])
    assert history["accuracy"] == pytest.approx(history["val_accuracy"], rel=1e-12, nan_ok=True)
    assert trainer.evaluate() == pytest.approx(history["accuracy"][-1], rel=1e-12, nan_ok=True)
    return history["accuracy"][-1]


def first(scores, axis):
    """The class with the highest score, by a loop in Python."""
    moved = np.moveaxis(scores, axis, -1)
    best = np.empty(moved.shape[:-1], np.int64)
    for place in np.ndindex(best.shape):
        row = moved[place].tolist()
        best[place] = row.index(max(row))
    return best


def problem(shape, axis, seed=0):
    """Scores, and labels of which about three quarters are right."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=shape).astype(np.float32)
    right = first(scores, axis)
    random = rng.integers(0, shape[axis], right.shape)
    labels = np.where(rng.random(right.shape) < 0.75, right, random)
    return scores, labels, (labels == right).mean()


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 4), (6, 5, 3), (6, 4, 4, 4), (5, 3, 2, 6)])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_the_classes_are_on_the_axis_of_the_loss(device, shape, loss):
    for axis in (1, -1, len(shape) - 1):
        scores, labels, expected = problem(shape, axis)
        found = accuracies(scores, labels, loss(axis=axis))
        assert found == pytest.approx(expected, rel=1e-12)
        assert 0.5 < found < 1


def test_ignored_labels_do_not_count(device):
    scores, labels, _ = problem((8, 5, 5), -1)
    right = labels == first(scores, -1)
    ignored = np.random.default_rng(1).random(labels.shape) < 0.4
    ignored[2:4] = True  # a whole batch
    for index in (-100, -1, 7):
        masked = np.where(ignored, index, labels)
        loss_fn = nn.CrossEntropyLoss(axis=-1, ignore_index=index, reduction="sum")
        found = accuracies(scores, masked, loss_fn)
        assert found == pytest.approx(right[~ignored].mean(), rel=1e-12)


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.array])
def test_the_axis_and_the_ignored_label_may_be_numpys_integers(device, kind):
    scores, labels, _ = problem((6, 4, 4), -1)
    right = (labels == first(scores, -1))[labels != 0].mean()
    for loss in (nn.CrossEntropyLoss, nn.NLLLoss):
        loss_fn = loss(axis=kind(-1), ignore_index=kind(0))
        assert (type(loss_fn.axis), type(loss_fn.ignore_index)) == (int, int)
        assert accuracies(scores, labels, loss_fn, batch_size=6) == pytest.approx(right, rel=1e-12)


def test_a_class_that_is_ignored_does_not_count_either(device):
    scores = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    labels = np.array([0, 1, 1, 1])
    found = accuracies(scores, labels, nn.CrossEntropyLoss(ignore_index=0, reduction="sum"))
    assert found == pytest.approx(1 / 3)


def test_when_every_label_is_ignored_there_is_no_accuracy(device):
    scores = np.eye(3, dtype=np.float32)[[0, 1]]
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    assert math.isnan(accuracies(scores, np.array([-100, -100]), loss_fn))


def test_the_books_loss_takes_float_labels_that_are_whole(device):
    scores, labels, expected = problem((9, 4), 1)
    found = accuracies(scores, labels.astype(np.float32), nn.SoftmaxLoss())
    assert found == pytest.approx(expected, rel=1e-12)


def own(prediction, y):
    """A loss of which nothing is known."""
    return (prediction * prediction).mean() + Tensor(y, dtype="float32").mean() * 0


def test_for_a_loss_of_ones_own_the_classes_are_on_axis_1(device):
    for shape in ((7, 3), (7, 3, 5), (7, 3, 5, 4)):
        scores, labels, expected = problem(shape, 1)
        assert accuracies(scores, labels, own) == pytest.approx(expected, rel=1e-12)
    labels[0] = -100
    expected = (labels == first(scores, 1))[1:].mean()
    assert accuracies(scores, labels, own) == pytest.approx(expected, rel=1e-12)


def test_a_loss_of_ones_own_may_say_where_the_classes_are(device):
    class Focal(nn.Module):
        axis, ignore_index = -1, 0

        def forward(self, x, y):
            return own(x, y)

    scores, labels, _ = problem((6, 4, 4), -1)
    right = (labels == first(scores, -1))[labels != 0].mean()
    assert accuracies(scores, labels, Focal()) == pytest.approx(right, rel=1e-12)
    Focal.axis, Focal.ignore_index = np.int64(-1), np.int32(0)
    assert accuracies(scores, labels, Focal()) == pytest.approx(right, rel=1e-12)


RNG = np.random.default_rng(3)
SCORES = RNG.normal(size=(6, 3)).astype(np.float32)
SEQUENCES = RNG.normal(size=(6, 4, 4)).astype(np.float32)

UNKNOWN = {
    "float targets": (SCORES, RNG.normal(size=6).astype(np.float32), own),
    "whole float targets": (SCORES, np.arange(6, dtype=np.float32) % 3, own),
    "float targets, same shape": (SCORES, SCORES * 2, nn.MSELoss()),
    "probabilities": (SCORES, np.full((6, 3), 1 / 3, np.float32), nn.CrossEntropyLoss()),
    "two axes could be the classes": (SEQUENCES, RNG.integers(0, 4, (6, 4)), own),
    "the classes are last": (SEQUENCES[:, :3], RNG.integers(0, 4, (6, 3)), own),
    "one score": (SCORES[:, :1], RNG.integers(0, 2, 6), own),
    "one score, same shape": (SCORES[:, :1], SCORES[:, :1] > 0, own),
    "no axis of classes": (SCORES[:, 0], RNG.integers(0, 2, 6), own),
    "labels that are no classes": (SCORES, np.array([0, 1, 2, 3, 0, 1]), own),
    "negative labels": (SCORES, np.array([0, 1, 2, -1, 0, 1]), own),
    "counts of another shape": (SCORES, RNG.integers(0, 3, (6, 2)), own),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_where_it_is_not_certain_it_is_nan_and_the_training_goes_on(device, case):
    scores, targets, loss_fn = UNKNOWN[case]
    assert math.isnan(accuracies(scores, targets, loss_fn))


@pytest.mark.parametrize(
    ("form", "pick"),
    [
        (lambda s: (s, s * 2), lambda out: out[0]),
        (lambda s: [s], lambda out: out[0]),
        (lambda s: {"scores": s}, lambda out: out["scores"]),
    ],
    ids=["tuple", "list", "dict"],
)
def test_the_loss_is_given_what_the_model_returns(device, form, pick):
    labels = np.array([0, 1, 2, 0, 1, 2])
    loss_fn = nn.SoftmaxLoss()
    model = Scores(form)
    loader = [(SCORES, labels)]
    trainer = Trainer(
        model, SGD(model.parameters(), 0.1), lambda out, y: loss_fn(pick(out), y), loader, loader
    )
    history = trainer.fit(1, quiet=True)
    shifted = SCORES - SCORES.max(1, keepdims=True)
    log_sums = np.log(np.exp(shifted.astype(np.float64)).sum(1))
    expected = (log_sums - shifted[np.arange(6), labels]).mean()
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert math.isnan(history["accuracy"][0])
    assert math.isnan(history["val_accuracy"][0])

    trainer.loss_fn = loss_fn
    before = model.weight.numpy()
    with pytest.raises(
        TypeError, match=r"Trainer: the model returned a (tuple|list|dict) .*, which"
    ):
        trainer.fit(1, quiet=True)
    np.testing.assert_array_equal(model.weight.numpy(), before)


def test_scores_that_are_nan_put_no_class_first(device):
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    scores[0] = np.nan
    model = Scores()
    trainer = Trainer(model, SGD(model.parameters(), 0.1), nn.SoftmaxLoss(), [])
    assert trainer.evaluate([(scores, np.array([0, 1, 2]))]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_large_and_infinite_scores_are_compared_without_a_warning(device, kind):
    largest = np.finfo(kind).max
    scores = np.array([[largest, -np.inf, 0], [np.inf, -np.inf, largest], [-np.inf] * 3], kind)
    model = Scores()
    trainer = Trainer(model, SGD(model.parameters(), 0.1), nn.SoftmaxLoss(), [])
    batch = Tensor(scores, dtype=None), np.array([0, 2, 0])
    model.forward = lambda x: x
    assert trainer.evaluate([batch]) == pytest.approx(2 / 3)


def test_a_function_of_ops_is_a_loss_of_which_nothing_is_known(device):
    scores, labels, expected = problem((6, 5), 1)
    assert accuracies(scores, labels, ops.cross_entropy) == pytest.approx(expected, rel=1e-12)
    scores, labels, _ = problem((6, 5, 5), -1)
    found = accuracies(scores, labels, lambda x, y: ops.cross_entropy(x, y, axis=-1))
    assert math.isnan(found)
