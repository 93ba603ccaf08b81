"""Expansions on GPUs in Triton: coefficients in one kernel, features in another, products by the vendor's library.

A training step of a layer starts one kernel for coefficients and one for their gradients, one for features, one that
turns the gradient of features into that of x and leaves the features in its place, and three products. Products are
:func:`torch.mm`'s, so they follow PyTorch's switches. Features are made in float32 and written in the dtype that
products take.

Everything repeats bit for bit: a number is written by one program, in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.common import triton_device
from qkan.kernels.common.constant_cache import constants
from qkan.kernels.common.host_sync import plain_needed, transformed
from qkan.kernels.common.tensors import is_plain, piece_elements
from qkan.kernels.common.triton_device import Problem, device_problem, lanes, launching, register_bound, warn_once
from qkan.kernels.edges.families import scales
from qkan.kernels.spectral.basis import Basis, chebyshev_nodes, chebyshev_rule, fourier_rule

#: What is named where a kernel cannot be built.
FAMILY = "kernels of expansions"
#: Kernels are never interpreted but in tests, which say so here: nobody asks for them by name.
INTERPRETED = False
#: Most outputs of a program of coefficients, points that it evaluates at once, rows and inputs of a tile of features.
BLOCK_O, BLOCK_P, BLOCK_R, BLOCK_I = 32, 16, 16, 64
#: Samples of a tile of a small layer.
SMALL_ROWS = 32


def usable(*tensors: Tensor | None) -> bool:
    """Whether the kernels run on these tensors here and now; a machine that cannot build them is told of, once."""
    first = next(tensor for tensor in tensors if tensor is not None)
    if first.dtype != torch.float32 or not triton_device.runs_kernels(first.device):
        return False
    if first.device.type == "cpu" and not INTERPRETED:
        return False
    if torch.compiler.is_compiling() or plain_needed() or transformed() or not triton_device.triton_installed():
        return False
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.dtype != torch.float32 or tensor.device != first.device or not is_plain(tensor):
            return False
    problem = device_problem(first.device, FAMILY)
    if isinstance(problem, Problem):
        warn_once(problem)
    return problem is None


class Circuits(NamedTuple):
    """How circuits are evaluated and turned into coefficients.

    Attributes:
        kind, points, radius: ``"fourier"`` at so many angles, or ``"chebyshev"`` at so many nodes of [-radius, radius].
        ansatz, reps: the circuits.
    """

    kind: str
    points: int
    radius: float
    ansatz: Ansatz
    reps: int


@lru_cache(maxsize=64)
def _table(ansatz: Ansatz) -> Callable[[int], tuple[Tensor, ...]]:
    """A rule for the table of rotations by the number of repetitions: (rotations, 5), see ``_rotation`` on the device.

    Trained angles, and encodings, are counted in the order of gates, so those of a rotation follow one another.
    """

    def table(reps: int) -> tuple[Tensor, ...]:
        columns = ansatz.angles
        rows = []
        for step in ansatz.program(reps):
            thetas = [row * columns + column for row, column in step.thetas] or [0]
            encodings = list(step.encodings) or [0]
            rows.append([step.axis, thetas[0], len(step.thetas), encodings[0], len(step.encodings)])
        return (torch.tensor(rows, dtype=torch.float64, device="cpu").view(-1, 5),)

    return table


def _rule(points: int) -> tuple[Tensor, ...]:
    return fourier_rule(points // 2)


def _nodes(points: int) -> tuple[Tensor, ...]:
    return (*chebyshev_nodes(points), *chebyshev_rule(points))


def _program(circuits: Circuits, like: Tensor) -> tuple[Tensor, ...]:
    """Nodes and transform in double precision, and the table, on the device of ``like``."""
    wide, whole = like.new_empty(0, dtype=torch.float64), like.new_empty(0, dtype=torch.int32)
    nodes, analysis = constants(_rule if circuits.kind == "fourier" else _nodes, circuits.points, wide)
    return nodes, analysis, *constants(_table(circuits.ansatz), circuits.reps, whole)


def _arguments(circuits: Circuits, tensors: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]:
    """Pointers, sizes and constants that both kernels of coefficients share."""
    theta, *optional = tensors
    outputs, inputs = theta.shape[:2]
    nodes, analysis, table = _program(circuits, theta)
    pointers = (theta, *(theta if t is None else t for t in optional), nodes, analysis, table)
    strides = [stride for t in optional for stride in ((0, 0) if t is None else t.stride()[:2])]
    sizes = (inputs, outputs, circuits.points, len(table), theta.shape[2:].numel(), circuits.reps, *strides)
    block_p = min(BLOCK_P, max(4, 1 << (circuits.points - 1).bit_length()))
    given = dict(zip(("WEIGHTED", "BIASED", "MIXED"), (t is not None for t in optional), strict=True))
    block_o = min(BLOCK_O, 1 << (outputs - 1).bit_length())
    bound = register_bound(128, lanes(theta.device))
    return pointers, sizes, {**given, "BLOCK_P": block_p, "BLOCK_O": block_o, "num_warps": block_p // 4, **bound}


def _laid_out(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    """theta contiguous, repetitions of pre-activations side by side; edges may have any strides."""
    theta, weight, bias, edge_weight = tensors
    rows = (None if t is None else t if t.shape[2] == 1 or t.stride(2) == 1 else t.contiguous() for t in (weight, bias))
    return theta.contiguous(), *rows, edge_weight


def coefficients(circuits: Circuits, tensors: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Coefficients of the features (points - 1, inputs, outputs), and of the constant (inputs, outputs).

    Args:
        circuits: what they are.
        tensors: theta (outputs, inputs, rows, angles), weight and bias of pre-activations (outputs, inputs, reps) and
            weights of the sum (outputs, inputs), all but theta or None, in float32.
    """
    from qkan.kernels.spectral.triton_kernels import coefficients_kernel

    tensors = _laid_out(tensors)
    theta = tensors[0]
    outputs, inputs = theta.shape[:2]
    matrix, constant = theta.new_empty(circuits.points - 1, inputs, outputs), theta.new_empty(inputs, outputs)
    if constant.numel():
        pointers, sizes, options = _arguments(circuits, tensors)
        with launching(FAMILY, theta.device):
            coefficients_kernel[(inputs * -(-outputs // options["BLOCK_O"]),)](
                *pointers, matrix, constant, *sizes, float(circuits.radius), *circuits.ansatz.initial, **options
            )
    return matrix, constant


def coefficient_gradients(
    circuits: Circuits, tensors: tuple[Any, ...], of_matrix: Tensor, of_constant: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of the tensors of :func:`coefficients` from those of what it gives, which may have any strides."""
    from qkan.kernels.spectral.triton_kernels import coefficients_gradient_kernel

    theta, weight, bias, edge_weight = tensors = _laid_out(tensors)
    outputs, inputs = theta.shape[:2]
    steps = circuits.ansatz.program(circuits.reps)
    angles = theta.shape[2:].numel()
    used = sum(len(step.thetas) for step in steps), sum(len(step.encodings) for step in steps)
    # Angles behind the last rotation that is seen have no gradient.
    empty = theta.new_empty if used == (angles, circuits.reps) else theta.new_zeros
    of_theta = empty(theta.shape)
    of_weight, of_bias = (None if t is None else empty(outputs, inputs, circuits.reps) for t in (weight, bias))
    of_edge = None if edge_weight is None else empty(outputs, inputs)
    if of_constant.numel():
        pointers, sizes, options = _arguments(circuits, tensors)
        found = (of_theta, *(of_theta if t is None else t for t in (of_weight, of_bias, of_edge)))
        strides = (*of_matrix.stride(), *of_constant.stride())
        with launching(FAMILY, theta.device):
            coefficients_gradient_kernel[(inputs * -(-outputs // options["BLOCK_O"]),)](
                *pointers, of_matrix, of_constant, *found, *sizes, *strides, float(circuits.radius),
                *circuits.ansatz.initial, **options,
            )  # fmt: skip
    return of_theta, of_weight, of_bias, of_edge


def _features_arguments(basis: Basis, x: Tensor) -> tuple[tuple[Any, ...], tuple[int, int], dict[str, Any]]:
    """Sizes, grid and constants that both kernels of features share, or both of a family."""
    functions = basis.terms - (basis.base is not None)
    step, partner = (1, basis.size) if basis.kind == "fourier" else (2, 1)
    samples, inputs = x.shape
    block_i = min(BLOCK_I, 1 << (inputs - 1).bit_length())
    block_r = BLOCK_R * BLOCK_I // block_i
    grid, row = (-(-samples // block_r), -(-inputs // block_i)), (basis.terms * inputs, *x.stride())
    options = {"BASE": basis.base or "none", "BLOCK_R": block_r, "BLOCK_I": block_i, "num_warps": 4}
    if not basis.fused:
        places = scales(str(basis.kind), basis.order, basis.size, basis.radius)
        family = {"FAMILY": basis.kind, "ORDER": basis.order, "FACTORIAL": math.factorial(basis.order)}
        return (samples, inputs, functions, *row, *places), grid, family | options
    sizes = (samples, inputs, -(-functions // 2), functions, step, partner, *row)
    return (*sizes, float(basis.radius)), grid, {"KIND": basis.kind} | options


def features(basis: Basis, x: Tensor, out: Tensor) -> None:
    """Write all features of x (samples, inputs) to ``out`` (samples, terms, inputs), contiguous, in its dtype."""
    from qkan.kernels.edges.triton_kernels import family_features_kernel
    from qkan.kernels.spectral.triton_kernels import features_kernel

    if out.numel():
        sizes, grid, options = _features_arguments(basis, x)
        kernel = features_kernel if basis.fused else family_features_kernel
        with launching(FAMILY, x.device):
            kernel[grid](x, out, *sizes, **options)


def input_gradient(basis: Basis, x: Tensor, of_features: Tensor, grad_x: Tensor, *, writes: bool) -> None:
    """Write the gradient of x (samples, inputs) to ``grad_x``, contiguous, from that of its features.

    Args:
        basis, x: as of :func:`features`.
        of_features: the gradient of the features, laid out as they are.
        grad_x: where to.
        writes: whether features take the place of their gradients.
    """
    from qkan.kernels.edges.triton_kernels import family_input_gradient_kernel
    from qkan.kernels.spectral.triton_kernels import input_gradient_kernel

    if grad_x.numel():
        sizes, grid, options = _features_arguments(basis, x)
        kernel = input_gradient_kernel if basis.fused else family_input_gradient_kernel
        with launching(FAMILY, x.device):
            kernel[grid](x, of_features, grad_x, *sizes, WRITES=writes, **options)


def _pieces(x: Tensor, terms: int) -> list[slice]:
    """Rows of x whose features a device may hold at once."""
    samples, inputs = x.shape
    most = max(64, piece_elements(x.device) // max(1, inputs * terms) // 64 * 64)
    return [slice(first, min(first + most, samples)) for first in range(0, samples, most)]


def product(basis: Basis, x: Tensor, matrix: Tensor, constant: Tensor, matmul_dtype: torch.dtype | None) -> Tensor:
    """Features of x (samples, inputs) times ``matrix`` (terms, inputs, outputs), and ``constant`` (outputs,).

    With ``matmul_dtype`` features and matrix are rounded to it for the product.
    """
    flat, pieces, outputs = matrix.flatten(0, 1), _pieces(x, basis.terms), []
    flat = flat if matmul_dtype is None else flat.to(matmul_dtype)
    for rows in pieces:
        part = x[rows]
        made = part.new_empty(len(part), flat.shape[0], dtype=flat.dtype)
        features(basis, part, made)
        outputs.append(torch.addmm(constant, made, flat) if matmul_dtype is None else (made @ flat) + constant)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs) if outputs else x.new_empty(0, matrix.shape[2])


def product_gradients(
    basis: Basis,
    x: Tensor,
    matrix: Tensor,
    grad: Tensor,
    matmul_dtype: torch.dtype | None,
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of x and of the matrix of :func:`product` from that of what it gives; None where not needed.

    With M the matrix, the gradient of feature t of input i is sum_o dL/dy_o M_tio, and that of x_i the sum over t of it
    times F_t'(x_i): one product and one kernel, which knows the derivatives.
    """
    need_x, need_matrix = needs
    flat = matrix.flatten(0, 1)
    if matmul_dtype is not None:
        flat, grad = flat.to(matmul_dtype), grad.to(matmul_dtype)
    grad_x = x.new_empty(x.shape) if need_x else None
    total: Tensor | None = None
    for rows in _pieces(x, basis.terms):
        part = x[rows]
        if grad_x is not None:
            made = grad[rows] @ flat.mT
            input_gradient(basis, part, made, grad_x[rows], writes=need_matrix)
        else:
            made = part.new_empty(len(part), flat.shape[0], dtype=flat.dtype)
            features(basis, part, made)
        if need_matrix:
            share = made.mT @ grad[rows]
            # Pieces are added up in single precision, however products were rounded.
            total = share.to(matrix.dtype) if total is None else total.add_(share)
    if need_matrix:
        total = (matrix.new_zeros(flat.shape) if total is None else total).view(matrix.shape)
    return grad_x, total


def _small_arguments(
    basis: Basis, base: tuple[str, Tensor] | None, x: Tensor, outputs: int
) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Sizes, strides behind those of the first tensor, and constants that both kernels of small layers share."""
    step, partner = (1, basis.size) if basis.kind == "fourier" else (2, 1)
    sizes = (*x.shape, outputs, -(-basis.terms // 2), basis.terms, step, partner)
    strides = (*x.stride(), *((0, 0) if base is None else base[1].stride()))
    block_o = max(16, 1 << (outputs - 1).bit_length())
    options = {"KIND": basis.kind, "BASE": "none" if base is None else base[0], "BLOCK_O": block_o, "num_warps": 4}
    return sizes, strides, options | {"BLOCK_R": SMALL_ROWS}


def small_layer(
    basis: Basis, x: Tensor, matrix: Tensor, constant: Tensor, base: tuple[str, Tensor] | None, offset: Tensor | None
) -> Tensor:
    """A layer in one kernel: features of x times the matrix, the sum of ``constant`` over inputs, base and offset.

    Args:
        basis: the features, without a base.
        x: (samples, inputs).
        matrix: (terms, inputs, outputs), contiguous.
        constant: (inputs, outputs), contiguous.
        base: name and weights (outputs, inputs) of a base branch, or None.
        offset: (outputs,) or None.
    """
    from qkan.kernels.spectral.triton_kernels import small_forward_kernel

    outputs = matrix.shape[2]
    y = x.new_empty(len(x), outputs)
    sizes, strides, options = _small_arguments(basis, base, x, outputs)
    weight, added = x if base is None else base[1], x if offset is None else offset.contiguous()
    with launching(FAMILY, x.device):
        small_forward_kernel[(-(-len(x) // SMALL_ROWS),)](
            x, matrix, weight, constant, added, y, *sizes, *strides, float(basis.radius), HAS_OFFSET=offset is not None,
            **options,
        )  # fmt: skip
    return y


def small_layer_gradients(
    basis: Basis, x: Tensor, matrix: Tensor, base: tuple[str, Tensor] | None, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of x, matrix, the constant of every input (outputs,), and the base weights of :func:`small_layer`."""
    from qkan.kernels.spectral.triton_kernels import small_backward_kernel

    outputs = matrix.shape[2]
    grad_x, of_matrix, of_constant = x.new_empty(x.shape), x.new_empty(matrix.shape), x.new_empty(outputs)
    of_base = None if base is None else x.new_empty(base[1].shape)
    sizes, strides, options = _small_arguments(basis, base, x, outputs)
    weight, of_weight = (x, x) if base is None or of_base is None else (base[1], of_base)
    with launching(FAMILY, x.device):
        small_backward_kernel[(x.shape[1],)](
            grad, x, matrix, weight, grad_x, of_matrix, of_weight, of_constant, *sizes, *grad.stride(), *strides,
            float(basis.radius), **options,
        )  # fmt: skip
    return grad_x, of_matrix, of_constant, of_base
