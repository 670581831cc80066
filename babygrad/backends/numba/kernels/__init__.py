"""Numba kernels: explicit loops over C-contiguous arrays that the backend has validated.

Every kernel writes into arrays that it is given. Arithmetic is in float64 and rounded when
stored: Python constants are float64, and these kernels wait for memory rather than arithmetic.
"""
