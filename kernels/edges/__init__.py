"""Functions of one variable that the edges of a layer are sums of: families by name, in PyTorch and in kernels."""

#: The modules that other folders import.
__all__ = ["activations", "families", "grids"]
