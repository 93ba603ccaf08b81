"""Pre-activations shared by the outputs: exact features whose frequencies are sums of +-w_l.

Where every input has one w_l, b_l for all its circuits, each encoded angle a_l = w_l x + b_l is common to the column of
circuits behind that input, and phi is a trigonometric polynomial of degree one in every a_l. Its terms are

    cos and sin of s_1 a_1 + ... + s_R a_R   with s_l in {-1, 0, 1},

of which (3^R - 1) / 2 differ in more than their sign: a spectrum that grows exponentially with the repetitions. It
holds for x of any size, and a change of w or b moves the features, not the coefficients.

The coefficients are found by a trick of counting: with w_l = 3^l the sums s_l 3^l are all integers from -N to N, each
one once (balanced ternary numerals), so phi is an ordinary Fourier polynomial of degree N = (3^R - 1) / 2, and its
coefficients of frequency n belong to the signs that write n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.circuits.bloch.evaluate import LARGE_ANGLE
from qkan.kernels.common.constant_cache import constants
from qkan.kernels.common.host_sync import largest
from qkan.kernels.edges.activations import BASES

#: (3^5 - 1) / 2 = 121 pairs of features an input; more repetitions cost more than any other route.
MAX_REPS = 5


def frequencies(reps: int) -> int:
    """N = (3^R - 1) / 2: how many different frequencies above zero the circuit can have."""
    return (3**reps - 1) // 2


def _signs(reps: int) -> tuple[Tensor]:
    """(N, reps): the balanced ternary digits of 1 .. N, lowest first."""
    rows = []
    for number in range(1, frequencies(reps) + 1):
        digits = []
        for _ in range(reps):
            digit = (number + 1) % 3 - 1
            digits.append(float(digit))
            number = (number - digit) // 3
        rows.append(digits)
    return (torch.tensor(rows, dtype=torch.float64, device="cpu"),)


@dataclass(frozen=True)
class SumExpansion:
    """A layer with pre-activations per input, frozen into features and a matrix.

    Attributes:
        weight, bias: pre-activations (inputs, reps).
        matrix: (2 N, inputs, outputs), cosines before sines.
        constant: (inputs, outputs).
    """

    weight: Tensor
    bias: Tensor
    matrix: Tensor
    constant: Tensor

    def frequencies(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Frequencies and phases (N, inputs), the sums of weights and of biases."""
        (signs,) = constants(_signs, self.weight.shape[-1], self.weight)
        dtype = self.weight.dtype if dtype is None else dtype
        return signs.to(dtype) @ self.weight.to(dtype).t(), signs.to(dtype) @ self.bias.to(dtype).t()

    def features(self, x: Tensor) -> Tensor:
        """cos and sin of every sum of angles: (..., inputs) to (..., 2 N, inputs)."""
        # Sums of rounded products would lose the digits of large angles.
        exact = self.weight.dtype == torch.float32 and x.device.type != "mps"
        exact = exact and (largest(x) or 0.0) * (largest(self.weight) or 0.0) > LARGE_ANGLE
        dtype = torch.float64 if exact else self.weight.dtype
        speeds, shifts = self.frequencies(dtype)
        angles = x.to(dtype).unsqueeze(-2) * speeds + shifts
        if exact:
            angles = angles.remainder(2 * math.pi).to(self.weight.dtype)
        return torch.cat((angles.cos(), angles.sin()), -2)

    def prepared(
        self,
        base: tuple[str, Tensor] | None = None,
        offset: Tensor | None = None,
        matmul_dtype: torch.dtype | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """As of :class:`qkan.kernels.spectral.coefficients.Expansion`."""
        matrix, constant = self.matrix.flatten(0, 1), self.constant.sum(0)
        constant = constant if offset is None else constant + offset

        def run(x: Tensor) -> Tensor:
            features = self.features(x).flatten(-2)
            y = (
                features @ matrix
                if matmul_dtype is None
                else (features.to(matmul_dtype) @ matrix.to(matmul_dtype)).to(x.dtype)
            )
            if base is not None:
                y = y + F.linear(BASES[base[0]][0](x), base[1])
            return y + constant

        return run

    def activation(self, x: Tensor) -> Tensor:
        """As of :class:`qkan.kernels.spectral.coefficients.Expansion`."""
        return (self.features(x) * self.matrix.squeeze(-1)).sum(-2) + self.constant.squeeze(-1)

    def edges(self, x: Tensor) -> Tensor:
        """As of :class:`qkan.kernels.spectral.coefficients.Expansion`."""
        return torch.einsum("...ti,tio->...oi", self.features(x), self.matrix) + self.constant.t()
