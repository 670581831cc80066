"""The ``cpu:numba`` backend: the reference, with what waits for memory in one compiled pass."""

from babygrad.backends.numba.backend import NumbaBackend

__all__ = ["NumbaBackend"]
