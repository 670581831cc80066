"""Checks for backends: `BackendConformance`, a suite that a backend's own tests subclass.

Needs pytest (the ``test`` extra)::

    from babygrad.testing import BackendConformance

    class TestMyBackend(BackendConformance):
        backend = MyBackend()
"""

from babygrad.testing.conformance import BackendConformance

__all__ = ["BackendConformance"]
