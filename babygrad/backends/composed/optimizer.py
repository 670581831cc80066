"""Optimizer steps, in place over lists of arrays, and the squared norm that clipping needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from babygrad.backends.aliases import Array, Arrays
from babygrad.backends.required import Required


class OptimizerSteps(Required):
    """Each list has one array per parameter; params and states are written in place."""

    def sgd_step(
        self,
        params: Arrays,
        grads: Arrays,
        buffers: Arrays,
        lr: float,
        momentum: float,
        weight_decay: float,
        nesterov: bool,
    ) -> None:
        """p -= lr g, with g += weight_decay p first.

        With momentum, v = momentum v + g takes the place of g, or g + momentum v with Nesterov's
        form (Sutskever et al., 2013). ``buffers`` holds the v, zeros at first; it is empty
        when momentum is 0.
        """
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            if weight_decay:
                g = self.add(g, self.multiply(p, weight_decay))
            if momentum:
                v = self.add(self.multiply(buffers[i], momentum), g)
                self.setitem(buffers[i], ..., v)
                g = self.add(g, self.multiply(v, momentum)) if nesterov else v
            self.setitem(p, ..., self.subtract(p, self.multiply(g, lr)))

    def adam_step(
        self,
        params: Arrays,
        grads: Arrays,
        ms: Arrays,
        vs: Arrays,
        steps: Sequence[int],
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
    ) -> None:
        """p -= lr m_hat / (sqrt(v_hat) + eps) (Kingma and Ba, 2015, algorithm 1).

        ``steps[i]`` counts this step too. ``decoupled`` is AdamW (Loshchilov and Hutter, 2019):
        p shrinks by 1 - lr weight_decay first and g is left alone; else g += weight_decay p.
        """
        for p, g, m, v, t in zip(params, grads, ms, vs, steps, strict=True):
            if weight_decay and decoupled:
                self.setitem(p, ..., self.multiply(p, 1 - lr * weight_decay))
            elif weight_decay:
                g = self.add(g, self.multiply(p, weight_decay))
            self.setitem(m, ..., self.add(self.multiply(m, beta1), self.multiply(g, 1 - beta1)))
            squared = self.multiply(self.square(g), 1 - beta2)
            self.setitem(v, ..., self.add(self.multiply(v, beta2), squared))
            root = self.divide(self.sqrt(v), math.sqrt(1 - beta2**t))
            update = self.divide(self.multiply(m, lr / (1 - beta1**t)), self.add(root, eps))
            self.setitem(p, ..., self.subtract(p, update))

    def sum_of_squares(self, x: Array) -> Array:
        """sum(x^2) in float64, whatever the dtype of x; 0-d."""
        return self.sum(self.square(self.astype(x, "float64")), None)
