"""One sample on both sides: what comes out of it."""

from __future__ import annotations

from functools import cache
from typing import Any

from agreement import ADAPTERS, pytorch
from agreement.derivatives import Derivatives, Refused, babygrad_on, derivatives, disagreement
from agreement.deviations import deviation


@cache
def samples(name: str) -> list[tuple[Any, Derivatives | None]]:
    """The samples of an operation, and what PyTorch computes from them unless nothing is compared.

    Kept, for every device compares with the same.
    """
    return [(sample, _wanted(name, sample)) for sample in pytorch.samples(name)]


def _wanted(name: str, sample: Any) -> Derivatives | None:
    expected = deviation(name, sample)
    compared = expected is None or expected.outcome not in ("refused", "random")
    return pytorch.reference(name, sample) if compared else None


def outcome(name: str, sample: Any, want: Derivatives | None, device: str) -> tuple[str, str]:
    """What happened, as in `deviations`, or "agrees"; and what was raised or differs."""
    try:
        got = derivatives(babygrad_on(device), ADAPTERS[name], sample)
    except Refused as error:
        return "refused", str(error)
    if want is None:
        expected = deviation(name, sample)
        drawn = expected is not None and expected.outcome == "random"
        return ("random" if drawn else "accepted"), ""
    return disagreement(got, want) or ("agrees", "")
