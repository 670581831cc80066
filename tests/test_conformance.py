"""The conformance suite on the backends of this package."""

from babygrad.backends import registry
from babygrad.testing import BackendConformance


class TestNumpy(BackendConformance):
    backend = registry.get("numpy")


class TestNumba(BackendConformance):
    backend = registry.get("numba")
