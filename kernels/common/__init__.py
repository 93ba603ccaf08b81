"""What all kernels share: derivative helpers, constants, host reads, threads and Numba's language."""

#: The modules that other folders import.
__all__ = [
    "constant_cache",
    "host_sync",
    "numba_cache",
    "numba_compile",
    "numba_lanes",
    "numba_math",
    "numba_matmul",
    "numba_runtime",
    "tensors",
    "threads",
    "triton_device",
    "vjp",
]
