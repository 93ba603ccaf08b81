"""Initial frequencies: the pre-activation weights w_l of a circuit, which encodes the angles w_l x + b_l.

The frequencies of a circuit are sums of 0 and +-w_l. Equal w make R different ones, w_l = 2^l makes 2^R - 1 (those
below the largest more than once), w_l = 3^l makes (3^R - 1) / 2, each once. Gradients move w by about 1 at most (arXiv
2602.23409), so what a circuit can represent is decided where it starts; docs/how/initialisation.md helps to choose.

Where w are whole numbers and not trained, phi is a Fourier polynomial, which the kernels compute as one exact matrix
product (docs/how/spectral.md). Layers tell them by :attr:`HasFrequencies.harmonics`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.common.host_sync import tracing

PREACT_INITS = ("ones", "binary", "ternary", "auto")
PreactInit = str | Tensor | Sequence[float]
#: w_l = base^l.
_BASES = {"ones": 1.0, "auto": 1.0, "binary": 2.0, "ternary": 3.0}
#: More repetitions have sums of +-base^l that single precision cannot tell from their neighbours: 24 bits are full.
_MOST_REPS = {"binary": 24, "ternary": 16}


def check_preact_init(preact_init: PreactInit, reps: int, ansatz: Ansatz) -> str | tuple[float, ...]:
    """A name of :data:`PREACT_INITS`, or ``reps`` numbers as a tuple.

    Raises:
        ValueError: another name, numbers that are not finite or not ``reps``, more repetitions than a float can tell
            apart, or an ansatz that encodes acos(w x).
        TypeError: neither a name nor numbers.
    """
    if isinstance(preact_init, str):
        if preact_init not in PREACT_INITS:
            raise ValueError(
                f"unknown preact_init {preact_init!r}; use one of {', '.join(PREACT_INITS)}, or one w for each of the "
                f"{reps} repetitions"
            )
        if reps > _MOST_REPS.get(preact_init, reps):
            raise ValueError(
                f"preact_init={preact_init!r} with reps={reps} makes frequencies up to {_BASES[preact_init]:g}^"
                f"{reps - 1}, which single precision cannot tell apart; use reps of at most {_MOST_REPS[preact_init]}"
            )
        chosen: str | tuple[float, ...] = preact_init
    else:
        chosen = _numbers(preact_init, reps)
    if ansatz.encoding_map == "acos" and chosen != "ones":
        raise ValueError(
            f"ansatz {ansatz.name!r} encodes acos(w x), which has no value where |w x| > 1, so preact_init must be "
            "'ones'; use another ansatz for other frequencies"
        )
    return chosen


def _numbers(weights: Tensor | Sequence[float], reps: int) -> tuple[float, ...]:
    try:
        tensor = torch.as_tensor(weights, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"preact_init must be one of {', '.join(PREACT_INITS)} or numbers, got {reprlib.repr(weights)}"
        ) from None
    if tensor.shape != (reps,):
        raise ValueError(
            f"preact_init of shape {tuple(tensor.shape)} does not fit reps={reps}; give shape ({reps},), one w for "
            "each repetition"
        )
    if not tensor.isfinite().all():
        raise ValueError(f"preact_init {tensor.tolist()} must be finite numbers; give one w for each repetition")
    return tuple(tensor.tolist())


def start_weights(preact_init: str | tuple[float, ...], reps: int) -> tuple[float, ...]:
    """The w that circuits start with, one for each repetition; ones for ``"auto"``, until there are data."""
    if isinstance(preact_init, tuple):
        return preact_init
    return tuple(_BASES[preact_init] ** order for order in range(reps))


#: What restarts of ``"auto"`` after the first try, in turn; then the first one again, with other weights.
_OTHERS = ("binary", "ternary", "ones")


def whole_sum(weight: Tensor) -> int | None:
    """The largest sum of |w_l| over the last size if all w are whole numbers, else None; reads the values."""
    weight = weight.detach()
    if weight.is_meta or not torch.equal(weight, weight.round()):
        return None
    total = float(weight.abs().sum(-1).amax()) if weight.numel() else 0.0
    return int(total) if math.isfinite(total) else None


class HasFrequencies(nn.Module):
    """What modules with circuits inherit: the initial values of w, and whether w are whole numbers."""

    reps: int
    preact_init: str | tuple[float, ...]
    preact_trainable: bool | Literal["input"]
    preact_weight: nn.Parameter | None
    #: Of :attr:`harmonics`: what was read, and of which version of which tensor.
    _whole: tuple[int | None, Any] = (None, None)
    #: The largest sum of |w_l| of frequencies from data.
    _sum_of_data: float | None = None

    def reset_frequencies(self) -> None:
        """Write the initial w; those of ``"auto"`` are ones again, until the module sees data.

        Raises:
            ValueError: numbers that the dtype of the parameters cannot hold.
        """
        self._sum_of_data = None
        if self.preact_weight is None:
            return
        weights, dtype = start_weights(self.preact_init, self.reps), self.preact_weight.dtype
        largest, limit = max(map(abs, weights)), torch.finfo(dtype).max
        if largest > limit:
            raise ValueError(
                f"frequencies in {str(dtype).removeprefix('torch.')} must be at most {limit:.3g}, got {largest:.3g}; "
                "use smaller ones, fewer repetitions or a wider dtype"
            )
        self._write(torch.tensor(weights, dtype=torch.float64))

    @property
    def awaits_data(self) -> bool:
        """Whether its frequencies are to be found in data that it has not seen yet."""
        return self.preact_init == "auto" and self._sum_of_data is None

    def set_frequencies(self, weight: Tensor) -> None:
        """Write frequencies that were found in data.

        Args:
            weight: one w for each repetition, (reps,), or what fits the shape of ``preact_weight``.
        """
        self._write(weight)
        self._sum_of_data = float(weight.abs().sum(-1).max())

    def start_otherwise(self, start: int) -> bool:
        """Write what a restart of ``"auto"`` tries in the place of the data's frequencies.

        Args:
            start: number of the start, from 0; every fourth, from the first, is for the frequencies of the data.

        Returns:
            whether frequencies were written.
        """
        turn = start % (len(_OTHERS) + 1)
        if turn:
            self.set_frequencies(torch.tensor(start_weights(_OTHERS[turn - 1], self.reps), dtype=torch.float64))
        return turn > 0

    def _write(self, weight: Tensor) -> None:
        own = self.preact_weight
        if own is None:
            return
        with torch.no_grad():
            own.copy_(weight.expand(own.shape))
        self._whole = (whole_sum(weight), None if own.is_inference() else (id(own), own._version))

    @property
    def harmonics(self) -> int | None:
        """N, the largest sum of |w_l|, where w are whole numbers that are not trained; else None."""
        own = self.preact_weight
        if own is None:
            return self.reps
        # Whole or not, an expansion at whole w has no derivative in w.
        if self.preact_trainable or own.requires_grad or forward_ad._current_level >= 0:
            return None
        if not (torch.compiler.is_compiling() or tracing()):  # these read no values, and take what was read last
            # On a CPU it is read every time, since not all that writes to a tensor counts its versions.
            version = None if own.is_cpu or own.is_inference() else (id(own), own._version)
            if version is None or version != self._whole[1]:
                self._whole = (whole_sum(own), version)
        return self._whole[0]

    @property
    def start_bandwidth(self) -> float:
        """The largest sum of |w_l| of the initial w."""
        found = self._sum_of_data
        return found if found is not None else sum(map(abs, start_weights(self.preact_init, self.reps)))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        own = self.preact_weight
        if own is None or own.is_meta:
            return
        if not own.requires_grad:
            self._whole = (whole_sum(own), None)
        if self.preact_init == "auto":
            self._sum_of_data = float(own.detach().abs().sum(-1).max())
