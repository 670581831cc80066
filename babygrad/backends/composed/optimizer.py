"""Optimizer steps, in place over lists of arrays, and the squared norm that clipping needs."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from babygrad.backends.aliases import Array, Arrays
from babygrad.backends.required import Required

# By the bytes of an element.
LARGEST = {2: 65504.0, 4: (2 - 2.0**-23) * 2.0**127, 8: sys.float_info.max}


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
        when momentum is 0. Each of the two parts of Nesterov's sum is multiplied by lr, because
        the sum of large ones would overflow.
        """
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            if weight_decay:
                g = self.add(g, self.multiply(p, weight_decay))
            if momentum:
                v = self.add(self.multiply(buffers[i], momentum), g)
                self.setitem(buffers[i], ..., v)
                step = self.multiply(g if nesterov else v, lr)
                if nesterov:
                    step = self.add(step, self.multiply(v, lr * momentum))
            else:
                step = self.multiply(g, lr)
            self.setitem(p, ..., self.subtract(p, step))

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
        Of a g that is too large for v see `_add_squares`.
        """
        for p, g, m, v, t in zip(params, grads, ms, vs, steps, strict=True):
            if weight_decay and decoupled:
                self.setitem(p, ..., self.multiply(p, 1 - lr * weight_decay))
            elif weight_decay:
                g = self.add(g, self.multiply(p, weight_decay))
            g = self._add_squares(v, g, beta2, 1 - beta2)
            self.setitem(m, ..., self.add(self.multiply(m, beta1), self.multiply(g, 1 - beta1)))
            root = self.divide(self.sqrt(v), math.sqrt(1 - beta2**t))
            update = self.divide(self.multiply(m, lr / (1 - beta1**t)), self.add(root, eps))
            self.setitem(p, ..., self.subtract(p, update))

    def rmsprop_step(
        self,
        params: Arrays,
        grads: Arrays,
        vs: Arrays,
        buffers: Arrays,
        lr: float,
        alpha: float,
        eps: float,
        weight_decay: float,
        momentum: float,
    ) -> None:
        """p -= lr g / (sqrt(v) + eps) with v = alpha v + (1 - alpha) g^2 (Tieleman, Hinton, 2012).

        With momentum, b = momentum b + g / (sqrt(v) + eps) takes the place of the quotient.
        ``buffers`` holds the b, zeros at first; it is empty when momentum is 0. Of a g that is too
        large for v see `_add_squares`.
        """
        for i, (p, g, v) in enumerate(zip(params, grads, vs, strict=True)):
            b = self._scaled(p, g, v, alpha, 1 - alpha, eps, weight_decay)
            if momentum:
                b = self.add(self.multiply(buffers[i], momentum), b)
                self.setitem(buffers[i], ..., b)
            self.setitem(p, ..., self.subtract(p, self.multiply(b, lr)))

    def adagrad_step(
        self,
        params: Arrays,
        grads: Arrays,
        vs: Arrays,
        lr: float,
        eps: float,
        weight_decay: float,
    ) -> None:
        """p -= lr g / (sqrt(v) + eps) with v = v + g^2 (Duchi, Hazan and Singer, 2011).

        Of a g that is too large for v see `_add_squares`.
        """
        for p, g, v in zip(params, grads, vs, strict=True):
            scaled = self._scaled(p, g, v, 1.0, 1.0, eps, weight_decay)
            self.setitem(p, ..., self.subtract(p, self.multiply(scaled, lr)))

    def _scaled(
        self,
        p: Array,
        g: Array,
        v: Array,
        decay: float,
        weight: float,
        eps: float,
        weight_decay: float,
    ) -> Array:
        if weight_decay:
            g = self.add(g, self.multiply(p, weight_decay))
        g = self._add_squares(v, g, decay, weight)
        return self.divide(g, self.add(self.sqrt(v), eps))

    def _add_squares(self, v: Array, g: Array, decay: float, weight: float) -> Array:
        """v = decay v + weight g^2, in place and at most the largest number of its dtype.

        A finite g counts as at most sqrt(largest / weight), whose weighted square just fits, here
        and in what is returned. So g / sqrt(v) stays what it is for smaller ones, where an
        infinite v would never let the parameter move again. Infinities and NaN stay.
        """
        # Weighted before it is squared: g^2 itself may exceed the range.
        kept = self.multiply(v, decay) if decay != 1 else v
        squares = self.add(kept, self.multiply(self.multiply(g, weight), g))
        largest = LARGEST[v.itemsize]
        if v.size and not float(self.max(squares)) <= largest:
            limit = min(math.sqrt(largest) / math.sqrt(weight), largest)
            g = self.where(self.isfinite(g), self.clip(g, -limit, limit), g)
            squares = self.add(kept, self.multiply(self.multiply(g, weight), g))
            squares = self.minimum(squares, largest)
        self.setitem(v, ..., squares)
        return g

    def sum_of_squares(self, x: Array) -> Array:
        """sum(x^2) in float64, whatever the dtype of x; 0-d."""
        return self.sum(self.square(self.astype(x, "float64")), None)
