"""A circuit as rotations of its Bloch vector: PyTorch, Numba and Triton engines of one computation."""

#: The modules that other folders import.
__all__ = ["evaluate", "numba_cpu", "pytorch", "triton_gpu"]
