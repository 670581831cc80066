"""Backends: the kernels behind a device string.

``base`` holds the interface, ``registry`` finds and loads the backends, ``numpy`` is the
reference, ``cpp`` and ``numba`` derive from it and override what they do faster.
"""
