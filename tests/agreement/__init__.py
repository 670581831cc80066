"""Agreement with PyTorch over its own sample inputs: values, gradients and second gradients.

PyTorch tests itself on an inventory of its operations, `op_db`, with sample inputs for each. Here
every operation of it that babygrad has runs on these, in float64, on both sides:

- `ADAPTERS`: for each name in the inventory, the babygrad call that takes PyTorch's arguments;
- `derivatives`: what is computed and how it is compared;
- `deviations`: the samples that babygrad refuses, or answers otherwise, each with the reason.

`tests/test_torch_agreement.py` runs it; `PYTHONPATH=tests python -m agreement` prints the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agreement import arrays, elementwise, network

ADAPTERS: dict[str, Callable[..., Any]] = elementwise.ADAPTERS | arrays.ADAPTERS | network.ADAPTERS
