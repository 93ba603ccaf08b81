"""What the engines of :mod:`qkan.kernels.recurrence` share: the kind of cell, its weights, what a pass keeps and gives."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.features import Basis

#: Gates by cell: lstm i, f, g, o; gru r, z, n.
GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Spec:
    """Which recurrence.

    Attributes:
        cell: ``"lstm"`` or ``"gru"``.
        basis: the features of the hidden state, or of the latent. Fourier of size 0 with base ``"identity"`` is the
            affine map of a classical cell.
        low: bfloat16 or float16 to round features and matrix to for the product, or None.
    """

    cell: Literal["lstm", "gru"]
    basis: Basis
    low: torch.dtype | None = None


@dataclass(frozen=True)
class Layout:
    """Where the rows of the time steps lie: one step after the other, longer sequences first.

    Attributes:
        sizes: rows of every time step, never growing; the first is the batch size.
        reverse: whether time runs from the last step to the first.
    """

    sizes: tuple[int, ...]
    reverse: bool = False

    @property
    def offsets(self) -> list[int]:
        """The first row of every step, and the number of rows at the end."""
        return [0, *accumulate(self.sizes)]

    @property
    def order(self) -> range:
        """Steps in the order of time."""
        steps = len(self.sizes)
        return range(steps - 1, -1, -1) if self.reverse else range(steps)


class Weights(NamedTuple):
    """Parameters of a recurrence.

    Attributes:
        matrix: (terms, Z, G), from features to gates.
        bias: (G,), added to the features' part.
        encoder: (Z, P), from the hidden state to the latent, or None where features are taken of the hidden state.
        projection: (P, H), or None where the hidden state is the cell's output itself.
    """

    matrix: Tensor
    bias: Tensor
    encoder: Tensor | None = None
    projection: Tensor | None = None


class Tape(NamedTuple):
    """What a forward pass keeps for the backward pass.

    Attributes:
        z: (rows, Z), what the features were taken of.
        gates: (rows, G) behind their activations.
        carry: (rows, H), for lstm c in front of the step, for gru the features' part of the third gate.
    """

    z: Tensor
    gates: Tensor
    carry: Tensor


class Pulled(NamedTuple):
    """What a backward pass through time gives.

    Attributes:
        inner: (rows, G), the gradient of the features' part of the gates.
        steps: (rows, G), or (rows, Z) with an encoder: the gradient of what the inputs contribute.
        hidden: (rows, P), the gradient of the hidden state of every step; None without a projection.
        h_0, c_0: gradients of the initial states; no c_0 for gru.
    """

    inner: Tensor
    steps: Tensor
    hidden: Tensor | None
    h_0: Tensor
    c_0: Tensor | None
