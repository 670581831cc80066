"""The methods of Tensor that compute: `babygrad.ops` puts them on the class when it is imported.

Their signatures are in `_methods.pyi`, for editors and type checkers.
"""


class TensorMethods:
    """Empty here; `babygrad.ops.methods` has the table."""

    __slots__ = ()
