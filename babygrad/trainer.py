"""The training loop, and the accuracy of what it trained.

    trainer = Trainer(model, optimizer, nn.SoftmaxLoss(), train_loader, val_loader)
    history = trainer.fit(epochs=5)
    accuracy = trainer.evaluate(test_loader)

Averages over an epoch are over its samples, however they fall into batches.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from babygrad.autograd import no_grad
from babygrad.data.dataset import as_array
from babygrad.tensor import Tensor, from_numpy

if TYPE_CHECKING:
    from babygrad.nn import Module
    from babygrad.optim import Optimizer, Scheduler

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
    train_loader, val_loader : iterable of batches
        A batch is a tuple `(x, y)` or an object with `.x` and `.y`, of Tensors or arrays.
    scheduler : Scheduler, optional
        Stepped after every step of the optimizer.

    Attributes
    ----------
    samples_per_second : float
        In the training part of the last epoch.

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
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        train_loader: Iterable[Any],
        val_loader: Iterable[Any] | None = None,
        *,
        scheduler: Scheduler | None = None,
    ) -> None:
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
        quiet : bool
            Print nothing.
        progress : bool, optional
            Show a progress bar during each epoch; by default only on a terminal. Either way each
            epoch is reported in one line.

        Returns
        -------
        dict of list of float
            By epoch: `"loss"` and `"accuracy"` on the training batches as they came, and with a
            validation loader `"val_accuracy"`. An accuracy is NaN where there are no classes.

        Raises
        ------
        RuntimeError
            When the loss is not finite, before it reaches the parameters.

        Notes
        -----
        Ctrl-C ends the training: the history of the epochs that were complete is returned.
        """
        if progress is None:
            progress = sys.stderr.isatty()
        history: History = {"loss": [], "accuracy": []}
        if self.val_loader is not None:
            history["val_accuracy"] = []
        say = _say_nothing if quiet else _say
        try:
            for epoch in range(1, epochs + 1):
                label = f"epoch {epoch}/{epochs}"
                with _progress(self.train_loader, label, progress and not quiet) as batches:
                    averages = self._train(batches, epoch)
                if self.val_loader is not None:
                    averages["val_accuracy"] = self.evaluate(self.val_loader)
                for name, value in averages.items():
                    history[name].append(value)
                say(f"{label}: {_described(averages)}, {self.samples_per_second:,.0f} samples/s")
        except KeyboardInterrupt:
            say(f"interrupted in epoch {len(history['loss']) + 1}")
        finally:
            self.model.train()
        return history

    def evaluate(self, loader: Iterable[Any] | None = None) -> float:
        """The part of the samples whose largest output is that of their class.

        Leaves the model in eval mode. Without a loader it is the accuracy on the validation
        loader; when there is none either, 0.0, as in the book.
        """
        loader = self.val_loader if loader is None else loader
        if loader is None:
            return 0.0
        self.model.eval()
        correct, total = 0.0, 0
        with no_grad():
            for batch in loader:
                x, y = self._unpacked(batch)
                correct += _accuracy(self.model(x), y) * len(x)
                total += len(x)
        return correct / total if total else math.nan

    def _train(self, batches: Any, epoch: int) -> dict[str, float]:
        """One pass over the training batches; the mean loss and accuracy of its samples."""
        self.model.train()
        loss_sum, correct, total = 0.0, 0.0, 0
        begin = time.perf_counter()
        for i, batch in enumerate(batches):
            x, y = self._unpacked(batch)
            self.optimizer.zero_grad()
            prediction = self.model(x)
            loss = self.loss_fn(prediction, y)
            value = float(loss.item())
            if not math.isfinite(value):
                raise RuntimeError(
                    f"Trainer: the loss is {value} in epoch {epoch}, batch {i}; lower the learning "
                    "rate, or fit within babygrad.detect_anomaly() to see which operation began it"
                )
            loss.backward()
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()
            loss_sum += value * len(x)
            correct += _accuracy(prediction, y) * len(x)
            total += len(x)
        if not total:
            return {"loss": math.nan, "accuracy": math.nan}
        self.samples_per_second = total / (time.perf_counter() - begin)
        return {"loss": loss_sum / total, "accuracy": correct / total}

    def _unpacked(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The inputs and targets of a batch, on the model's device."""
        x, y = batch if isinstance(batch, tuple | list) else (batch.x, batch.y)
        if not isinstance(x, Tensor):
            x = Tensor(x)
        if not isinstance(y, Tensor):
            y = from_numpy(as_array(y))
        for _, parameter in self.model.named_parameters():
            return x.to(parameter.device), y.to(parameter.device)
        return x, y


def _accuracy(prediction: Tensor, y: Tensor) -> float:
    """The part of the labels y (n, ...) that the scores (n, classes, ...) put first.

    NaN when the shapes are not these: then it is no classification.
    """
    scores, labels = prediction.data, y.data
    if scores.ndim != labels.ndim + 1 or scores.shape[1] < 2:
        return math.nan
    return float((scores.argmax(axis=1) == labels).mean())


def _described(averages: dict[str, float]) -> str:
    parts = []
    for name, value in averages.items():
        if name == "loss":
            parts.append(f"loss {value:.4f}")
        elif not math.isnan(value):
            parts.append(f"{name} {100 * value:.2f} %")
    return ", ".join(parts)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say_nothing(line: str) -> None:
    pass


@contextmanager
def _progress(batches: Iterable[Any], label: str, shown: bool) -> Iterator[Iterable[Any]]:
    """The batches, with a bar that moves as they are taken and leaves when they are done."""
    if not shown:
        yield batches
        return
    from tqdm import tqdm  # not before it is needed: importing babygrad loads numpy alone

    with tqdm(batches, label, leave=False) as bar:
        yield bar
