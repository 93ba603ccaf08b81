"""A layer as features and a matrix: what layers give recurrences and fused products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qkan.kernels.common.tensors import has_memory
from qkan.kernels.spectral.basis import Basis


class Operands(NamedTuple):
    """A map from z to gates as features and a matrix: what a layer of circuits gives a recurrence.

    Attributes:
        basis: the features.
        matrix: (terms, Z, G), from features to gates. Its terms are ``basis.terms``; with ``activation_coeffs`` the
            one activation and, if the basis has one, the base activation.
        bias: (G,), added to the features' part.
        activation_coeffs: (functions + 1, Z), W_0 and the W_k of the activations, or None where basis functions are the
            features.
    """

    basis: Basis
    matrix: Tensor
    bias: Tensor
    activation_coeffs: Tensor | None = None

    def concat_inputs(self, other: Operands, offset: Tensor | None) -> Operands:
        """One map of the inputs of both, which have the same basis and either both activations or none."""
        coeffs = None
        if self.activation_coeffs is not None and other.activation_coeffs is not None:
            coeffs = torch.cat((self.activation_coeffs, other.activation_coeffs), 1)
        bias = self.bias + other.bias
        matrix = torch.cat((self.matrix, other.matrix), 1)
        return Operands(self.basis, matrix, bias if offset is None else bias + offset, coeffs)

    def then(self, weight: Tensor, bias: Tensor | None) -> Operands:
        """Followed by an affine map, ``weight`` (O, G) and ``bias`` (O,)."""
        if bias is not None and not torch.compiler.is_compiling():
            has_memory(bias)  # addmv would crash
        offset = self.bias @ weight.mT if bias is None else torch.addmv(bias, weight, self.bias)
        return self._replace(matrix=self.matrix @ weight.mT, bias=offset)
