"""A circuit as rotations of its Bloch vector: PyTorch, Numba and Triton engines of one computation."""

#: The modules that other folders import.
__all__ = [
    "bytecode",
    "evaluate",
    "numba_cpu",
    "numba_interpreter",
    "numba_kernels",
    "pytorch",
    "triton_gpu",
    "triton_rotations",
]
