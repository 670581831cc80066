"""The members that a backend must implement itself: a subset of the Python Array API standard."""

from babygrad.backends.required.arrays import RequiredArrays
from babygrad.backends.required.elementwise import RequiredElementwise


class Required(RequiredElementwise, RequiredArrays):
    """All required members; the composed definitions are written in these alone."""


__all__ = ["Required"]
