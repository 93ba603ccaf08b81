"""The call contract of torch.nn.LSTM apart from its arithmetic: layouts, states, packed sequences, the time loop.

Sequences of one length and packed sequences share one form: the rows of all time steps one after the other, and how
many there are at each step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

States = tuple[Tensor, Tensor]
Step = Callable[[Tensor, States], States]


def check_dropout(dropout: float, num_layers: int) -> float:
    """Return ``dropout`` as a float; warn, as nn.LSTM does, where there is no layer to put it behind.

    Raises:
        ValueError: not a number in [0, 1].
    """
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
        raise ValueError(
            f"dropout should be a number in range [0, 1] representing the probability of an element being zeroed, "
            f"got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    return float(dropout)


def check_proj_size(proj_size: int, hidden_size: int) -> int:
    """Return ``proj_size`` if it is 0 (no projection) or in [1, hidden_size).

    Raises:
        ValueError: outside that range.
        TypeError: not an int.
    """
    if isinstance(proj_size, bool) or not isinstance(proj_size, int):
        raise TypeError(f"proj_size must be an int, got {type(proj_size).__name__}")
    if not 0 <= proj_size < hidden_size:
        raise ValueError(f"proj_size {proj_size} must be 0 (no projection) or smaller than hidden_size {hidden_size}")
    return proj_size


def dtype_fits(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor may meet parameters of ``dtype``: nn.LSTM converts nothing by itself, but for autocast."""
    device = tensor.device.type
    return tensor.dtype == dtype or (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device))


@dataclass
class Batch:
    """An input in the one form: ``data`` (rows, features), ``sizes`` rows per time step, and what undoes it."""

    data: Tensor
    sizes: list[int]
    batched: bool
    batch_first: bool
    packed: PackedSequence | None

    def pack_output(self, data: Tensor) -> Tensor | PackedSequence:
        """Lay rows out as the input was."""
        if self.packed is not None:
            packed = self.packed
            return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        out = data.reshape(len(self.sizes), self.sizes[0], data.shape[-1])
        if not self.batched:
            return out.squeeze(1)
        return out.transpose(0, 1) if self.batch_first else out

    def pack_state(self, state: Tensor) -> Tensor:
        """(layers, B, size) in the caller's order of sequences, without B if the input had none."""
        if self.packed is not None and self.packed.unsorted_indices is not None:
            return state.index_select(1, self.packed.unsorted_indices)
        return state if self.batched else state.squeeze(1)

    def unpack_states(self, hx: States, count: int, sizes: tuple[int, int], dtype: torch.dtype) -> States:
        """Check (h_0, c_0) and bring them to (count, B, size) in the order of the rows.

        Raises:
            RuntimeError: other shapes, or another dtype.
        """
        kind = "batched 3-D" if self.batched else "unbatched 2-D"
        want_dim = 3 if self.batched else 2
        h, c = hx
        if h.dim() != want_dim or c.dim() != want_dim:
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {want_dim}-D but got ({h.dim()}-D, {c.dim()}-D) tensors"
            )
        checked = []
        for position, (state, size) in enumerate(zip(hx, sizes, strict=True)):
            full = state if self.batched else state.unsqueeze(1)
            expected = (count, self.sizes[0], size)
            if tuple(full.shape) != expected:
                raise RuntimeError(f"Expected hidden[{position}] size {expected}, got {list(full.shape)}")
            if not dtype_fits(full, dtype):
                raise RuntimeError(
                    f"hidden[{position}] dtype ({full.dtype}) does not match weight dtype ({dtype}); "
                    f"convert it with .to({dtype})"
                )
            if self.packed is not None and self.packed.sorted_indices is not None:
                full = full.index_select(1, self.packed.sorted_indices)
            checked.append(full)
        return checked[0], checked[1]


def unpack_input(input: Tensor | PackedSequence, batch_first: bool, input_size: int, dtype: torch.dtype) -> Batch:
    """Bring an input of nn.LSTM's contract, for parameters of ``dtype``, to the one form.

    Raises:
        ValueError: neither 2-D nor 3-D, or another dtype.
        RuntimeError: another feature size, or no time steps.
    """
    if isinstance(input, PackedSequence):
        batch = Batch(input.data, input.batch_sizes.tolist(), True, batch_first, input)
    else:
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(1)
        elif batch_first:
            input = input.transpose(0, 1)
        batch = Batch(input.flatten(0, 1), [input.shape[1]] * input.shape[0], batched, batch_first, None)
    if not dtype_fits(batch.data, dtype):
        raise ValueError(
            f"RNN input dtype ({batch.data.dtype}) does not match weight dtype ({dtype}). "
            f"Convert input: input.to({dtype}), or convert model: model.to({batch.data.dtype})"
        )
    if batch.data.size(-1) != input_size:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {input_size}, got {batch.data.size(-1)}"
        )
    if not batch.sizes:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    return batch


def scan(step: Step, rows: Tensor, sizes: list[int], start: States, *, reverse: bool) -> tuple[Tensor, States]:
    """Walk ``step`` over time.

    Args:
        step: (rows of one time step, (h, c)) to (h', c').
        rows: (sum of sizes, features), what the inputs of all time steps contribute.
        sizes: rows per time step, never growing.
        start: (h, c) of all sequences, each (sizes[0], ...).
        reverse: from the last step to the first; a sequence joins where it ends.

    Returns:
        h of all steps, laid out as ``rows``; the final (h, c) of every sequence.
    """
    steps = rows.split(sizes)
    order = range(len(sizes) - 1, -1, -1) if reverse else range(len(sizes))
    h, c = (state[: sizes[order[0]]] for state in start)
    outputs: list[Tensor] = []
    ended: list[States] = []
    for t in order:
        active, running = sizes[t], h.shape[0]
        if active < running:
            ended.append((h[active:], c[active:]))
            h, c = h[:active], c[:active]
        elif active > running:
            h = torch.cat((h, start[0][running:active]))
            c = torch.cat((c, start[1][running:active]))
        h, c = step(steps[t], (h, c))
        outputs.append(h)
    if reverse:
        outputs.reverse()
    if ended:
        h = torch.cat((h, *(state[0] for state in reversed(ended))))
        c = torch.cat((c, *(state[1] for state in reversed(ended))))
    return torch.cat(outputs), (h, c)
