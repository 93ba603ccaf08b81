"""A circuit as rotations of its Bloch vector: PyTorch, Numba and Triton engines of one computation."""
