import math

import numpy as np

from babygrad import ops
from samples import Sample, distinct, normal, positive

ONE_ZERO = np.array([[1.5, 0.0, -2.0], [0.5, 3.0, 2.5]])
TWO_ZEROS = np.array([[0.0, 2.0, 0.0, 1.5], [0.0, 0.0, 0.0, 0.5]])

SAMPLES = [
    Sample("summation", ops.summation, normal(2, 3)),
    Sample("summation", lambda a: ops.summation(a, axes=(0, -1)), normal(2, 3, 2)),
    Sample("summation", lambda a: a.sum(axis=1, keepdims=True), normal(2, 3)),
    Sample("summation", ops.summation, normal()),
    Sample("summation", ops.summation, normal(0, 2)),
    Sample("mean", ops.mean, normal(2, 3)),
    Sample("mean", lambda a: ops.mean(a, axis=(0, 2), keepdims=True), normal(2, 3, 2)),
    Sample("var", ops.var, normal(2, 3)),
    Sample("var", lambda a: ops.var(a, 1, correction=0), normal(2, 3)),
    Sample("var", lambda a: a.var(axis=(0, 2), keepdims=True), normal(2, 2, 3)),
    Sample("std", ops.std, normal(2, 3)),
    Sample("std", lambda a: ops.std(a, axes=0, keepdims=True), normal(3, 2)),
    Sample("norm", ops.norm, normal(2, 3)),
    Sample("norm", lambda a: ops.norm(a, axis=1), normal(2, 3)),
    Sample("norm", lambda a: ops.norm(a, order=1), normal(2, 3)),
    Sample("norm", lambda a: ops.norm(a, axes=0, order=math.inf), distinct(3, 2)),
    Sample("norm", lambda a: ops.norm(a, axis=1, order=3), normal(2, 3)),
    Sample("norm", lambda a: ops.norm(a, order=-0.5), normal(3)),
    Sample("logsumexp", ops.logsumexp, normal(2, 3)),
    Sample("logsumexp", lambda a: ops.logsumexp(a, axes=(0, 2)), normal(2, 3, 2)),
    Sample("logsumexp", lambda a: ops.logsumexp(a, axis=-1, keepdims=True), normal(2, 3)),
    Sample("prod", ops.prod, normal(2, 3)),
    Sample("prod", lambda a: ops.prod(a, axes=(0, 2)), positive(2, 2, 3)),
    Sample("prod", lambda a: ops.prod(a, axis=1, keepdims=True), ONE_ZERO),
    Sample("prod", lambda a: ops.prod(a, axis=1), TWO_ZEROS),
    Sample("cumsum", lambda a: ops.cumsum(a, 0), normal(3, 2)),
    Sample("cumsum", lambda a: ops.cumsum(a, -1), normal(2, 3)),
    Sample("max", ops.max, distinct(2, 3)),
    Sample("max", lambda a: ops.max(a, axis=1, keepdims=True), distinct(2, 3)),
    Sample("min", lambda a: ops.min(a, axes=(0, 2)), distinct(2, 3, 2)),
    Sample("amax", lambda a: ops.amax(a, axis=1), distinct(2, 3)),
    Sample("amin", lambda a: a.amin(keepdims=True), distinct(2, 3)),
    *(
        Sample(name, lambda a, name=name: getattr(ops, name)(a, axis=-1), normal())
        for name in ("summation", "mean", "norm", "logsumexp", "prod", "cumsum", "max", "amin")
    ),
]
