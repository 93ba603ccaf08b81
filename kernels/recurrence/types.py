"""What the engines of :mod:`qkan.kernels.recurrence.api` share: kinds of cells, weights, what a pass keeps and gives.

A recurrence walks over time with a hidden state h. Its *features* F are taken of z, which is h itself or, where there
is an encoder, a latent; a matrix M turns them into what the state contributes to the gates:

    z_t = h_(t-1)    or    z_t = s_t + E h_(t-1),
    a_t = b + sum_(k,i) F_k(z_ti) M_kio,        h_t, c_t = cell(s_t, a_t, h_(t-1), c_(t-1)),

with s_t what the inputs of the step contribute: to the gates, or to the latent. Where every z_i has an activation of
its own that all gates share, u_i(z_i) = W_0i + sum_k W_ki B_k(z_i) for the functions B_k, the features are those
activations: one term instead of one per function. One skeleton so serves circuits per edge, circuits per input, the
JHCG bottleneck and, with the identity as only feature, the classical cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from qkan.kernels.spectral.basis import Basis

#: Tensors, None for those that are not there. Engines are asked about the steps and the fields of :class:`Weights`.
Tensors = Sequence[Any]
#: Gates by cell: lstm i, f, g, o; gru r, z, n.
GATES = {"lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Spec:
    """Which recurrence.

    Attributes:
        cell: ``"lstm"`` or ``"gru"``.
        basis: the features of z. Fourier of size 0 with base ``"identity"`` is the affine map of a classical cell.
        matmul_dtype: bfloat16 or float16 to round features and matrix to for the product, or None.
        inputs: I, how many of z are the inputs x_t themselves: z_t = [x_t, h_(t-1)], steps are the x_t and contribute
            nothing else. For an lstm without encoder; 0 elsewhere.
    """

    cell: Literal["lstm", "gru"]
    basis: Basis
    matmul_dtype: torch.dtype | None = None
    inputs: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the rows of the time steps lie: one step after the other, longer sequences first.

    Attributes:
        sizes: rows of every time step, never growing; the first is at most the batch size of the states.
        reverse: whether time runs from the last step to the first.
    """

    sizes: tuple[int, ...]
    reverse: bool = False

    @cached_property
    def offsets(self) -> list[int]:
        """The first row of every step, and the number of rows at the end."""
        return [0, *accumulate(self.sizes)]

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Sizes and offsets as tensors of 64-bit integers on the CPU.

        Raises:
            ValueError: sizes that grow or are negative, by which kernels would find rows of others.
        """
        if any(later > size for size, later in pairwise(self.sizes)) or min(self.sizes, default=0) < 0:
            raise ValueError(f"rows per time step must not grow and be 0 or more, got {self.sizes[:6]}")
        return torch.tensor(self.sizes, device="cpu"), torch.tensor(self.offsets, device="cpu")

    @property
    def order(self) -> range:
        """Steps in the order of time."""
        steps = len(self.sizes)
        return range(steps - 1, -1, -1) if self.reverse else range(steps)

    def previous(self, outputs: Tensor, h_0: Tensor) -> Tensor:
        """h in front of every step, laid out as the rows, from h behind every step and the initial states."""
        sizes, offsets = self.sizes, self.offsets
        if not self.reverse:
            before = [outputs[offsets[t] : offsets[t] + sizes[t + 1]] for t in range(len(sizes) - 1)]
            if sizes[0] == sizes[-1]:  # one copy, not one a step
                before = [outputs[: offsets[-2]]]
            return torch.cat([h_0[: sizes[0]], *before])
        if sizes[0] == sizes[-1]:
            return torch.cat([outputs[sizes[0] :], h_0[: sizes[0]]])
        parts = []
        for t, size in enumerate(sizes):
            later = sizes[t + 1] if t + 1 < len(sizes) else 0
            parts += [outputs[offsets[t + 1] : offsets[t + 1] + later], h_0[later:size]]
        return torch.cat(parts)


#: A layout of these sizes, made once: eager code asks for the same one at every call.
layout_of = lru_cache(maxsize=256)(Layout)


class Weights(NamedTuple):
    """Parameters of a recurrence.

    Attributes:
        matrix: (terms, Z, G), from features to gates. Its terms are ``basis.terms``; with ``activation_coeffs`` the
            one activation and, if the basis has one, the base activation.
        bias: (G,), added to the features' part.
        activation_coeffs: (functions + 1, Z), W_0 and the W_k of the activations, or None where basis functions are the
            features.
        encoder: (Z, P), from the hidden state to the latent, or None where features are taken of the hidden state.
        projection: (P, H), or None where the hidden state is the cell's output itself.
    """

    matrix: Tensor
    bias: Tensor
    activation_coeffs: Tensor | None = None
    encoder: Tensor | None = None
    projection: Tensor | None = None


class Tape(NamedTuple):
    """What a forward pass keeps for the backward pass, besides its outputs.

    Attributes:
        gates: (rows, G) behind their activations.
        carry: (rows, H), for lstm c in front of the step, for gru the features' part of the third gate.
        latent: (rows, Z), what the features were taken of, where there is an encoder or z holds the inputs; else None:
            then it is h in front of the step.
    """

    gates: Tensor
    carry: Tensor
    latent: Tensor | None

    def units(self) -> Tensor:
        """o tanh(c') behind every step of an lstm, (rows, H): what a projection multiplies."""
        i, f, g, o = self.gates.chunk(4, -1)
        return o * torch.tanh(f * self.carry + i * g)


class ForwardResult(NamedTuple):
    """What a forward pass gives.

    Attributes:
        outputs: (rows, P), h behind every step.
        h_n, c_n: the states of every sequence at its end, of the shapes of the initial ones; no c_n for gru.
        tape: None where none was asked for.
    """

    outputs: Tensor
    h_n: Tensor
    c_n: Tensor | None
    tape: Tape | None


class RecurrenceGradients(NamedTuple):
    """What a backward pass through time gives.

    Attributes:
        inner: (rows, G), the gradient of the features' part of the gates.
        steps: (rows, G), or (rows, Z) with an encoder: the gradient of what the inputs contribute; (rows, I) where z
            holds the inputs. For an lstm with neither it is ``inner`` itself.
        hidden: (rows, P), the gradient of the hidden state of every step; None without a projection.
        h_0, c_0: gradients of the initial states; no c_0 for gru.
        activation_coeffs: the gradient of those of the weights, where the engine forms it on the way; else None.
    """

    inner: Tensor
    steps: Tensor
    hidden: Tensor | None
    h_0: Tensor
    c_0: Tensor | None
    activation_coeffs: Tensor | None = None


class Engine(NamedTuple):
    """A way to run recurrences.

    Attributes:
        name: what users call it.
        unsupported_reason: (spec, tensors) to None if it can run them, else the reason in words; tensors are the
            steps and the fields of :class:`Weights`.
        forward: (spec, layout, steps, weights, h_0, c_0, keep) to :class:`ForwardResult`; ``keep`` asks for a tape.
        backward: (spec, layout, weights, tape, z, grad_outputs, grad_h, grad_c) to :class:`RecurrenceGradients`, with z
            the tape's latent or what :meth:`Layout.previous` gives.
        features: (spec, weights, z, inner) to the gradients of matrix and bias from :attr:`RecurrenceGradients.inner`;
            None leaves them to products in PyTorch.
        takes_inputs: whether it knows :attr:`Spec.inputs`.
        prepare: (spec, layout, weights, device), called while a compiler traces: puts on the device what a run would
            put there, which CUDA graphs that the compiler captures could not keep; None if there is nothing.
    """

    name: str
    unsupported_reason: Callable[[Spec, Tensors], str | None]
    forward: Callable[[Spec, Layout, Tensor, Weights, Tensor, Tensor | None, bool], ForwardResult]
    backward: Callable[[Spec, Layout, Weights, Tape, Tensor, Tensor, Tensor, Tensor | None], RecurrenceGradients]
    features: Callable[[Spec, Weights, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    takes_inputs: bool = False
    prepare: Callable[[Spec, Layout, Weights, torch.device], None] | None = None
