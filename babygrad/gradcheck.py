"""`gradcheck` and `gradgradcheck`: a function's gradients against central differences.

For every input element j and every output element i, the derivative that the engine computes is
compared with `(f_i(x + eps e_j) - f_i(x - eps e_j)) / (2 eps)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from babygrad.autograd import NDArray, enable_grad
from babygrad.dtypes import FLOAT64, is_float
from babygrad.engine import grad
from babygrad.tensor import Tensor, zeros_like

# A kink is looked for with steps of this many eps, and ten times as many. A smooth function's
# difference of one-sided slopes grows with the step, tenfold; a kink's stays the same, and grows
# at most twofold up to a distance of 10.5 eps.
_NEAR, _FAR = 20, 200


@dataclass(frozen=True)
class GradcheckResult:
    """What `gradcheck` did; true in a condition.

    Attributes
    ----------
    checked : int
        Derivatives that were compared.
    kinks : int
        Input elements that were left out because they are near a kink.
    largest_error : float
        The largest difference of an analytic and a numeric derivative.
    """

    checked: int
    kinks: int
    largest_error: float


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    force: bool = False,
    skip_kinks: bool = False,
) -> GradcheckResult:
    """Check the gradients of `fn` with respect to each input that requires grad.

    They are computed for all inputs together and for each alone, from inputs as they are and from
    strided copies of them, and must come out the same.

    Parameters
    ----------
    fn : callable
        From the inputs to a Tensor or a sequence of Tensors. It must compute the same each time.
    inputs : Tensor or sequence
        float64; those that require grad are checked, the rest is handed on as it is. `fn` gets
        copies, so that elements of one input never share memory.
    eps : float
        The step of the central differences.
    atol, rtol : float
        A derivative may differ from the numeric one n by `atol + rtol * abs(n)`.
    force : bool
        Check other types than float64 too; `eps` and the tolerances must fit them.
    skip_kinks : bool
        Leave out input elements within 10 eps of a kink, a jump or a pole, and count them.

    Returns
    -------
    GradcheckResult

    Raises
    ------
    RuntimeError
        When a derivative is wrong; the message has the worst one with its indices and both values,
        and says if it is likely at a kink. Also when `fn` changes its inputs or the upstream
        gradient, or gives different values for the same inputs.
    TypeError
        When an input that requires grad is not float64.
    ValueError
        When no input requires grad.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> gradcheck(lambda x: x * x, x).checked
    4
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    places = _checked_places("gradcheck", given, force)
    with enable_grad():
        call = _Call(fn, given, places)
        analytic = call.jacobians(places)
        call.check_variants(analytic)
        return _compare(call, analytic, eps, atol, rtol, skip_kinks)


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    force: bool = False,
    skip_kinks: bool = False,
) -> GradcheckResult:
    """Check the second derivatives of `fn`: `gradcheck` of its gradients.

    The gradients are those of the outputs times upstream gradients between 0.5 and 1.5, with
    respect to which they are differentiated too. Parameters, result and errors are those of
    `gradcheck`.

    Examples
    --------
    >>> import babygrad
    >>> x = babygrad.Tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> gradgradcheck(lambda x: x**3, x).kinks
    0
    """
    given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    places = _checked_places("gradgradcheck", given, force)
    with enable_grad():
        outputs = _Call(fn, given, places).outputs(given)
    rng = np.random.default_rng(0)
    upstream = [
        Tensor(rng.uniform(0.5, 1.5, out.shape), dtype=out.dtype, device=out.device)
        for out in outputs
    ]

    def gradients(*both: Any) -> list[Tensor]:
        args, ups = list(both[: len(given)]), both[len(given) :]
        for i in places:
            args[i] = (
                args[i]
                if args[i].requires_grad
                else Tensor._wrap(args[i].data, args[i]._device).requires_grad_()
            )
        outs = _listed(fn(*args))
        wanted = [args[i] for i in places]
        found = grad(outs, wanted, ups, create_graph=True, allow_unused=True)
        return [zeros_like(x) if g is None else g for g, x in zip(found, wanted, strict=True)]

    everything = [*given, *(u.requires_grad_() for u in upstream)]
    return gradcheck(gradients, everything, eps, atol, rtol, force, skip_kinks)


def _checked_places(op: str, given: Sequence[Any], force: bool) -> list[int]:
    """The positions of the inputs to differentiate with respect to."""
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        raise ValueError(f"{op}: none of the {len(given)} inputs is a Tensor that requires grad")
    for i in places:
        if given[i].dtype != FLOAT64 and not force:
            raise TypeError(
                f"{op}: input {i} is {given[i].dtype}, too coarse for central differences; "
                "give float64, or force=True with an eps and tolerances that fit"
            )
    return places


def _listed(outputs: Any) -> list[Tensor]:
    """The floating-point outputs; the others have no derivative."""
    listed = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    return [out for out in listed if is_float(out.dtype)]


class _Call:
    """A function with the inputs to check it at."""

    def __init__(self, fn: Callable[..., Any], given: Sequence[Any], places: list[int]) -> None:
        self.fn = fn
        self.given = given
        self.places = places
        self.arrays = [given[i].numpy() for i in places]

    def leaves(self, arrays: Sequence[NDArray], wanted: Sequence[int]) -> list[Any]:
        """The inputs with these arrays; those at `wanted` require grad."""
        args = list(self.given)
        for i, array in zip(self.places, arrays, strict=True):
            args[i] = Tensor._wrap(array, self.given[i]._device).requires_grad_(i in wanted)
        return args

    def outputs(self, args: Sequence[Any]) -> list[Tensor]:
        return _listed(self.fn(*args))

    def values(self, arrays: Sequence[NDArray]) -> list[NDArray]:
        """The outputs' values at other inputs, which are copied."""
        copies = [array.copy() for array in arrays]
        return [out.numpy() for out in self.outputs(self.leaves(copies, self.places))]

    def jacobians(
        self, wanted: Sequence[int], arrays: Sequence[NDArray] | None = None
    ) -> list[list[NDArray]]:
        """For each output and each wanted input the derivatives, (output size, *input shape)."""
        arrays = [a.copy() for a in self.arrays] if arrays is None else arrays
        args = self.leaves(arrays, wanted)
        leaves = [args[i] for i in wanted]
        outputs = self.outputs(args)
        result = []
        for out in outputs:
            rows = []
            for k in range(out.size if out.requires_grad else 0):
                upstream = zeros_like(out)
                upstream.data.flat[k] = 1
                before = upstream.numpy()
                rows.append(grad(out, leaves, upstream, retain_graph=True, allow_unused=True))
                if not np.array_equal(upstream.data, before):
                    raise RuntimeError("gradcheck: backward changed the upstream gradient")
            blocks = []
            for i, x in enumerate(leaves):
                block = np.zeros((out.size, *x.shape), x.dtype)
                for k, row in enumerate(rows):
                    if row[i] is not None:
                        block[k] = row[i].data
                blocks.append(block)
            result.append(blocks)
        for i, array, before in zip(self.places, arrays, self.arrays, strict=True):
            if not np.array_equal(array, before, equal_nan=True):
                raise RuntimeError(f"gradcheck: the function or its backward changed input {i}")
        return result

    def check_variants(self, together: list[list[NDArray]]) -> None:
        """Raise unless each input alone, and strided inputs, give what all together gave."""
        expected = self.values(self.arrays)
        for value, again in zip(expected, self.values(self.arrays), strict=True):
            if not np.array_equal(value, again, equal_nan=True):
                raise RuntimeError(
                    "gradcheck: two calls of the function with the same inputs "
                    "gave different values; it must compute the same each time"
                )
        strided = self.jacobians(self.places, [_strided(a) for a in self.arrays])
        _check_same(together, strided, self.places, "from inputs that are not contiguous")
        if len(self.places) > 1:
            for position, i in enumerate(self.places):
                alone = self.jacobians([i])
                one = [[row[position]] for row in together]
                _check_same(one, alone, [i], f"for input {i} alone")


def _strided(array: NDArray) -> NDArray:
    """The same values with gaps between them, backwards in memory along the last axis."""
    if array.ndim == 0:
        return array.copy()
    room = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
    view = room[..., ::-2]
    view[...] = array
    return view


def _check_same(
    together: list[list[NDArray]], other: list[list[NDArray]], places: Sequence[int], how: str
) -> None:
    for k, (row, again) in enumerate(zip(together, other, strict=True)):
        for i, (a, b) in enumerate(zip(row, again, strict=True)):
            # Another layout may add up in another order.
            tolerance = 1e-9 if a.dtype == FLOAT64 else 1e-3
            same = np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
            if not same.all():
                j = np.unravel_index(int(same.argmin()), a.shape)
                raise RuntimeError(
                    f"gradcheck: the derivative of output {k} at {_plain(j[:1])}, flattened, with "
                    f"respect to input {places[i]} at {_plain(j[1:])} is {b[j]} when computed "
                    f"{how}, and {a[j]} otherwise"
                )


def _compare(
    call: _Call, analytic: list[list[NDArray]], eps: float, atol: float, rtol: float, skip: bool
) -> GradcheckResult:
    """Compare with central differences, one input element after the other."""
    center = call.values(call.arrays)
    checked, kinks, largest = 0, 0, 0.0
    worst: tuple[float, str] | None = None
    for position, array in enumerate(call.arrays):
        for j in np.ndindex(array.shape):
            probe = _Probe(call, position, j, center)
            if skip and any(k.any() for k in probe.kinks(eps, atol)):
                kinks += 1
                continue
            for o, numeric in enumerate(probe.slopes(eps)):
                exact = analytic[o][position][(slice(None), *j)].reshape(numeric.shape)
                error = np.abs(exact - numeric)
                checked += numeric.size
                largest = max(largest, float(error.max(initial=0.0)))
                # Written so that NaN is wrong too.
                excess = np.where(error <= atol + rtol * np.abs(numeric), 0.0, error)
                excess = np.where(np.isnan(excess), np.inf, excess)
                if excess.any() and (worst is None or excess.max() > worst[0]):
                    at = np.unravel_index(int(excess.argmax()), excess.shape)
                    kink = bool(probe.kinks(eps, atol)[o][at])
                    worst = (
                        float(excess[at]),
                        _report((o, at), (call.places[position], j), exact[at], numeric[at], kink),
                    )
    if worst is not None:
        raise RuntimeError(worst[1])
    return GradcheckResult(checked, kinks, largest)


class _Probe:
    """The outputs as functions of one element of one input."""

    def __init__(
        self, call: _Call, position: int, j: tuple[int, ...], center: list[NDArray]
    ) -> None:
        self.call = call
        self.position = position
        self.j = j
        self.center = center

    def at(self, step: float) -> list[NDArray]:
        arrays = list(self.call.arrays)
        arrays[self.position] = arrays[self.position].copy()
        arrays[self.position][self.j] += step
        return self.call.values(arrays)

    def slopes(self, eps: float) -> list[NDArray]:
        pairs = zip(self.at(eps), self.at(-eps), strict=True)
        return [np.asarray((high - low) / (2 * eps)) for high, low in pairs]

    def kinks(self, eps: float, atol: float) -> list[NDArray]:
        """For each output element, whether its two one-sided slopes disagree as at a kink."""
        near, far = (self._disagreement(scale * eps) for scale in (_NEAR, _FAR))
        # Not `near > ...`: at a pole the slopes are infinite or NaN.
        return [~((n <= 10 * atol) | (n <= 0.5 * f)) for n, f in zip(near, far, strict=True)]

    def _disagreement(self, step: float) -> list[NDArray]:
        triples = zip(self.at(step), self.center, self.at(-step), strict=True)
        return [np.asarray(np.abs(high - 2 * mid + low) / step) for high, mid, low in triples]


def _report(
    output: tuple[int, Any], source: tuple[int, Any], exact: Any, numeric: Any, kink: bool
) -> str:
    text = (
        f"gradcheck: the derivative of output {output[0]} at {_plain(output[1])} with respect to "
        f"input {source[0]} at {_plain(source[1])} is wrong: analytic {exact}, numeric {numeric}"
    )
    if kink:
        text += (
            "; the slopes on both sides disagree, so this is likely a kink, where the derivative "
            "is a convention: move the input away from it, or pass skip_kinks=True"
        )
    return text


def _plain(index: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in index)
