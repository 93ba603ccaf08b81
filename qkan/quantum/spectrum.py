"""The exact Fourier spectrum of a circuit: phi(x) = sum_k c_k exp(i omega_k x).

An encoding rotation by w x + b adds -w, 0 or w to every frequency, so R of them reach up to 3^R frequencies, all sums
of 0 and +-w_l: (3^R + 1) / 2 that are not negative where the w_l are trained, R + 1 where they are equal
(arXiv 2509.14026; Schuld et al., arXiv 2008.08605).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkan._util.files import save_figure
from qkan.kernels.circuits.ansatz import GATES, Ansatz

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: More frequencies than these (twelve repetitions with trained pre-activations) are refused.
MAX_FREQUENCIES = 3**12
_EQUAL = 1e-12  # frequencies as close as this, relative to the largest, are one
_NOTHING = 1e-15  # coefficients below are rounding


@dataclass(frozen=True)
class Spectrum:
    """A real function as a sum of waves.

    Attributes:
        frequencies: (K,) float64, ascending and symmetric about 0, in radians per unit of x.
        coefficients: (K,) complex128; that of -omega is the conjugate of that of omega.
    """

    frequencies: Tensor
    coefficients: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The function at ``x``, any shape; float64."""
        waves = torch.exp(1j * x.double().unsqueeze(-1) * self.frequencies)
        return (waves * self.coefficients).sum(-1).real

    def distinct(self, threshold: float = 1e-9) -> int:
        """How many frequencies >= 0 have a coefficient with a modulus above ``threshold``."""
        return int(((self.frequencies >= 0) & (self.coefficients.abs() > threshold)).sum())

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the moduli of the coefficients over the frequencies >= 0, and save the plot if a path is given."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.0, 3.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        shown = self.frequencies >= 0
        frequencies, moduli = self.frequencies[shown].numpy(), self.coefficients[shown].abs().numpy()
        axes.vlines(frequencies, 0, moduli, color="#0072b2")
        axes.plot(frequencies, moduli, "o", color="#0072b2", ms=3)
        axes.set(xlabel="frequency (radians per unit of x)", ylabel="|coefficient|")
        axes.set_title(f"{self.distinct()} frequencies")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if path is not None:
            save_figure(figure, path)
        return figure


def spectrum_of(ansatz: Ansatz, reps: int, theta: Tensor, weight: Tensor | None, bias: Tensor | None) -> Spectrum:
    """The spectrum of <Z> behind one circuit.

    Args:
        ansatz, reps: the circuit.
        theta: (rows, angles) in radians.
        weight, bias: (reps,), or None for weight 1 and bias 0.

    Raises:
        ValueError: an ansatz that encodes acos(x), or more than :data:`MAX_FREQUENCIES` frequencies.
    """
    if ansatz.encoding_map != "identity":
        raise ValueError(
            f"ansatz {ansatz.name!r} encodes acos(w x + b), so its circuit is no sum of waves in x; "
            "use an ansatz that encodes w x + b itself"
        )
    theta = theta.detach().cpu().double()
    weights = torch.ones(reps, dtype=torch.float64) if weight is None else weight.detach().cpu().double()
    biases = torch.zeros(reps, dtype=torch.float64) if bias is None else bias.detach().cpu().double()
    frequencies = torch.zeros(1, dtype=torch.float64)
    vectors = torch.tensor([ansatz.initial], dtype=torch.complex128)
    reach = 1 + float(weights.abs().sum())
    for gate, entry, encoding in ansatz.gates(reps):
        still, turning, crossing = (part.to(torch.complex128) for part in bloch_parts(GATES[gate].axis))
        if not GATES[gate].rotates:
            vectors = vectors @ (still - turning).T
        elif encoding is None:
            angle = theta[entry]
            vectors = vectors @ (still + torch.cos(angle) * turning + torch.sin(angle) * crossing).T
        else:
            if 3 * len(frequencies) > MAX_FREQUENCIES:
                raise ValueError(
                    f"{reps} repetitions with trained pre-activations have more than {MAX_FREQUENCIES:,} frequencies; "
                    "use at most 12"
                )
            forward = (turning - 1j * crossing) / 2 * torch.exp(1j * biases[encoding])
            backward = (turning + 1j * crossing) / 2 * torch.exp(-1j * biases[encoding])
            shift = weights[encoding]
            frequencies = torch.cat([frequencies - shift, frequencies, frequencies + shift])
            vectors = torch.cat([vectors @ backward.T, vectors @ still.T, vectors @ forward.T])
            frequencies, vectors = _merged(frequencies, vectors, _EQUAL * reach)
    kept = vectors[:, 2].abs() > _NOTHING
    return Spectrum(frequencies[kept], vectors[kept, 2])


def bloch_parts(axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a rotation of the Bloch vector about an axis is made of: by t it is S + cos(t) C + sin(t) N.

    Returns S, C and N, (3, 3) float64. A Pauli gate, half a turn, is S - C.
    """
    still = torch.zeros(3, 3, dtype=torch.float64)
    still[axis, axis] = 1
    crossing = torch.zeros(3, 3, dtype=torch.float64)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    crossing[second, first], crossing[first, second] = 1, -1
    return still, torch.eye(3, dtype=torch.float64) - still, crossing


def _merged(frequencies: Tensor, vectors: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Add up what has equal frequencies, ascending, and leave out what is zero."""
    frequencies, order = frequencies.sort()
    first = torch.ones(len(frequencies), dtype=torch.bool)
    first[1:] = frequencies.diff() > tolerance
    merged = torch.zeros(int(first.sum()), 3, dtype=torch.complex128)
    merged.index_add_(0, first.cumsum(0) - 1, vectors[order])
    kept = merged.abs().amax(-1) > _NOTHING
    return frequencies[first][kept], merged[kept]
