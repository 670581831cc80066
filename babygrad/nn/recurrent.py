"""Recurrent layers: `RNN`, `LSTM` and `GRU`, with PyTorch's parameters and results.

Layer l keeps, for each direction (the backward one with the suffix `_reverse`),

    weight_ih_l{l} (gates * hidden, input)    bias_ih_l{l} (gates * hidden,)
    weight_hh_l{l} (gates * hidden, hidden)   bias_hh_l{l} (gates * hidden,)

The products of a whole sequence with weight_ih are one matrix product; only those with weight_hh
have to wait for the step before.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from babygrad import init, ops
from babygrad.nn.module import Module, Parameter
from babygrad.ops._settings import check_choice, check_probability, check_switches, count_of
from babygrad.tensor import Tensor

State = tuple[Tensor, ...]  # h, and for an LSTM also c, each (N, hidden)


class _Recurrent(Module):
    """Runs a cell along a sequence, in layers and in one direction or both.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
    bias : bool
    batch_first : bool
        Whether sequences are (N, L, features) instead of (L, N, features).
    dropout : float
        Between layers, in training.
    bidirectional : bool
        Whether a second set of weights runs from the end to the start; the results are joined.
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = count_of(name, "input_size", input_size)
        self.hidden_size = count_of(name, "hidden_size", hidden_size)
        self.num_layers = count_of(name, "num_layers", num_layers)
        check_probability(name, "dropout", dropout)
        check_switches(name, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self._suffixes = ("", "_reverse") if bidirectional else ("",)
        bound = 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self._suffixes)
            for suffix in self._suffixes:
                for kind, columns in (("ih", (width,)), ("hh", (hidden_size,))):
                    for name, shape in (("weight", columns), ("bias", ())):
                        if name == "weight" or bias:
                            values = init.rand(
                                self.gates * hidden_size,
                                *shape,
                                low=-bound,
                                high=bound,
                                device=device,
                                dtype=dtype,
                            )
                            setattr(self, f"{name}_{kind}_l{layer}{suffix}", Parameter(values))

    def cell(self, gi: Tensor, gh: Tensor, state: State) -> State:
        """The next state, from the gates' parts of the input and of h, (N, gates * hidden)."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The sequence of the last layer's h, and the last states of all layers.

        Parameters
        ----------
        x : Tensor (L, N, input_size), or (N, L, input_size) with batch_first
            Or one sequence, (L, input_size); nothing else has the axis N then.
        state : Tensor (layers * directions, N, hidden_size), optional
            The first h; for an LSTM the pair (h, c). Zeros by default.

        Returns
        -------
        y : Tensor (L, N, directions * hidden_size), or (N, L, ...) with batch_first
        state : like the argument
            After no steps, L = 0, the first state; y is empty then. PyTorch refuses that.
        """
        name = type(self).__name__
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: x has shape {x.shape}; it must have 3 axes, or 2 for one sequence, and "
                f"input_size (={self.input_size}) features on the last"
            )
        single = x.ndim == 2
        if single:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose((0, 1))
        start = self._start(name, x, state, single)
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = ops.dropout(x, self.dropout, self.training)
            directions = []
            for suffix in self._suffixes:
                begin = tuple(s[len(last)] for s in start)
                y, end = self._run(x, begin, f"_l{layer}{suffix}", bool(suffix))
                directions.append(y)
                last.append(end)
            x = directions[0] if len(directions) == 1 else ops.concatenate(directions, -1)
        finals = tuple(ops.stack([end[i] for end in last], 0) for i in range(self.states))
        if single:
            x, finals = x.squeeze(1), tuple(s.squeeze(1) for s in finals)
        elif self.batch_first:
            x = x.transpose((0, 1))
        return x, finals[0] if self.states == 1 else finals

    def _start(self, name: str, x: Tensor, state: Any, single: bool) -> State:
        """The first states of all layers, each (layers * directions, N, hidden_size)."""
        rows = self.num_layers * len(self._suffixes)
        if state is None:
            shape: tuple[int, ...] = (rows, x.shape[1], self.hidden_size)
            settings: Any = {"device": x.device, "dtype": x.dtype, "requires_grad": False}
            return (Tensor.zeros(*shape, **settings),) * self.states
        shape = (rows, self.hidden_size) if single else (rows, x.shape[1], self.hidden_size)
        given = (state,) if isinstance(state, Tensor) else tuple(state)
        if len(given) != self.states or any(s.shape != shape for s in given):
            raise ValueError(
                f"{name}: state has the shapes {[s.shape for s in given]}; "
                f"it must be {self.states} of {shape}"
            )
        return tuple(s.unsqueeze(1) for s in given) if single else given

    def _run(self, x: Tensor, state: State, suffix: str, backward: bool) -> tuple[Tensor, State]:
        """One layer in one direction: the sequence of h, and the last state."""
        w_ih, w_hh = (getattr(self, f"weight_{kind}{suffix}").transpose() for kind in ("ih", "hh"))
        b_ih, b_hh = (getattr(self, f"bias_{kind}{suffix}", None) for kind in ("ih", "hh"))
        gi = ops.linear(x, w_ih, b_ih)
        steps = range(x.shape[0])
        if not steps:
            return gi[..., : self.hidden_size], state
        outputs = []
        for t in reversed(steps) if backward else steps:
            state = self.cell(gi[t], ops.linear(state[0], w_hh, b_hh), state)
            outputs.append(state[0])
        return ops.stack(outputs[::-1] if backward else outputs, 0), state


class RNN(_Recurrent):
    """h' = tanh(W x + V h + b), or with relu (Elman, 1990).

    Parameters
    ----------
    nonlinearity : {"tanh", "relu"}
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        **settings: Any,
    ) -> None:
        check_choice(type(self).__name__, "nonlinearity", nonlinearity, "tanh", "relu")
        super().__init__(input_size, hidden_size, num_layers, **settings)
        self.nonlinearity = nonlinearity

    def cell(self, gi: Tensor, gh: Tensor, state: State) -> State:
        squash = ops.tanh if self.nonlinearity == "tanh" else ops.relu
        return (squash(gi + gh),)


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); gates i, f, g, o in this order."""

    gates = 4
    states = 2

    def cell(self, gi: Tensor, gh: Tensor, state: State) -> State:
        i, f, g, o = ops.split(gi + gh, self.hidden_size, -1)
        c = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(c), c


class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al., 2014); gates r, z, n in this order."""

    gates = 3

    def cell(self, gi: Tensor, gh: Tensor, state: State) -> State:
        ri, zi, ni = ops.split(gi, self.hidden_size, -1)
        rh, zh, nh = ops.split(gh, self.hidden_size, -1)
        z = ops.sigmoid(zi + zh)
        n = ops.tanh(ni + ops.sigmoid(ri + rh) * nh)
        return (n + z * (state[0] - n),)
