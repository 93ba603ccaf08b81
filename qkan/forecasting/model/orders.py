"""In which order a cell reads its window: step by step, segment by segment, or period by period.

An order turns windows of features into sequences for the cell, and what the cell says back into target steps.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Order(NamedTuple):
    """How windows become sequences.

    ``steps`` is one sequence of all steps. ``segments`` is one sequence whose steps are ``stride`` steps of the window,
    side by side (SegRNN, Lin et al. 2023). ``periods`` is one sequence for every phase of a season of ``stride``
    steps, with one value a period; all phases share the cell (SparseTSF, Lin et al. 2024).

    Attributes:
        kind: ``steps``, ``segments`` or ``periods``.
        stride: Steps from a step of a sequence to the next one: 1, the length of a segment, or of a period.
        window: Steps of the window, a multiple of the stride.
        horizon: Target steps.
    """

    kind: str
    stride: int
    window: int
    horizon: int

    @property
    def sequences(self) -> int:
        """Sequences of a window: with periods, the phases that the target steps have."""
        return min(self.horizon, self.stride) if self.kind == "periods" else 1

    @property
    def steps(self) -> int:
        """Steps of a sequence."""
        return self.window // self.stride

    @property
    def targets(self) -> int:
        """Steps of a sequence that the target steps take; those beyond the horizon are left out in the end."""
        return -(-self.horizon // self.stride)

    @property
    def width(self) -> int:
        """Steps of the window that are side by side in a step of a sequence."""
        return self.stride if self.kind == "segments" else 1

    def of_window(self, features: Tensor) -> Tensor:
        """Turn (B, window, features), or its newest steps, into sequences, (B * sequences, steps, width * features)."""
        return self._sequences(features, features.shape[1] // self.stride)

    def of_targets(self, features: Tensor) -> Tensor:
        """Turn (B, horizon, features) into sequences, (B * sequences, targets, width * features)."""
        return self._sequences(padded(features, self.targets * self.stride), self.targets)

    def to_targets(self, outputs: Tensor) -> Tensor:
        """Turn what is said of the targets, (B * sequences, targets, width * numbers), into (B, horizon, numbers)."""
        if self.kind == "segments":
            return outputs.unflatten(2, (self.width, -1)).flatten(1, 2)[:, : self.horizon]
        return outputs.unflatten(0, (-1, self.sequences)).transpose(1, 2).flatten(1, 2)[:, : self.horizon]

    def _sequences(self, features: Tensor, steps: int) -> Tensor:
        if self.kind == "steps":
            return features
        parts = features.unflatten(1, (steps, self.stride))
        if self.kind == "segments":
            return parts.flatten(2, 3)
        return parts[:, :, : self.sequences].transpose(1, 2).flatten(0, 1)


def padded(features: Tensor, steps: int) -> Tensor:
    """Zeros behind (B, less steps, features), up to ``steps``."""
    missing = steps - features.shape[1]
    return nn.functional.pad(features, (0, 0, 0, missing)) if missing > 0 else features
