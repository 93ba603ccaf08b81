"""Sums of features on the CPU in Numba kernels, and what all kernels of features share.

A thread makes the features of some rows, multiplies them with the matrix in the tiles of
:mod:`qkan.kernels.numba_tiles` and forgets them. The backward pass makes them again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from qkan.kernels.features import Basis
from qkan.kernels.threads import run_shards

#: Fewer multiply-adds than this are not worth waking another thread.
SHARD_WORK = 2**19
#: Rows of a tile; columns are at most so many.
ROWS, COLUMNS = 4, 32


def padded(size: int, unit: int = COLUMNS) -> int:
    """The smallest multiple of ``unit`` that is at least ``size``."""
    return (size + unit - 1) // unit * unit


def flat(tensor: Tensor | None, like: Tensor) -> Any:
    """The memory of a contiguous tensor as a flat NumPy array, an empty one for None."""
    if tensor is None:
        return _nothing(like.dtype)
    return tensor.detach().numpy().reshape(-1)


@lru_cache(maxsize=4)
def _nothing(dtype: torch.dtype) -> Any:
    return torch.empty(0, dtype=dtype, device="cpu").numpy()


def threads_for(work: int, most: int) -> int:
    """How many threads so many multiply-adds deserve, up to ``most``."""
    return max(1, min(torch.get_num_threads(), most, work // SHARD_WORK))


@lru_cache(maxsize=256)
def radius_of(basis: Basis, dtype: torch.dtype) -> Any:
    """The radius as a NumPy number of that dtype."""
    return torch.tensor(basis.radius, dtype=dtype, device="cpu").numpy()[()]


@lru_cache(maxsize=256)
def integers(basis: Basis, shaped: bool, width: int, *others: int) -> Any:
    """The array ``how`` of the kernels."""
    from qkan.kernels import features_numba_jit as jit

    bases = {None: jit.NONE, "silu": jit.SILU, "gelu": jit.GELU, "relu": jit.RELU, "tanh": jit.TANH}
    kind = jit.FOURIER if basis.kind == "fourier" else jit.CHEBYSHEV
    base = bases.get(basis.base, jit.IDENTITY)
    return torch.tensor([kind, basis.size, base, shaped, width, *others], dtype=torch.int64, device="cpu").numpy()


def waves_of(basis: Basis) -> int:
    """Waves of a basis, without the base activation."""
    return basis.terms - (basis.base is not None)


def turned(basis: Basis, matrix: Tensor, shape: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """What pulls gradients back to the inputs.

    Args:
        basis, matrix, shape: as in :class:`qkan.kernels.recurrence_types.Operands`.

    Returns:
        the matrix (blocks, inputs, outputs): with a shape the matrix itself, else weights of the constant function
        (Chebyshev only), of the waves and of the base activation's derivative; and with a shape the weights (waves + 1,
        inputs) of the activations' slopes, the constant first.
    """
    if shape is None:
        slopes, constant = basis.differentiate(matrix)
        return (slopes if constant is None else torch.cat((constant.unsqueeze(0), slopes))), None
    slopes, constant = replace(basis, base=None).differentiate(shape[1:])
    constant = torch.zeros_like(shape[0]) if constant is None else constant
    return matrix, torch.cat((constant.unsqueeze(0), slopes))


def matrix_gradients(
    basis: Basis, matrix: Tensor, shape: Tensor | None, x: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of matrix and bias from that of the sum.

    Args:
        basis, matrix, shape: as in :class:`qkan.kernels.recurrence_types.Operands`.
        x, grad: (rows, inputs) and (rows, outputs), contiguous.
    """
    from qkan.kernels import features_numba_jit as jit

    planes, width, total = matrix.shape
    how = integers(basis, shape is not None, width)
    rows, high, stride = len(x), padded(width, ROWS), padded(total, jit.COLUMNS)
    threads = threads_for(rows * planes * width * total, max(1, (rows + jit.CHUNK - 1) // jit.CHUNK))
    of_matrix = x.new_zeros(threads, planes, high, stride)
    of_bias = x.new_zeros(threads, total)
    rooms = x.new_zeros(threads, jit.CHUNK * (stride + (waves_of(basis) + 4) * high)).numpy()
    given = (total, flat(shape, x), flat(x, x), flat(grad, x))
    matrices, biases = of_matrix.view(threads, -1).numpy(), of_bias.numpy()

    def share(number: int) -> None:
        ends = rows * number // threads, rows * (number + 1) // threads
        results = (matrices[number], biases[number], rooms[number])
        jit.feature_gradients(how, radius_of(basis, x.dtype), *ends, *given, *results)

    run_shards(share, threads)
    whole = of_matrix[0] if threads == 1 else of_matrix.sum(0)
    return whole[:, :width, :total].contiguous(), of_bias[0] if threads == 1 else of_bias.sum(0)


def products(basis: Basis, matrix: Tensor, bias: Tensor, shape: Tensor | None, x: Tensor) -> Tensor:
    """Features of x (rows, inputs), contiguous, times the matrix, plus the bias: (rows, outputs)."""
    from qkan.kernels import features_numba_jit as jit

    planes, width, total = matrix.shape
    how, rows = integers(basis, shape is not None, width), len(x)
    packed = x.new_empty(planes * width * padded(total)).numpy()
    jit.pack_matrix(flat(matrix, x), planes * width, total, False, packed)
    out = x.new_empty(rows, total)
    threads = threads_for(rows * planes * width * total, max(1, rows // jit.CHUNK))
    rooms = x.new_zeros(threads, jit.CHUNK * (padded(total) + (waves_of(basis) + 3) * width)).numpy()
    given = (total, flat(x, x), flat(bias, x), flat(shape, x), packed, flat(out, x))

    def share(number: int) -> None:
        ends = rows * number // threads, rows * (number + 1) // threads
        jit.products(how, radius_of(basis, x.dtype), *ends, *given, rooms[number])

    run_shards(share, threads)
    return out


def input_gradients(
    basis: Basis, matrix: Tensor, shape: Tensor | None, x: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and of the shape from that of the sum; arguments as of :func:`matrix_gradients`."""
    from qkan.kernels import features_numba_jit as jit

    pulling, slopes = turned(basis, matrix, shape)
    total, rows, width = matrix.shape[2], len(x), matrix.shape[1]
    columns = pulling.shape[0] * width
    how = integers(basis, shape is not None, width)
    packed = x.new_empty(total * padded(columns)).numpy()
    jit.pack_matrix(flat(pulling.contiguous(), x), total, columns, True, packed)
    threads = threads_for(rows * columns * total, max(1, rows // jit.CHUNK))
    dx = torch.zeros_like(x)
    of_shape = x.new_zeros(threads, 0 if shape is None else shape.numel())
    rooms = x.new_zeros(threads, jit.CHUNK * (total + padded(columns) + (waves_of(basis) + 3) * width)).numpy()
    given = (total, columns, flat(slopes, x), packed, flat(x, x), flat(grad, x), flat(dx, x))
    shapes = of_shape.numpy()

    def share(number: int) -> None:
        ends = rows * number // threads, rows * (number + 1) // threads
        jit.input_gradients(how, radius_of(basis, x.dtype), *ends, *given, shapes[number], rooms[number])

    run_shards(share, threads)
    return dx, None if shape is None else of_shape.sum(0).view_as(shape)
