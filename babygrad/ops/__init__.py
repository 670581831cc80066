"""Operations on tensors, each a Function with its gradient and a function that calls it.

Every family is a module, which lists what it offers in its `__all__`; of those for neural networks,
some of which bear the name of an operation, the names stand here. The Functions that the book
names, such as `MatMul`, are here too: `book` lists them.
"""

# ruff: noqa: F403 - the names are listed where the functions are

from babygrad.ops import (
    arithmetic,
    comparison,
    einstein,
    elementwise,
    extremes,
    indexing,
    inplace,
    joining,
    linalg,
    methods,  # noqa: F401 - gives Tensor its operators
    reduction,
    shape,
)
from babygrad.ops.activation import (
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from babygrad.ops.arithmetic import *
from babygrad.ops.attention import scaled_dot_product_attention, self_attention
from babygrad.ops.book import *
from babygrad.ops.comparison import *
from babygrad.ops.conv import conv, conv1d, conv2d, conv_transpose2d
from babygrad.ops.dropout import dropout
from babygrad.ops.einstein import *
from babygrad.ops.elementwise import *
from babygrad.ops.embedding import embedding
from babygrad.ops.extremes import *
from babygrad.ops.indexing import *
from babygrad.ops.inplace import *
from babygrad.ops.joining import *
from babygrad.ops.linalg import *
from babygrad.ops.loss import (
    bce_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
)
from babygrad.ops.normalization import batch_norm, group_norm, layer_norm, rms_norm
from babygrad.ops.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from babygrad.ops.product import prod
from babygrad.ops.reduction import *
from babygrad.ops.resize import interpolate
from babygrad.ops.shape import *
from babygrad.ops.softmax import log_softmax, logsoftmax, softmax

__all__: list[str] = []
__all__ += arithmetic.__all__
__all__ += comparison.__all__
__all__ += einstein.__all__
__all__ += elementwise.__all__
__all__ += extremes.__all__
__all__ += indexing.__all__
__all__ += inplace.__all__
__all__ += joining.__all__
__all__ += linalg.__all__
__all__ += reduction.__all__
__all__ += shape.__all__
# fmt: off
__all__ += [
    "adaptive_avg_pool2d", "avg_pool2d", "batch_norm", "bce_with_logits", "conv", "conv1d",
    "conv2d", "conv_transpose2d", "cross_entropy", "dropout", "elu", "embedding", "gelu",
    "group_norm", "hardtanh", "huber_loss", "interpolate", "kl_div", "l1_loss", "layer_norm",
    "leaky_relu", "log_softmax", "logsoftmax", "max_pool2d", "mse_loss", "nll_loss", "prod", "relu",
    "rms_norm", "scaled_dot_product_attention", "self_attention", "sigmoid", "silu", "softmax",
    "softplus", "tanh",
]
# fmt: on
