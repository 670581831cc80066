from samples import Sample, distinct, normal, positive

from babygrad import Tensor, ops

SAMPLES = [
    Sample("add", ops.add, normal(2, 3), normal(3)),
    Sample("add", lambda a: a + 2, normal(3)),
    Sample("add", lambda a: a + a, normal()),
    Sample("add", ops.add, normal(0, 3), normal(3)),
    Sample("add_scalar", lambda a: ops.add_scalar(a, 1.5), normal(3)),
    Sample("subtract", ops.subtract, normal(3, 1), normal(1, 4)),
    Sample("subtract", lambda a: 5 - a, normal(3)),
    Sample("subtract", lambda a: a - 5, normal(3)),
    Sample("multiply", ops.multiply, normal(3, 1), normal(1, 4)),
    Sample("multiply", ops.multiply, normal(), normal(2, 1)),
    Sample("multiply", lambda a: a * a * a, normal(3)),
    Sample("mul_scalar", lambda a: ops.mul_scalar(a, -2.5), normal(2, 2)),
    Sample("divide", ops.divide, normal(2, 3), positive(3)),
    Sample("divide", lambda a: 1 / a, positive(4)),
    Sample("divide_scalar", lambda a: ops.divide_scalar(a, 3), normal(3)),
    Sample("negate", ops.negate, normal(2, 3)),
    Sample("power", ops.power, positive(2, 3), normal(3)),
    Sample("power", lambda a: ops.power(a, Tensor([2.0, 3.0, 0.0])), normal(2, 3)),
    Sample("power", lambda a: 2**a, normal(3)),
    Sample("power_scalar", lambda a: ops.power_scalar(a, 2), normal(3)),
    Sample("power_scalar", lambda a: ops.power_scalar(a, 3), normal(3)),
    Sample("power_scalar", lambda a: ops.power_scalar(a, -1.5), positive(3)),
    Sample("power_scalar", lambda a: ops.power_scalar(a, 0), normal(3)),
    Sample("power_scalar", lambda a: ops.power_scalar(a, 1), normal(3)),
    Sample("floor_divide", ops.floor_divide, distinct(2, 3), distinct(3)),
    Sample("floor_divide", lambda a: 7 // a, distinct(3)),
    Sample("remainder", ops.remainder, distinct(2, 3), distinct(3)),
    Sample("remainder", lambda a: a % 3, distinct(4)),
]
