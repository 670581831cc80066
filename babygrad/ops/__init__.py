"""Operations on tensors, each a Function with its gradient and a function that calls it.

Every family is a module, which lists what it offers in its `__all__`.
"""

# ruff: noqa: F403 - the names are listed where the functions are

# ----- General -----
from babygrad.ops import (
    arithmetic,
    comparison,
    elementwise,
    indexing,
    joining,
    linalg,
    methods,  # noqa: F401 - gives Tensor its operators
    reduction,
    shape,
)
from babygrad.ops.arithmetic import *
from babygrad.ops.comparison import *
from babygrad.ops.elementwise import *
from babygrad.ops.indexing import *
from babygrad.ops.joining import *
from babygrad.ops.linalg import *
from babygrad.ops.reduction import *
from babygrad.ops.shape import *

__all__: list[str] = []
__all__ += arithmetic.__all__
__all__ += comparison.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += joining.__all__
__all__ += linalg.__all__
__all__ += reduction.__all__
__all__ += shape.__all__
