"""The whole of automatic differentiation on one page, in plain numpy.

    python examples/engine_in_a_page.py

babygrad's own does the same with more care: backends, dtypes, saved values, second derivatives.
Read `Value.backward` first: that is the idea. The table of gradients below it is all the calculus.
"""

import itertools

import numpy as np

clock = itertools.count()


class Value:
    """An array, and how it was made: the operation's gradient and the values it was made from."""

    def __init__(self, data, gradient=None, sources=()):
        self.data, self.grad = np.asarray(data, dtype=np.float64), None
        self.gradient, self.sources = gradient, sources
        self.born = next(clock)

    def backward(self):
        """Put the derivative of this value into `.grad` of every value it was made from.

        A value may pass its gradient on once it has all of it, and all of it comes from values
        that were made later: going from the youngest to the oldest is enough.
        """
        reached, stack = {}, [self]
        while stack:
            value = stack.pop()
            if value.born not in reached:
                reached[value.born] = value
                stack.extend(value.sources)
        self.grad = np.ones_like(self.data)
        for born in sorted(reached, reverse=True):
            value = reached[born]
            if value.grad is None or value.gradient is None:
                continue
            parts = value.gradient(value.grad, value.data, *[s.data for s in value.sources])
            for source, part in zip(value.sources, parts, strict=True):
                part = unbroadcast(part, source.data.shape)
                source.grad = part if source.grad is None else source.grad + part


def unbroadcast(gradient, shape):
    """What was repeated to fit is used several times: its gradients add up."""
    added = gradient.ndim - len(shape)
    repeated = [added + axis for axis, size in enumerate(shape) if size == 1]
    return gradient.sum((*range(added), *repeated)).reshape(shape)


def operation(forward, gradient):
    """A function of values from one of arrays and its gradient: (g, result, *inputs) to a tuple."""

    def apply(*inputs):
        sources = tuple(v if isinstance(v, Value) else Value(v) for v in inputs)
        return Value(forward(*[s.data for s in sources]), gradient, sources)

    return apply


# ----- The calculus: what each operation computes, and the gradients of its inputs -----

add = operation(np.add, lambda g, y, a, b: (g, g))
subtract = operation(np.subtract, lambda g, y, a, b: (g, -g))
multiply = operation(np.multiply, lambda g, y, a, b: (g * b, g * a))
divide = operation(np.divide, lambda g, y, a, b: (g / b, -g * y / b))
matmul = operation(np.matmul, lambda g, y, a, b: (g @ b.T, a.T @ g))
exp = operation(np.exp, lambda g, y, a: (g * y,))
log = operation(np.log, lambda g, y, a: (g / a,))
tanh = operation(np.tanh, lambda g, y, a: (g * (1 - y * y),))
relu = operation(lambda a: np.maximum(a, 0), lambda g, y, a: (g * (a > 0),))
transpose = operation(np.transpose, lambda g, y, a: (g.T,))
total = operation(np.sum, lambda g, y, a: (np.broadcast_to(g, a.shape),))

Value.__add__, Value.__sub__ = add, subtract
Value.__mul__, Value.__truediv__, Value.__matmul__ = multiply, divide, matmul


def main():
    """A network of two layers learns exclusive or."""
    rng = np.random.default_rng(0)
    x, y = Value([[0, 0], [0, 1], [1, 0], [1, 1]]), Value([[0], [1], [1], [0]])
    parameters = [Value(rng.normal(size=shape)) for shape in ((2, 8), (1, 8), (8, 1), (1, 1))]
    w1, b1, w2, b2 = parameters
    for _ in range(500):
        error = tanh(x @ w1 + b1) @ w2 + b2 - y
        total(error * error).backward()
        for p in parameters:
            p.data, p.grad = p.data - 0.05 * p.grad, None
    print("predictions", np.round((error + y).data.ravel(), 3) + 0.0)


if __name__ == "__main__":
    main()
