"""A kernel of the C++ engine without its fallback."""

from __future__ import annotations

from typing import Any

import pytest

_core = pytest.importorskip("babygrad._core", reason="built without the C++ engine")


def kernel(name: str) -> Any:
    """The kernel, which fails where it would hand a case over to the reference."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{name} handed a case that it must cover to its fallback")

    return _core.bind(name, refuse)
