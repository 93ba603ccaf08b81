"""Functions of one variable that the edges of a layer are sums of: families by name, in PyTorch and in kernels."""

#: The modules that other folders import.
__all__ = [
    "activations",
    "families",
    "free_sum",
    "grids",
    "numba_activations",
    "numba_cpu",
    "own_functions",
    "triton_activations",
    "triton_kernels",
]
