"""The suite that a third party subclasses."""

from __future__ import annotations

from typing import ClassVar

import pytest

from babygrad.backends.base import Backend
from babygrad.testing.suite_arrays import CreationSuite, ReductionSuite, ShapeSuite
from babygrad.testing.suite_attention import AttentionSuite
from babygrad.testing.suite_bits import BitsSuite
from babygrad.testing.suite_elementwise import ElementwiseSuite
from babygrad.testing.suite_image import ConvolutionSuite, PoolingSuite
from babygrad.testing.suite_indexing import IndexingSuite
from babygrad.testing.suite_neural import NormalizationSuite, SoftmaxSuite
from babygrad.testing.suite_optimizer import OptimizerSuite
from babygrad.testing.suite_products import MatmulSuite


class BackendConformance(
    CreationSuite,
    ElementwiseSuite,
    BitsSuite,
    ReductionSuite,
    ShapeSuite,
    IndexingSuite,
    MatmulSuite,
    SoftmaxSuite,
    NormalizationSuite,
    ConvolutionSuite,
    PoolingSuite,
    AttentionSuite,
    OptimizerSuite,
):
    """Every member of the interface, in float32 and float64, against independent oracles.

    Set `backend` to an instance, or override the fixture `xp` where the backend needs setting up.
    """

    backend: ClassVar[Backend]

    @pytest.fixture
    def xp(self) -> Backend:
        """The backend under test."""
        return self.backend
