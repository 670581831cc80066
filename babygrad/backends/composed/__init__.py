"""The composed members: fused primitives, each defined in the required ones.

The definition is the documentation, the fallback and the test oracle at once; a backend
overrides it for speed.
"""

from babygrad.backends.composed.activation import Activations
from babygrad.backends.composed.attention import Attention
from babygrad.backends.composed.convolution import Convolution
from babygrad.backends.composed.normalization import Normalization
from babygrad.backends.composed.optimizer import OptimizerSteps
from babygrad.backends.composed.pooling import Pooling
from babygrad.backends.composed.reduction import Reductions
from babygrad.backends.composed.scatter import Scatter
from babygrad.backends.composed.softmax import Softmax

__all__ = [
    "Activations",
    "Attention",
    "Convolution",
    "Normalization",
    "OptimizerSteps",
    "Pooling",
    "Reductions",
    "Scatter",
    "Softmax",
]
