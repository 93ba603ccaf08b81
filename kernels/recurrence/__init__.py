"""Whole recurrences in one call: a walk over time whose gates are features times a matrix."""

#: The modules that other folders import.
__all__ = ["api", "circuits_cpu", "numba_cpu", "numba_kernels", "numba_streams", "numba_walk", "reference", "types"]
