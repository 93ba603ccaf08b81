"""Points at which circuits run, and the matrices from values there to coefficients, in double precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qkan.kernels.common.constant_cache import counted


def fourier_rule(reps: int) -> tuple[Tensor, Tensor]:
    """Angles (points,) and the matrix (2 reps + 1, points) from values there to a_0, a_1..a_R, b_1..b_R."""
    points = 2 * reps + 1
    # Equidistant up to single precision, then taken as they are: an angle rounded later would err by R times as much.
    angles = (2 * math.pi * (counted(0, points) - reps) / points).float().double()
    waves = counted(1, reps + 1) * angles.unsqueeze(-1)
    synthesis = torch.cat((torch.ones_like(angles).unsqueeze(-1), waves.cos(), waves.sin()), -1)
    return angles, torch.linalg.inv(synthesis)


def _chebyshev_angles(terms: int) -> Tensor:
    return math.pi * (counted(0, terms) + 0.5) / terms


def chebyshev_nodes(terms: int) -> tuple[Tensor]:
    """Nodes (terms,) in [-1, 1]."""
    return (torch.cos(_chebyshev_angles(terms)),)


def chebyshev_rule(terms: int) -> tuple[Tensor]:
    """The matrix (terms, terms) from values at the nodes to coefficients."""
    analysis = torch.cos(counted(0, terms).unsqueeze(-1) * _chebyshev_angles(terms)) * (2 / terms)
    analysis[0] /= 2
    return (analysis,)
