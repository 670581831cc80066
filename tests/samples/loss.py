"""Samples of the losses."""

from __future__ import annotations

from functools import partial

import numpy as np

from babygrad import Tensor, ops
from samples import Sample, normal, positive

LABELS = [2, 0, -100]
WEIGHTS = np.array([0.5, 2.0, 1.5])
PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])


def weighted_cross_entropy(x: Tensor) -> Tensor:
    weight = Tensor(WEIGHTS, dtype="float64", device=x.device)
    return ops.cross_entropy(x, LABELS, weight, label_smoothing=0.1)


def images(x: Tensor) -> Tensor:
    return ops.cross_entropy(x, [[[0, 1], [1, 1]]], reduction="none")


SAMPLES = [
    Sample("cross_entropy", lambda x: ops.cross_entropy(x, LABELS), normal(3, 3)),
    Sample("cross_entropy", weighted_cross_entropy, normal(3, 3)),
    Sample("cross_entropy", images, normal(1, 2, 2, 2)),
    Sample(
        "cross_entropy",
        lambda x, target: ops.cross_entropy(x, target, label_smoothing=0.2),
        normal(2, 3),
        PROBABILITIES,
    ),
    Sample("nll_loss", lambda x: ops.nll_loss(x, LABELS), normal(3, 3)),
    Sample("mse_loss", ops.mse_loss, normal(2, 3), normal(2, 3)),
    Sample("l1_loss", partial(ops.l1_loss, reduction="sum"), normal(2, 3), -normal(2, 3) + 9),
    Sample("huber_loss", ops.huber_loss, normal(2, 3), 3 * normal(2, 3)),
    Sample("bce_with_logits", ops.bce_with_logits, normal(2, 3), PROBABILITIES),
    Sample(
        "bce_with_logits",
        lambda x, t, w, p: ops.bce_with_logits(x, t, w, "none", p),
        normal(2, 3),
        PROBABILITIES,
        positive(3),
        positive(3),
    ),
    Sample("kl_div", ops.kl_div, normal(2, 3), PROBABILITIES),
    Sample("kl_div", partial(ops.kl_div, reduction="batchmean"), normal(2, 3), PROBABILITIES),
    Sample("kl_div", partial(ops.kl_div, log_target=True), normal(2, 3), normal(2, 3)),
]
