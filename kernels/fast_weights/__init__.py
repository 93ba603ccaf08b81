"""Fast weights in one call: a gated sum of steps over time, and the layer that it programs at every step."""

#: The modules that other folders import.
__all__ = ["api", "numba_kernels", "types"]
