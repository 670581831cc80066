"""Counts the samples that agree, and those that do not by their reasons.

Run it with `PYTHONPATH=tests python -m agreement [device]`.
"""

from __future__ import annotations

import sys
from collections import Counter

from agreement import ADAPTERS, comparison
from agreement.deviations import deviation


def main(device: str) -> None:
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    differentiated = 0
    for name in ADAPTERS:
        for sample, want in comparison.samples(name):
            outcome, _ = comparison.outcome(name, sample, want, device)
            outcomes[outcome] += 1
            expected = deviation(name, sample)
            if expected:
                reasons[f"{outcome}: {expected.reason}"] += 1
            differentiated += want is not None and bool(want.first)
    print(f"{device}: {len(ADAPTERS)} operations, {outcomes.total()} samples: {dict(outcomes)}")
    print(f"compared with gradients and second gradients: {differentiated}")
    for reason, count in reasons.most_common():
        print(f"{count:6d} {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["cpu:cpp"])
