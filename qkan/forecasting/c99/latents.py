"""Latents without circuits as C: linear maps, tanh, sums of fixed functions, rational functions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from qkan.forecasting.c99.layers import affine_part, block, numpy_of
from qkan.forecasting.c99.source import Source, number
from qkan.forecasting.io.files import RunError
from qkan.layers.kan_layer import KANLayer
from qkan.layers.rational import GRKAN, GroupRational


def latent_lines(source: Source, latent: nn.Module, width: int, z: str) -> tuple[str, ...]:
    """Statements that put what a latent without circuits says of ``z`` (width,) in its place.

    Raises:
        RunError: it is none that can be written.
    """
    if isinstance(latent, nn.Identity):
        return ()
    if isinstance(latent, nn.Tanh):
        return (f"for (int i = 0; i < {width}; i++) {z}[i] = tanhf({z}[i]);",)
    if isinstance(latent, nn.Linear):
        part = affine_part(source, latent.weight, z, "y", "latent", unit=False)
        outputs = latent.out_features
        return block([*_start(source, "y", latent.bias, outputs), *part.lines, *_moved(source, outputs, z)])
    if isinstance(latent, nn.Sequential):
        return _of_sequence(source, list(latent), z)
    if isinstance(latent, KANLayer) and isinstance(latent.basis, str):
        return _of_kan_layer(source, latent, z)
    if isinstance(latent, GroupRational):
        return _of_rational(source, latent, z)
    if isinstance(latent, GRKAN):
        lines: list[str] = []
        for module in (latent.act1, latent.fc1, latent.act2, latent.fc2):
            lines += latent_lines(source, module, width, z)
        return tuple(lines)
    raise RunError(f"a latent of {type(latent).__name__} cannot be exported to C; export the run to ONNX")


def _of_sequence(source: Source, modules: list[nn.Module], z: str) -> tuple[str, ...]:
    """A linear map, an activation and a linear map."""
    first, activation, last = modules
    if not (isinstance(first, nn.Linear) and isinstance(activation, nn.Tanh) and isinstance(last, nn.Linear)):
        raise RunError("a latent of these modules cannot be exported to C; export the run to ONNX")
    hidden, width = first.out_features, last.out_features
    lines = [
        *_start(source, "u", first.bias, hidden),
        *affine_part(source, first.weight, z, "u", "latent, first map", unit=False).lines,
        f"for (int i = 0; i < {hidden}; i++) u[i] = tanhf(u[i]);",
        *_start(source, "y", last.bias, width),
        *affine_part(source, last.weight, "u", "y", "latent, second map", unit=True).lines,
        *_moved(source, width, z),
    ]
    return block(lines)


def _start(source: Source, name: str, bias: Tensor | None, size: int) -> list[str]:
    """An array that begins with a bias."""
    if bias is None:
        return [f"float {name}[{size}] = {{0.0f}};"]
    source.use("copy")
    table = source.table(numpy_of(bias), "bias")
    return [f"float {name}[{size}];", f"qkan_copy({table}, {size}, {name});"]


def _moved(source: Source, size: int, z: str) -> list[str]:
    source.use("copy")
    return [f"qkan_copy(y, {size}, {z});"]


#: Kinds of functions that C code computes.
_KNOWN = ("fourier", "rff", "bspline", "tanh-chebyshev")


def _of_kan_layer(source: Source, layer: KANLayer, z: str) -> tuple[str, ...]:
    operands = layer.operands()
    known = ("fourier", "rff", "bspline", "tanh-chebyshev")
    if (
        isinstance(operands, str)
        or operands.basis.base is not None
        or operands.basis.kind not in known
        or not operands.basis.named
    ):
        raise RunError("this latent cannot be exported to C; export the run to ONNX")
    basis, inputs = operands.basis, layer.in_features
    matrix = numpy_of(operands.matrix)  # (terms, inputs, outputs)
    terms, outputs = matrix.shape[0], matrix.shape[2]
    size, radius = basis.size, number(basis.radius)
    if basis.kind == "fourier":
        source.use("waves")
        functions = f"qkan_waves({z}, {inputs}, {size}, f);"
    elif basis.kind == "rff":
        source.use("drawn_waves")
        one = torch.ones((), dtype=torch.float64)
        plain = basis.plain
        slopes = None if plain is None else plain.differentiate(0 * one, size, basis.radius)[size:]
        drawn = source.table(np.zeros(size) if slopes is None else numpy_of(slopes), "frequencies of random waves")
        functions = f"qkan_drawn_waves({z}, {inputs}, {drawn}, {size}, f);"
    elif basis.kind == "bspline":
        source.use("splines")
        functions = f"qkan_splines({z}, {inputs}, {size}, {radius}, f);"
    else:
        source.use("chebyshev")
        functions = f"qkan_chebyshev({z}, {inputs}, {size}, {radius}, f);"
    flat = matrix.transpose(2, 0, 1).reshape(outputs, -1)
    part = affine_part(source, flat, "f", "y", f"latent: {layer.basis}, outputs by functions and inputs", unit=False)
    bias = None if layer.bias is None else layer.bias
    lines = [f"float f[{terms * inputs}];", functions, *_start(source, "y", bias, outputs), *part.lines]
    return block([*lines, *_moved(source, outputs, z)])


def _of_rational(source: Source, layer: GroupRational, z: str) -> tuple[str, ...]:
    groups, (m, n) = layer.num_groups, layer.spec.order
    above = np.broadcast_to(numpy_of(layer.numerator), (groups, m + 1))
    names = source.table(above, "latent: numerators"), source.table(numpy_of(layer.denominator), "latent: denominators")
    sums, width = int(layer.spec.denominator == "abs_sum"), layer.channels // groups
    source.use("rational")
    return (f"qkan_rational({names[0]}, {names[1]}, {m}, {n}, {sums}, {width}, {groups}, {z});",)
