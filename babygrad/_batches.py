"""What the Trainer takes for a batch, and what it says of a loader or a batch that will not do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from babygrad import anomaly
from babygrad.data import DataLoader
from babygrad.data.dataset import as_array, described
from babygrad.dtypes import FLOAT32, promote
from babygrad.tensor import Tensor


def as_tensors(batch: Any, i: int, loader: str, model: Any) -> tuple[Tensor, Tensor]:
    """The inputs and targets of batch i of a loader as Tensors on the model's device.

    Integers and bools keep their type, for they may be ids. Floats among inputs that are no Tensor
    become float32 as in the book, or float64 for a model of that type; targets keep theirs.

    Raises
    ------
    TypeError
        When the batch is neither a pair nor an object with `.x` and `.y`, or not of numbers.
    ValueError
        When there is no axis of samples, or no sample.
    """
    x, y = _pair(batch, i, loader)
    parameter = next((p for _, p in model.named_parameters()), None)
    if not isinstance(x, Tensor):
        array = as_array(x, f"Trainer: the input of batch {i} of {loader}")
        floats = FLOAT32 if parameter is None else promote(FLOAT32, parameter.dtype)
        x = Tensor(array, dtype=floats if array.dtype.kind == "f" else array.dtype)
    if not isinstance(y, Tensor):
        y = Tensor(as_array(y, f"Trainer: the target of batch {i} of {loader}"), dtype=None)
    if not x.ndim or not len(x):
        raise ValueError(
            f"Trainer: the input of batch {i} of {loader} has shape {x.shape}; its first axis must "
            "be that of the samples, of which there must be one"
        )
    return (x, y) if parameter is None else (x.to(parameter.device), y.to(parameter.device))


def _pair(batch: Any, i: int, loader: str) -> tuple[Any, Any]:
    if isinstance(batch, tuple | list):
        if len(batch) == 2:
            return batch[0], batch[1]
    elif hasattr(batch, "x") and hasattr(batch, "y"):
        return batch.x, batch.y
    raise TypeError(
        f"Trainer: batch {i} of {loader} is {described(batch)}; a batch must be a pair "
        "(inputs, targets) or an object with .x and .y"
    )


def no_batches(loader: Any, name: str, epoch: int | None) -> str:
    """What to say of a loader that gave no batch, and what may be the reason."""
    if isinstance(loader, DataLoader):
        reason = f"its dataset has {len(loader.dataset)} samples"
        if loader.drop_last:
            reason += f", and drop_last leaves out a batch of less than {loader.batch_size}"
    elif isinstance(loader, Iterator):
        reason = "an iterator can be gone through once; give a list of its batches or a DataLoader"
    else:
        reason = f"it is {described(loader)}"
    when = "" if epoch is None else f" in epoch {epoch}"
    return f"Trainer: {name} gives no batches{when}: {reason}"


def _fault(x: Tensor, y: Tensor, batch: Any) -> str | None:
    """Where the first NaN or infinity of a batch is, None when all its numbers are finite."""
    indices = getattr(batch, "indices", None)
    for name, tensor in (("input", x), ("target", y)):
        if (found := anomaly.first_fault(tensor.data)) is None:
            continue
        kind, place = found
        sample, column = (place[0], place[1:]) if place else (0, ())
        where = f"sample {sample}"
        if indices is not None:
            where += f" (sample {indices[sample]} of the dataset)"
        if column:
            where += f", column {column[0] if len(column) == 1 else column}"
        return f"the {name} has {kind} in {where}"
    return None


def cause(x: Tensor, y: Tensor, batch: Any, model: Any, ignored: int) -> str:
    """Why a loss may not be finite, and what to do about it; labels of `ignored` do not count."""
    if (found := _fault(x, y, batch)) is not None:
        hint = "" if anomaly.is_watched() else ", which babygrad.detect_anomaly() does not look at"
        return f"{found}: mend the data{hint}"
    if y.size and bool((y.data == ignored).all()):
        return (
            f"no label of the batch counts, for all are {ignored}, and the mean of none is NaN: "
            "leave such a batch out"
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if (fault := anomaly.first_fault(tensor.data)) is not None:
            return f"{name} has {fault[0]} from before; lower the learning rate"
    if anomaly.is_watched():
        return "no operation began it with finite values; lower the learning rate"
    return (
        "lower the learning rate, or fit within babygrad.detect_anomaly() to see which operation "
        "began it"
    )


def explain(error: Exception, place: str, x: Tensor, y: Tensor, batch: Any) -> None:
    """Tell an exception in which batch it was raised, unless it says so.

    Raises
    ------
    RuntimeError
        In its stead when the batch has a NaN or infinity and anomalies are looked for: the
        operation that met it first is then not to blame.
    """
    if place in str(error):
        return
    if anomaly.is_watched() and (found := _fault(x, y, batch)) is not None:
        raise RuntimeError(f"Trainer: {found} of {place}: mend the data") from error
    error.add_note(f"This happened in {place}.")
