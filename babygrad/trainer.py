"""The training loop, and the accuracy of what it trained.

    trainer = Trainer(model, optimizer, nn.SoftmaxLoss(), train_loader, val_loader)
    history = trainer.fit(epochs=5)
    accuracy = trainer.evaluate(test_loader)

Averages over an epoch are over its samples, however they fall into batches.
"""

from __future__ import annotations

import inspect
import math
import numbers
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from babygrad import _accuracy, _batches, _reports, anomaly
from babygrad.autograd import is_grad_enabled, no_grad
from babygrad.data import DataLoader
from babygrad.data.dataset import described
from babygrad.tensor import Tensor

if TYPE_CHECKING:
    from babygrad.nn import Module
    from babygrad.optim import Optimizer, ReduceLROnPlateau, Scheduler

History = dict[str, list[float]]


class Trainer:
    """Fits a model to the batches of a loader.

    Parameters
    ----------
    model : Module
        Called with the inputs of a batch.
    optimizer : Optimizer
        Of the model's parameters.
    loss_fn : callable
        `loss_fn(model(x), y)` is the mean loss of the samples of a batch, a Tensor of one element.
        It is given what the model returns, which may be a tuple, list or dict if it takes that.
    train_loader, val_loader : iterable of batches
        A batch is a tuple `(x, y)` or an object with `.x` and `.y`, of Tensors or arrays. What is
        no Tensor is copied into one: integers and bools keep their type, floats among the inputs
        become float32, or float64 for a model of that type, and targets keep theirs.
    scheduler : Scheduler or ReduceLROnPlateau, optional
        Stepped after every step of the optimizer. One whose `step` takes a metric, as that of
        `ReduceLROnPlateau` does, is stepped after every epoch: with the loss, or in mode "max"
        with the accuracy, of the validation loader if there is one, else of the training.

    Attributes
    ----------
    samples_per_second : float
        In the training part of the last epoch.

    Notes
    -----
    The accuracy is the part of the labels whose class has the highest score. `loss_fn.axis` says
    where the classes are and `loss_fn.ignore_index` which labels do not count, as in
    `nn.CrossEntropyLoss`. With a loss without `axis` the classes are on axis 1, labels are
    integers, and those of -100 do not count. Where that does not fit it is NaN: when the model
    returns no Tensor, when shapes differ or fit in two ways, when a label is no class.

    Examples
    --------
    >>> import babygrad, numpy
    >>> from babygrad import data, nn, optim
    >>> dataset = data.ArrayDataset(numpy.eye(4, dtype="float32"), [0, 1, 0, 1])
    >>> model = nn.Linear(4, 2)
    >>> optimizer = optim.SGD(model.parameters(), lr=1.0)
    >>> loader = data.DataLoader(dataset, batch_size=2)
    >>> trainer = Trainer(model, optimizer, nn.SoftmaxLoss(), loader)
    >>> history = trainer.fit(epochs=20, quiet=True)
    >>> history["loss"][-1] < history["loss"][0], trainer.evaluate(loader)
    (True, 1.0)
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss_fn: Callable[[Any, Tensor], Tensor],
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        *,
        scheduler: Scheduler | ReduceLROnPlateau | None = None,
    ) -> None:
        _check_parts(model, optimizer, loss_fn, scheduler)
        for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
            if loader is None and name == "val_loader":
                continue
            if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
                raise TypeError(
                    f"Trainer: {name} is {described(loader)}, which has no batches to go through"
                )
        self.model = model
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.scheduler = scheduler
        self.samples_per_second = 0.0

    def fit(self, epochs: int, *, quiet: bool = False, progress: bool | None = None) -> History:
        """Train for a number of epochs, and leave the model in train mode.

        Parameters
        ----------
        epochs : int
            0 trains nothing.
        quiet : bool
            Print nothing.
        progress : bool, optional
            Show a progress bar during each epoch; by default only on a terminal. Either way each
            epoch is reported in one line.

        Returns
        -------
        dict of list of float
            By epoch: `"loss"` and `"accuracy"` on the training batches as they came, with a
            validation loader `"val_accuracy"`, and `"val_loss"` when the scheduler follows that.
            An accuracy is NaN where there is none.

        Raises
        ------
        RuntimeError
            When the loss is not finite, before it reaches the parameters. When a batch has a NaN or
            an infinity, the message names the sample and column.
        TypeError
            When a batch is no pair, holds no numbers, or the loss is no Tensor.
        ValueError
            When `epochs` is no integer or negative, or a loader gives no batches, as a generator
            does from the second epoch on.

        Notes
        -----
        Ctrl-C ends the training: the history of the epochs that were complete is returned.
        """
        _check_epochs(epochs)
        self._check_loaders(epochs)
        shown = not quiet and (sys.stderr.isatty() if progress is None else progress)
        history: History = {"loss": [], "accuracy": []}
        if self.val_loader is not None:
            history["val_accuracy"] = []
        say = _reports.say_nothing if quiet else _reports.say
        try:
            for epoch in range(1, epochs + 1):
                label = f"epoch {epoch}/{epochs}"
                with _reports.progress_bar(self.train_loader, label, shown) as batches:
                    averages = self._train(batches, epoch)
                if self.val_loader is not None:
                    averages |= self._validate(self.val_loader, epoch)
                if _follows_a_metric(self.scheduler):
                    self._follow(averages)
                for name, value in averages.items():
                    history.setdefault(name, []).append(value)
                speed = f"{self.samples_per_second:,.0f} samples/s"
                say(f"{label}: {_reports.described(averages)}, {speed}")
        except KeyboardInterrupt:
            say(f"interrupted in epoch {len(history['loss']) + 1}")
        finally:
            self.model.train()
        return history

    def evaluate(self, loader: Iterable[Any] | None = None) -> float:
        """The part of the labels whose class has the highest score; NaN where that is not known.

        Leaves the model in eval mode. Without a loader it is the accuracy on the validation
        loader; when there is none either, 0.0, as in the book.

        Raises
        ------
        ValueError
            When the loader gives no batches.
        """
        name = "val_loader" if loader is None else "the loader"
        loader = self.val_loader if loader is None else loader
        return 0.0 if loader is None else self._evaluate(loader, name)["accuracy"]

    def _train(self, batches: Iterable[Any], epoch: int) -> dict[str, float]:
        """One pass over the training batches; the mean loss and accuracy of its samples."""
        self.model.train()
        sums = _Sums()
        schedule: Any = None if _follows_a_metric(self.scheduler) else self.scheduler
        begin = time.perf_counter()
        for i, batch in enumerate(batches):
            x, y = _batches.as_tensors(batch, i, "train_loader", self.model)
            try:
                self.optimizer.zero_grad()
                prediction = self.model(x)
                loss = self._loss(prediction, y)
                value = float(loss.item())
                if not math.isfinite(value):
                    ignored = _accuracy.ignored_label(self.loss_fn)
                    cause = _batches.cause(x, y, batch, self.model, ignored)
                    place = f"epoch {epoch}, batch {i}"
                    raise RuntimeError(f"Trainer: the loss is {value} in {place}; {cause}")
                if loss.requires_grad:
                    loss.backward()
                self.optimizer.step()
            except Exception as error:
                _batches.explain(error, f"epoch {epoch}, batch {i}", x, y, batch)
                raise
            if schedule is not None:
                schedule.step()
            sums.add(value, len(x), *_accuracy.correct(prediction, y, self.loss_fn))
        if not sums.samples:
            raise ValueError(_batches.no_batches(self.train_loader, "train_loader", epoch))
        self.samples_per_second = sums.samples / (time.perf_counter() - begin)
        return {"loss": sums.mean_loss(), "accuracy": sums.accuracy()}

    def _validate(self, loader: Iterable[Any], epoch: int) -> dict[str, float]:
        """The averages on the validation loader under their names in the history."""
        wants_loss = _follows_a_metric(self.scheduler) and _followed(self.scheduler) == "loss"
        averages = self._evaluate(loader, "val_loader", epoch, wants_loss)
        return {f"val_{name}": value for name, value in averages.items()}

    def _evaluate(
        self, loader: Iterable[Any], name: str, epoch: int | None = None, wants_loss: bool = False
    ) -> dict[str, float]:
        """The accuracy of a loader's samples and, if it is wanted, their mean loss."""
        self.model.eval()
        sums = _Sums()
        with no_grad():
            for i, batch in enumerate(loader):
                x, y = _batches.as_tensors(batch, i, name, self.model)
                prediction = self.model(x)
                loss = float(self._loss(prediction, y).item()) if wants_loss else 0.0
                sums.add(loss, len(x), *_accuracy.correct(prediction, y, self.loss_fn))
        if not sums.samples:
            raise ValueError(_batches.no_batches(loader, name, epoch))
        averages = {"loss": sums.mean_loss()} if wants_loss else {}
        return averages | {"accuracy": sums.accuracy()}

    def _loss(self, prediction: Any, y: Tensor) -> Tensor:
        """The loss, checked before anything is changed."""
        try:
            loss: Any = self.loss_fn(prediction, y)
        except Exception as error:
            if isinstance(prediction, Tensor) or anomaly.is_watched():
                raise
            raise TypeError(
                f"Trainer: the model returned {described(prediction)}, which loss_fn cannot take "
                f"({error}); give a loss_fn that does, such as lambda out, y: loss(out[0], y)"
            ) from error
        if not isinstance(loss, Tensor):
            raise TypeError(
                f"Trainer: loss_fn returned {described(loss)}; it must return the Tensor that it "
                "computed from the prediction"
            )
        if loss.size != 1:
            raise ValueError(
                f"Trainer: loss_fn returned a Tensor of shape {loss.shape}; it must have one "
                "element, the mean over the batch"
            )
        trains = any(True for _ in self.model.named_parameters())  # dropout alone has none
        if trains and is_grad_enabled() and not loss.requires_grad:
            raise RuntimeError(
                "Trainer: the loss does not require grad; either no parameter of the model does, "
                "or loss_fn left babygrad's operations on the way, with .data, .numpy() or .item()"
            )
        return loss

    def _follow(self, averages: dict[str, float]) -> None:
        """Step a scheduler that follows a metric, after an epoch."""
        name = _followed(self.scheduler)
        value = averages[name if self.val_loader is None else f"val_{name}"]
        if name == "accuracy" and math.isnan(value):
            warnings.warn(
                f"Trainer: the scheduler {type(self.scheduler).__name__} with mode 'max' follows "
                "the accuracy, which is not known here; it is not stepped",
                stacklevel=3,
            )
            return
        scheduler: Any = self.scheduler
        scheduler.step(value)

    def _check_loaders(self, epochs: int) -> None:
        """Refuse what will give no batches before the training, where that is known already."""
        for name, loader in (("train_loader", self.train_loader), ("val_loader", self.val_loader)):
            if epochs > 0 and isinstance(loader, list | tuple | DataLoader) and not len(loader):
                raise ValueError(_batches.no_batches(loader, name, 1))
            if epochs > 1 and isinstance(loader, GeneratorType):
                raise ValueError(_batches.no_batches(loader, name, 2))


class _Sums:
    """What an epoch's averages are made of."""

    def __init__(self) -> None:
        self.loss, self.samples = 0.0, 0
        self.right, self.labels = 0.0, 0

    def add(self, loss: float, samples: int, right: float, labels: int) -> None:
        """Count a batch: its mean loss, and how many of its labels were right."""
        self.loss += loss * samples
        self.samples += samples
        self.right += right
        self.labels += labels

    def mean_loss(self) -> float:
        return self.loss / self.samples

    def accuracy(self) -> float:
        return self.right / self.labels if self.labels else math.nan


def _check_parts(model: Any, optimizer: Any, loss_fn: Any, scheduler: Any) -> None:
    """Raise for what cannot be trained, or be trained with, before the training finds it out."""
    parts = {"model": model, "optimizer": optimizer, "loss_fn": loss_fn, "scheduler": scheduler}
    for name, part in parts.items():
        if isinstance(part, type):
            kind = part.__name__
            call = f"{kind}()" if name in ("model", "loss_fn") else f"{kind}(...)"
            raise TypeError(f"Trainer: {name} is the class {kind}; give an instance, {call}")
    if not callable(model) or not _has(model, "named_parameters", "train", "eval"):
        raise TypeError(f"Trainer: model is {described(model)}; it must be a Module")
    if not _has(optimizer, "zero_grad", "step"):
        raise TypeError(f"Trainer: optimizer is {described(optimizer)}; it must be an Optimizer")
    if not callable(loss_fn):
        raise TypeError(
            f"Trainer: loss_fn is {described(loss_fn)}; it must be a function of prediction and "
            "target, such as nn.SoftmaxLoss()"
        )
    if scheduler is not None and not _has(scheduler, "step"):
        raise TypeError(f"Trainer: scheduler is {described(scheduler)}, which has no step()")


def _has(part: Any, *methods: str) -> bool:
    return all(callable(getattr(part, method, None)) for method in methods)


def _check_epochs(epochs: Any) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, numbers.Integral) or epochs < 0:
        raise ValueError(f"Trainer.fit: epochs (={epochs!r:.60}) must be a non-negative integer")


def _follows_a_metric(scheduler: Any) -> bool:
    """Whether the scheduler's `step` must be given a metric."""
    if scheduler is None:
        return False
    try:
        inspect.signature(scheduler.step).bind()
    except TypeError:
        return True
    return False


def _followed(scheduler: Any) -> str:
    """The metric that improves in the direction that the scheduler waits for."""
    return "accuracy" if getattr(scheduler, "mode", "min") == "max" else "loss"
