r"""Layer extension: more repetitions of a circuit without changing its function (arXiv 2509.14026, layer extension).

A repetition is a block of gates G(theta) and an encoding E(x), a turn about the encoding axis; F(theta) are the final
gates, s the initial Bloch vector, and <Z> = z . F(theta_R) ... E(x) G(theta_0) s. Angles at 0 alone do not undo an
added E(x), and not every G is the identity at 0. But E(x) is invisible where the vector it turns, or the one it is read
by, lies on its axis. So one repetition can be added at

* the *end*, behind the last encoding: the old final row becomes the row of a block, and
  z . F(b) E(x) G(theta_R + d) = z . F(theta_R) for all x and theta_R. For ``pz`` and ``rpz`` b = d = 0: <Z> does not
  see a turn about z. For ``mix`` b = (0, +-pi/2) turns z to the encoding axis y, and d takes that back.
* the *start*: G(theta_0 + d) E(x) G(a) s = G(theta_0) s. For ``px`` a = d = 0, since s = H|0> lies on the axis x.
* either end with w = 0, where pre-activations are trained: E is the identity then (a quarter turn where acos(w x + b)
  is encoded), and training moves w away from 0. This is the way for ``real``, whose a = pi makes X, RY, Z the identity.

a, b and d are sought among multiples of pi/2 and checked at random angles, so that this holds for user-defined
ansätze as well. Where nothing is found the ansatz is refused. ``real`` at fixed pre-activations must be: its circuit is
sin(reps x + c), one frequency, and no sine of another frequency is equal to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self

from qkan.kernels.circuits.ansatz import GATES, Ansatz
from qkan.layers.frequencies import check_preact_init, start_weights
from qkan.layers.options import check_memory, config_of
from qkan.quantum.spectrum import bloch_parts

if TYPE_CHECKING:
    from qkan.layers.qkan_layer import QKANLayer

#: Random angles at which an identity must hold, and how well; a false one errs by about 1.
TRIALS = 8
TOLERANCE = 1e-12
#: More gates in a block than this are searched at angles of 0 only: 4^6 combinations are quick.
MAX_SEARCHED = 6


class Refinable:
    """What :class:`qkan.QKANLayer` inherits: what it was built with, and more repetitions."""

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build such a layer with other values: ``QKANLayer(**layer.config)``."""
        return config_of(self)

    def refine(self, reps: int) -> Self:
        """Extend every circuit to ``reps`` repetitions without changing its function: the layer itself, in place.

        How, and which ansätze allow it: :mod:`qkan.layers.extend_reps`. Parameters keep their names and requires_grad,
        but those
        of the circuits are new, larger tensors without gradients: build the optimizer after this.

        Raises:
            ValueError: no more repetitions than there are, or an ansatz whose added block always changes the function.
            TypeError: reps is not an int.
        """
        extend([self], reps)  # type: ignore[list-item]
        return self


class Extension(NamedTuple):
    """One added repetition.

    Attributes:
        at_start: whether it goes in front of all others; else behind the last encoding.
        row: angles of the added row of theta.
        shift: to add to the row that was there: the first at the start, the last at the end (() if there is none).
        weight: pre-activation weight of the added encoding; its bias is 0.
    """

    at_start: bool
    row: tuple[float, ...]
    shift: tuple[float, ...]
    weight: float


def _turn(axis: int, angle: Tensor) -> Tensor:
    """Rotations of Bloch vectors (..., 3, 3) by angles (...)."""
    still, turning, crossing = bloch_parts(axis)
    angle = angle[..., None, None]
    return still + angle.cos() * turning + angle.sin() * crossing


def _gates(gates: Sequence[str], angles: Tensor) -> Tensor:
    """All gates as one matrix (..., 3, 3); angles (..., trained gates)."""
    matrix, column = torch.eye(3, dtype=torch.float64).expand(*angles.shape[:-1], 3, 3), 0
    for gate in gates:
        axis = GATES[gate].axis
        if GATES[gate].rotates:
            turn, column = _turn(axis, angles[..., column]), column + 1
        else:
            still, turning, _ = bloch_parts(axis)
            turn = still - turning
        matrix = turn @ matrix
    return matrix


def _candidates(angles: int) -> Tensor:
    """Angles to try (n, angles), the smallest first."""
    if angles > MAX_SEARCHED:
        return torch.zeros(1, angles, dtype=torch.float64)
    every = sorted(product((0, 1, -1, 2), repeat=angles), key=lambda row: sum(map(abs, row)))
    return torch.tensor(every, dtype=torch.float64) * (math.pi / 2)


def _search(ansatz: Ansatz, at_start: bool, weight: float, encoded: Tensor, theta: Tensor) -> Extension | None:
    """The first added row and shift under which nothing changes at angles theta and encoded (trials, ...)."""
    candidates = _candidates(ansatz.angles)
    encoding = _turn(GATES[ansatz.encoding].axis, encoded)
    trained = ansatz.rows(1) > 1
    if at_start:
        initial = torch.tensor(ansatz.initial, dtype=torch.float64)
        inner = (encoding @ _gates(ansatz.block, candidates).unsqueeze(1)) @ initial  # (candidates, trials, 3)
        moved = _gates(ansatz.block, theta + candidates.unsqueeze(1))  # (candidates, trials, 3, 3)
        wanted = _gates(ansatz.block, theta) @ initial  # (trials, 3)
    elif trained:
        inner = (_gates(ansatz.final, candidates).unsqueeze(1) @ encoding)[..., 2, :]  # z from the left
        moved = _gates(ansatz.block, theta + candidates.unsqueeze(1)).mT
        wanted = _gates(ansatz.final, theta)[..., 2, :]
    else:  # the final gates stay where they are, behind the added block
        final = _gates(ansatz.final, candidates[0])
        inner = (final @ encoding @ _gates(ansatz.block, candidates).unsqueeze(1))[..., 2, :]
        moved, wanted = torch.eye(3, dtype=torch.float64).expand(1, 1, 3, 3), final[2]
    # For each added row every shift; a row that leaves x visible is out at once.
    for row, vectors in zip(candidates, inner, strict=True):
        errors = ((moved @ vectors.unsqueeze(-1)).squeeze(-1) - wanted).abs().amax((-2, -1))
        if errors.min() < TOLERANCE:
            shift = candidates[int((errors < TOLERANCE).nonzero()[0])] if at_start or trained else row[:0]
            return Extension(at_start, tuple(row.tolist()), tuple(shift.tolist()), weight)
    return None


@lru_cache
def extension(ansatz: Ansatz, trained_weight: bool) -> Extension:
    """How a repetition can be added; w = 0 is tried last, and only where weights are trained.

    Raises:
        ValueError: there is no way.
    """
    generator = torch.Generator().manual_seed(0)
    theta, any_angle = (
        6 * torch.rand(TRIALS, *size, dtype=torch.float64, generator=generator) for size in ((ansatz.angles,), ())
    )
    still = torch.full_like(any_angle, math.pi / 2 if ansatz.encoding_map == "acos" else 0.0)
    for weight, encoded in ((1.0, any_angle), (0.0, still))[: 1 + trained_weight]:
        for at_start in (False, True):
            found = _search(ansatz, at_start, weight, encoded, theta)
            if found is not None:
                return found
    block = ", ".join(ansatz.block)
    if trained_weight:
        remedy = f"not even with w = 0, since no multiples of pi/2 undo its block ({block})"
    else:
        remedy = "train pre-activations (preact_trainable=True): then an added encoding may start at w = 0"
    raise ValueError(
        f"ansatz {ansatz.name!r} cannot be refined here: an added encoding {ansatz.encoding}(x) changes the function "
        f"whatever the angles around it; {remedy}"
    )


def extend(layers: Sequence[QKANLayer], reps: int) -> None:
    """Bring layers to ``reps`` repetitions in place; all or, after an error, none. Those that have them stay.

    Raises:
        ValueError, TypeError: as of :meth:`qkan.QKANLayer.refine`.
    """
    for layer in layers:
        layer.ansatz.program(reps)
        if isinstance(layer.preact_init, str):
            check_preact_init(layer.preact_init, reps, layer.ansatz)
    most = max(layer.reps for layer in layers)
    if reps < most or all(layer.reps == reps for layer in layers):
        raise ValueError(f"reps {reps} must be more than {most}, what the layer has: refining only adds repetitions")
    ways = [extension(layer.ansatz, layer.preact_weight is not None) for layer in layers]
    for layer in layers:
        owner = f"QKANLayer({layer.in_features}, {layer.out_features}, reps={reps})"
        check_memory(owner, layer._numbers(reps), layer.theta.device, layer.theta.dtype)
    for layer, way in zip(layers, ways, strict=True):
        for _ in range(reps - layer.reps):
            _add_repetition(layer, way)


def _add_repetition(layer: QKANLayer, way: Extension) -> None:
    with torch.no_grad():
        theta = layer.theta.clone()
        # A half turn is the same either way, but rounded to one side: taken in turns, the errors of many cancel.
        row, shift = (
            theta.new_tensor([-angle if angle == math.pi and layer.reps % 2 else angle for angle in angles])
            for angles in (way.row, way.shift)
        )
        if len(shift):
            theta[..., 0 if way.at_start else -1, :] += shift
        row = row.expand(*theta.shape[:-2], 1, -1)
        _replace(layer, "theta", torch.cat((row, theta) if way.at_start else (theta, row), -2))
        # Where the added encoding is invisible whatever its w, it has the next of the frequencies that there are.
        named = isinstance(layer.preact_init, str)
        weight = way.weight * (start_weights(layer.preact_init, layer.reps + 1)[-1] if named else 1.0)
        if isinstance(layer.preact_init, tuple):
            own = layer.preact_init
            layer.preact_init = (weight, *own) if way.at_start else (*own, weight)
        for name, value in (("preact_weight", weight), ("preact_bias", 0.0)):
            old = getattr(layer, name)
            if old is not None:
                column = old.new_full((*old.shape[:-1], 1), value)
                _replace(layer, name, torch.cat((column, old) if way.at_start else (old, column), -1))
    layer.reps += 1


def _replace(layer: QKANLayer, name: str, value: Tensor) -> None:
    setattr(layer, name, nn.Parameter(value, requires_grad=getattr(layer, name).requires_grad))
