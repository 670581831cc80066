"""The interface of a backend.

A backend is a set of kernels over ``numpy.ndarray``: every array in and out is one, on every
CPU device. It has two kinds of member:

- **required** (``required/``): the subset of the Python Array API standard that the ops need.
  A backend implements all of them, or the registry refuses it with the list of what is missing.
- **composed** (``composed/``): the primitives of neural networks, each defined in the required
  members. A backend overrides them for speed.

The ops call members with positional arguments that have been validated, promoted to one dtype
and made aligned and native-endian. A kernel that is called directly with anything else must
still be memory safe: it raises or it falls back.
"""

from __future__ import annotations

from babygrad.backends.composed import (
    Activations,
    Attention,
    Convolution,
    Normalization,
    OptimizerSteps,
    Pooling,
    Reductions,
)


class Backend(
    Activations, Attention, Convolution, Normalization, OptimizerSteps, Pooling, Reductions
):
    """Subclass this, implement the required members, and register the class.

    Registration is an entry point in the group ``babygrad.backends`` of your package::

        [project.entry-points."babygrad.backends"]
        mine = "my_package:MyBackend"

    after which ``"cpu:mine"`` is a device. Check it with ``babygrad.testing.BackendConformance``.
    """


def missing_members(backend: type[Backend]) -> list[str]:
    """The required members that the class does not implement, in alphabetical order."""
    return sorted(backend.__abstractmethods__)


def composed_members() -> list[str]:
    """The names of the members that have a definition in the required ones."""
    mixins = [c for c in Backend.__mro__ if c.__module__.startswith("babygrad.backends.composed")]
    return sorted({name for mixin in mixins for name in vars(mixin) if not name.startswith("_")})
