"""Band-limited circuits as one matrix product: bases, coefficients, the fused product and its engines."""

#: The modules that other folders import.
__all__ = [
    "basis",
    "coefficients",
    "matmul",
    "numba_basis",
    "numba_coefficients",
    "numba_cpu",
    "numba_kernels",
    "sum_frequencies",
    "triton_basis",
    "triton_gpu",
    "whole_layer",
]
