"""Puts the parts of the Numba backend together."""

from __future__ import annotations

from babygrad.backends.numba.activations import NumbaActivations
from babygrad.backends.numba.image import NumbaConvolution, NumbaPooling
from babygrad.backends.numba.norm import NumbaNormalization
from babygrad.backends.numba.softmax import NumbaSoftmax
from babygrad.backends.numba.update import NumbaUpdates


class NumbaBackend(
    NumbaActivations,
    NumbaSoftmax,
    NumbaNormalization,
    NumbaConvolution,
    NumbaPooling,
    NumbaUpdates,
):
    """numpy's functions and BLAS, with Numba kernels for the fused primitives.

    Nothing is compiled before its first use. Numba's own ``NUMBA_NUM_THREADS`` limits the
    threads; results do not depend on them.
    """
