"""Samples of normalization and dropout."""

from __future__ import annotations

import numpy as np

from babygrad import Tensor, ops
from samples import Sample, normal, positive


def dropped(x: Tensor) -> Tensor:
    """Dropout with the same mask on every call."""
    return ops.dropout(x, 0.4, generator=np.random.default_rng(3))


SAMPLES = [
    Sample("layer_norm", lambda x: ops.layer_norm(x), normal(2, 4)),
    Sample("layer_norm", lambda x, w: ops.layer_norm(x, 4, w), normal(2, 4), normal(4)),
    Sample("layer_norm", lambda x, b: ops.layer_norm(x, 4, None, b), normal(2, 4), normal(4)),
    Sample(
        "layer_norm",
        lambda x, w, b: ops.layer_norm(x, (2, 3), w, b),
        normal(2, 2, 3),
        normal(2, 3),
        normal(2, 3),
    ),
    Sample("rms_norm", lambda x: ops.rms_norm(x), normal(2, 4)),
    Sample("rms_norm", lambda x, w: ops.rms_norm(x, 4, w), normal(2, 4), normal(4)),
    Sample(
        "group_norm",
        lambda x, w, b: ops.group_norm(x, 2, w, b),
        normal(2, 4, 2),
        normal(4),
        normal(4),
    ),
    Sample(
        "batch_norm",
        lambda x, w, b: ops.batch_norm(x, weight=w, bias=b, training=True),
        normal(3, 2, 2),
        normal(2),
        normal(2),
    ),
    Sample("batch_norm", lambda x: ops.batch_norm(x, training=True), normal(3, 2)),
    Sample(
        "batch_norm",
        lambda x, mean, var, w, b: ops.batch_norm(x, mean, var, w, b),
        normal(2, 2),
        normal(2),
        positive(2),
        normal(2),
        normal(2),
    ),
    Sample("dropout", dropped, normal(3, 3)),
]
