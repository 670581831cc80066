"""Embedding: rows of a table by number."""

from __future__ import annotations

from typing import Any

from babygrad._factories import class_ids
from babygrad.ops._common import like, whole
from babygrad.ops._fused import floats
from babygrad.ops.elementwise import where
from babygrad.ops.indexing import take
from babygrad.ops.shape import unsqueeze
from babygrad.tensor import Tensor


def embedding(ids: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """The rows of `weight` that `ids` name.

    Parameters
    ----------
    ids : Tensor, array or list of whole numbers in [0, rows)
    weight : Tensor (rows, features)
    padding_idx : int, optional
        A row that is not learned: its gradient is 0. Negative counts from the end.

    Returns
    -------
    Tensor (*ids.shape, features)
        Ids that occur several times add up in the gradient.

    Raises
    ------
    IndexError
        When an id is out of range; the message has its value and position.
    """
    (weight,) = floats("embedding", weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight has shape {weight.shape}; it must have 2 axes")
    rows = weight.shape[0]
    check_padding_idx("embedding", padding_idx, rows)
    places = like(class_ids(ids, rows, "embedding", role="id"), weight)
    y = take(weight, places, 0)
    if padding_idx is None:
        return y
    return where(unsqueeze(places != padding_idx % rows, -1), y, like(y._data, y))


def check_padding_idx(op: str, padding_idx: Any, rows: int) -> None:
    """Raise unless `padding_idx` is None or a row."""
    if padding_idx is not None and not -rows <= whole(op, "padding_idx", padding_idx) < rows:
        raise ValueError(f"{op}: padding_idx (={padding_idx}) is no row of {rows}")
