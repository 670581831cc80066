"""Samples of the activations and of softmax."""

from __future__ import annotations

from babygrad import ops
from samples import Sample, normal

SAMPLES = [
    Sample("relu", ops.relu, normal(2, 3)),
    Sample("leaky_relu", lambda x: ops.leaky_relu(x, 0.2), normal(2, 3)),
    Sample("elu", lambda x: ops.elu(x, 1.3), normal(2, 3)),
    Sample("gelu", ops.gelu, normal(2, 3)),
    Sample("gelu", lambda x: ops.gelu(x, "tanh"), normal(2, 3)),
    Sample("silu", ops.silu, normal(2, 3)),
    Sample("softplus", ops.softplus, normal(2, 3)),
    Sample("sigmoid", ops.sigmoid, normal(2, 3)),
    Sample("tanh", ops.tanh, normal(2, 3)),
    Sample("hardtanh", lambda x: ops.hardtanh(x, -0.05, 5.0), normal(2, 3)),
    Sample("softmax", ops.softmax, normal(2, 3)),
    Sample("softmax", lambda x: ops.softmax(x, (0, 2)), normal(2, 2, 2)),
    Sample("logsoftmax", ops.logsoftmax, normal(2, 3)),
    Sample("log_softmax", lambda x: ops.log_softmax(x, axis=0), normal(2, 3)),
]
