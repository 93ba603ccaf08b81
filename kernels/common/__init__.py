"""What all kernels share: derivative helpers, constants, host reads, threads and Numba's language."""
