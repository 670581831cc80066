"""The book's Functions under the names that the book gives to them.

A class that has settings takes the book's: `Summation(axes=(1,))(x)` is `summation(x, axes=(1,))`.
Where the class has another name here, the book's is an alias.
"""

from babygrad.autograd import Function
from babygrad.ops.activation import ReLU, Sigmoid, Tanh
from babygrad.ops.arithmetic import (
    Add,
    AddScalar,
    Divide,
    DivScalar,
    MulScalar,
    Multiply,
    Negate,
    Power,
    PowerScalar,
)
from babygrad.ops.conv import Conv
from babygrad.ops.elementwise import Exp, Log, Sqrt
from babygrad.ops.joining import Dilate, Undilate
from babygrad.ops.linalg import MatMul
from babygrad.ops.reduction import LogSumExp, Summation
from babygrad.ops.shape import BroadcastTo, Flip, Reshape, Transpose

Div = Divide
Mul = Multiply
Pow = Power

# fmt: off
__all__ = [
    "Add", "AddScalar", "BroadcastTo", "Conv", "Dilate", "Div", "DivScalar", "Exp", "Flip",
    "Function", "Log", "LogSumExp", "MatMul", "Mul", "MulScalar", "Negate", "Pow", "PowerScalar",
    "ReLU", "Reshape", "Sigmoid", "Sqrt", "Summation", "Tanh", "Transpose", "Undilate",
]
# fmt: on
