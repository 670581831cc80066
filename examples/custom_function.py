"""An operation of one's own: forward on arrays, backward on Tensors, checked by differences.

    python examples/custom_function.py

Softsign, x / (1 + |x|), has the derivative 1 / (1 + |x|)^2.
"""

import numpy as np

from babygrad import Function, Tensor


class Softsign(Function):
    def forward(self, x):
        return x / (1 + np.abs(x))

    def backward(self, out_grad, node):
        (x,) = node._inputs
        scale = Tensor(1 / (1 + np.abs(x.data)) ** 2, dtype=x.dtype)
        return out_grad * scale


def softsign(x):
    return Softsign()(x)


def main():
    values = np.linspace(-3, 3, 7)
    x = Tensor(values, dtype="float64", requires_grad=True)
    softsign(x).sum().backward()

    step = 1e-6
    plus, minus = (softsign(Tensor(values + d, dtype="float64")).data for d in (step, -step))
    differences = (plus - minus) / (2 * step)
    print("gradient    ", np.round(x.grad, 6))
    print("differences ", np.round(differences, 6))
    print("largest deviation", abs(x.grad - differences).max())


if __name__ == "__main__":
    main()
