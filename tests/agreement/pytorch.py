"""PyTorch's side: its operations, their sample inputs, and what it computes from them."""

from __future__ import annotations

import random
import warnings
from functools import cache
from typing import Any

from agreement.derivatives import Derivatives, Framework, derivatives

RELEASE = "2.13"


class Unavailable(Exception):
    """Why there is nothing to compare with."""


@cache
def _inventory() -> dict[str, Any] | str:
    """`op_db` by full name, or why it is not there; a second try to import it would be as slow."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch
            from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as error:
        return f"PyTorch's sample inputs cannot be imported: {error}"
    if not torch.__version__.startswith(f"{RELEASE}."):
        return f"PyTorch {torch.__version__} has other sample inputs than {RELEASE}"
    return {op.full_name: op for op in op_db}


def operations() -> dict[str, Any]:
    """PyTorch's test inventory `op_db`, by full name.

    Raises
    ------
    Unavailable
        Without PyTorch or a module that its inventory imports, or with another release, which has
        other samples.
    """
    found = _inventory()
    if isinstance(found, str):
        raise Unavailable(found)
    return found


def samples(name: str) -> list[Any]:
    """The sample inputs of an operation, the same ones every time; float64 where it takes them.

    `op.sample_inputs` would look up the test that asked, which costs 0.1 s.
    """
    op = operations()[name]  # says so when there is no torch

    import torch

    floats = torch.float64 in op.dtypes
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(20240229)
        random.seed(20240229)
        dtype = torch.float64 if floats else torch.int64
        return list(op.sample_inputs_func(op, "cpu", dtype, floats and op.supports_autograd))


def framework() -> Framework:
    import torch

    return Framework(
        torch.autograd.grad,
        lambda array: torch.from_numpy(array.copy()),
        lambda tensor: tensor.numpy(force=True),
    )


def reference(name: str, sample: Any) -> Derivatives:
    """What PyTorch computes from a sample."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    # Its other kernels for attention have no second derivative.
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return derivatives(framework(), operations()[name].op, sample)
