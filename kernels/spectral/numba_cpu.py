"""Sums of features on the CPU in Numba kernels, and what all kernels of features share.

A thread makes the features of some rows, multiplies them with the matrix in the tiles of
:mod:`qkan.kernels.common.numba_matmul` and forgets them. The backward pass makes them again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from qkan.kernels.common.tensors import address_of
from qkan.kernels.spectral.basis import Basis

#: Fewer multiply-adds than this are not worth waking another thread.
SHARD_WORK = 2**19
#: Rows of a tile; columns are at most so many.
ROWS, COLUMNS = 4, 32


def addresses(*tensors: Tensor | None) -> list[int]:
    """Address and length of every contiguous tensor, zeros for None, as kernels take them."""
    found: list[int] = []
    for tensor in tensors:
        found += (0, 0) if tensor is None else (tensor.data_ptr() or address_of(tensor), tensor.numel())
    return found


def padded(size: int, unit: int = COLUMNS) -> int:
    """The smallest multiple of ``unit`` that is at least ``size``."""
    return (size + unit - 1) // unit * unit


def threads_for(work: int, most: int) -> int:
    """How many threads so many multiply-adds deserve, up to ``most``."""
    return max(1, min(torch.get_num_threads(), most, work // SHARD_WORK))


@lru_cache(maxsize=256)
def radius_of(radius: float, dtype: torch.dtype) -> Tensor:
    """The radius of a basis as a tensor of that dtype, (1,)."""
    return torch.tensor([radius], dtype=dtype, device="cpu")


@lru_cache(maxsize=256)
def kernel_params(basis: Basis, shaped: bool, width: int, others: tuple[int, ...] = (0,) * 9) -> tuple[int, ...]:
    """The integers ``kernel_params`` of the kernels; ``others`` are those of recurrences."""
    from qkan.kernels.edges.numba_activations import BASE_NUMBERS
    from qkan.kernels.spectral import numba_basis as jit

    kind = jit.FOURIER if basis.kind == "fourier" else jit.CHEBYSHEV
    return kind, basis.size, BASE_NUMBERS[basis.base], int(shaped), width, *others


def num_frequencies(basis: Basis) -> int:
    """Functions of a basis, without the base activation."""
    return basis.terms - (basis.base is not None)


def transposed_weights(basis: Basis, matrix: Tensor, activation_coeffs: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The weights that take gradients back to the inputs.

    Args:
        basis, matrix, activation_coeffs: as in :class:`qkan.kernels.spectral.basis.Operands`.

    Returns:
        the matrix (blocks, inputs, outputs): with activation_coeffs the matrix itself, else weights of the constant
        function (Chebyshev only), of the basis functions and of the base activation's derivative; and with
        activation_coeffs the weights (functions + 1, inputs) of the activations' slopes, the constant first.
    """
    if activation_coeffs is None:
        slopes, constant = basis.differentiate(matrix)
        return (slopes if constant is None else torch.cat((constant.unsqueeze(0), slopes))), None
    slopes, constant = replace(basis, base=None).differentiate(activation_coeffs[1:])
    constant = torch.zeros_like(activation_coeffs[0]) if constant is None else constant
    return matrix, torch.cat((constant.unsqueeze(0), slopes))


def pack(matrix: Tensor, depth: int, width: int, *, transposed: bool = False) -> Tensor:
    """A contiguous matrix (depth, width), or (width, depth) if ``transposed``, in panels for the tiles."""
    from qkan.kernels.spectral import numba_basis
    from qkan.kernels.spectral import numba_kernels as jit

    out = matrix.new_empty(depth * padded(width))
    sizes = (depth, width, int(transposed), 0)
    jit.PACK(matrix.dtype, (*(0,) * numba_basis.HOW_SIZE, *sizes, *addresses(None, None, matrix, out)))
    return out


def size_of(matrix: Tensor) -> tuple[int, int, int]:
    """The size of a matrix of three dimensions."""
    terms, inputs, outputs = matrix.shape
    return terms, inputs, outputs


def matrix_gradient_copies(
    basis: Basis, size: tuple[int, int, int], activation_coeffs: Tensor | None, x: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """What every thread contributes to the gradients of matrix and bias.

    Args:
        basis, activation_coeffs: as in :class:`qkan.kernels.spectral.basis.Operands`.
        size: of the matrix.
        x, grad: (rows, inputs) and (rows, outputs), contiguous.

    Returns:
        (threads, terms, inputs, outputs), the last two sizes padded to whole tiles, and (threads, outputs).
    """
    from qkan.kernels.spectral import numba_kernels as jit

    terms, width, total = size
    rows, high, stride = len(x), padded(width, ROWS), padded(total, jit.COLUMNS)
    threads = threads_for(rows * terms * width * total, max(1, rows // jit.CHUNK))
    of_matrix = x.new_zeros(threads, terms, high, stride)
    of_bias = x.new_zeros(threads, total)
    workspace = x.new_zeros(threads, jit.CHUNK * (stride + (num_frequencies(basis) + 4) * high))
    arrays = (radius_of(basis.radius, x.dtype), workspace, activation_coeffs, x, grad, of_matrix, of_bias)
    sizes = (rows, total, 0, workspace.shape[1])
    integers = kernel_params(basis, activation_coeffs is not None, width)
    jit.MATRIX_GRADIENTS(x.dtype, (*integers, *sizes, *addresses(*arrays)), threads, threads)
    return of_matrix, of_bias


def matrix_gradients(
    basis: Basis, matrix: Tensor, activation_coeffs: Tensor | None, x: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of matrix and bias from that of the sum; arguments as of :func:`matrix_gradient_copies`."""
    _, width, total = size = size_of(matrix)
    copies, biases = matrix_gradient_copies(basis, size, activation_coeffs, x, grad)
    whole, bias = (copies[0], biases[0]) if len(copies) == 1 else (copies.sum(0), biases.sum(0))
    return whole[:, :width, :total].contiguous(), bias


def products(basis: Basis, matrix: Tensor, bias: Tensor, activation_coeffs: Tensor | None, x: Tensor) -> Tensor:
    """Features of x (rows, inputs) times the matrix, plus the bias: (rows, outputs); all tensors contiguous."""
    from qkan.kernels.spectral import numba_kernels as jit

    terms, width, total = size_of(matrix)
    packed = pack(matrix, terms * width, total)
    rows, out = len(x), x.new_empty(len(x), total)
    threads = threads_for(rows * terms * width * total, max(1, rows // jit.CHUNK))
    workspace = x.new_empty(threads, jit.CHUNK * (padded(total) + (2 * num_frequencies(basis) + 4) * width))
    arrays = (radius_of(basis.radius, x.dtype), workspace, x, bias, activation_coeffs, packed, out)
    sizes = (rows, total, 0, workspace.shape[1])
    integers = kernel_params(basis, activation_coeffs is not None, width)
    jit.PRODUCTS(x.dtype, (*integers, *sizes, *addresses(*arrays)), threads, threads)
    return out


def input_gradients(
    basis: Basis, matrix: Tensor, activation_coeffs: Tensor | None, x: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and of activation_coeffs from that of the sum; arguments as of :func:`matrix_gradients`."""
    from qkan.kernels.spectral import numba_kernels as jit

    weights, slopes = transposed_weights(basis, matrix, activation_coeffs)
    blocks, width, total = size_of(weights)
    packed = pack(weights.contiguous(), total, blocks * width, transposed=True)
    rows, columns = len(x), blocks * width
    threads = threads_for(rows * columns * total, max(1, rows // jit.CHUNK))
    dx = torch.zeros_like(x)
    of_coeffs = x.new_zeros(threads, 0 if activation_coeffs is None else activation_coeffs.numel())
    workspace = x.new_empty(threads, jit.CHUNK * (total + padded(columns) + (num_frequencies(basis) + 3) * width))
    arrays = (radius_of(basis.radius, x.dtype), workspace, slopes, packed, x, grad, dx, of_coeffs)
    sizes = (rows, total, columns, workspace.shape[1])
    integers = kernel_params(basis, activation_coeffs is not None, width)
    jit.INPUT_GRADIENTS(x.dtype, (*integers, *sizes, *addresses(*arrays)), threads, threads)
    return dx, None if activation_coeffs is None else of_coeffs.sum(0).view_as(activation_coeffs)
