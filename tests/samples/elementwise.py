from babygrad import Tensor, ops
from samples import Sample, distinct, normal, positive

MASK = Tensor([[True, False, True], [False, False, True]], dtype="bool", device="cpu:numpy")


def pick(a, b):
    return ops.where(MASK.to(a.device), a, b)


SAMPLES = [
    Sample("exp", ops.exp, normal(2, 3)),
    Sample("exp", ops.exp, normal()),
    Sample("expm1", ops.expm1, normal(2, 3)),
    Sample("log", ops.log, positive(2, 3)),
    Sample("log1p", ops.log1p, positive(2, 3)),
    Sample("log2", ops.log2, positive(2, 3)),
    Sample("sqrt", ops.sqrt, positive(2, 3)),
    Sample("rsqrt", ops.rsqrt, positive(2, 3)),
    Sample("reciprocal", ops.reciprocal, positive(2, 3)),
    Sample("sin", ops.sin, normal(2, 3)),
    Sample("cos", ops.cos, normal(2, 3)),
    Sample("tan", ops.tan, positive(3) / 2),
    Sample("sinh", ops.sinh, normal(2, 3)),
    Sample("cosh", ops.cosh, normal(2, 3)),
    Sample("erf", ops.erf, normal(2, 3)),
    Sample("abs", ops.abs, normal(2, 3)),
    Sample("square", ops.square, normal(2, 3)),
    Sample("sign", ops.sign, normal(3)),
    Sample("floor", ops.floor, distinct(3)),
    Sample("ceil", ops.ceil, distinct(3)),
    Sample("round", ops.round, distinct(3) + 0.1),
    Sample("round", lambda a: ops.round(a, 1), distinct(3) + 0.01),
    Sample("maximum", ops.maximum, distinct(2, 3), distinct(3) + 0.25),
    Sample("maximum", lambda a: ops.maximum(a, 0), normal(2, 3)),
    Sample("minimum", ops.minimum, distinct(2, 3), distinct(3) + 0.25),
    Sample("minimum", lambda a: ops.minimum(0.0, a), normal(2, 3)),
    Sample("clip", lambda a: ops.clip(a, -0.5, 0.5), distinct(7)),
    Sample("clip", lambda a: ops.clip(a, high=0.3), distinct(7)),
    Sample("clip", ops.clip, distinct(3, 3), -positive(3), positive(3, 1)),
    Sample("clamp", lambda a: ops.clamp(a, low=0.3), distinct(7)),
    Sample("where", pick, normal(2, 3), normal(3)),
    Sample("where", lambda a: pick(a, 1.0), normal(2, 3)),
    Sample("where", lambda a: ops.where(a < 1, a * a, ops.sqrt(a)), positive(5)),
]
