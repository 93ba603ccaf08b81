"""The call contract of torch.nn.LSTM apart from its arithmetic: layouts, states, packed sequences.

Sequences of one length and packed sequences share one form: the rows of all time steps one after the other, and how
many there are at each step.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from qkan.kernels.common.host_sync import exporting, tracing
from qkan.kernels.common.tensors import check_readable, has_memory
from qkan.layers.options import not_dense

States = tuple[Tensor, ...]


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


def check_states(hx: object, count: int, owner: str) -> States:
    """Initial states as a tuple of ``count`` dense tensors.

    Raises:
        TypeError: something else; nn.LSTM raises IndexError or AttributeError for most of it.
        ValueError: memory that has been taken away.
    """
    expected = "a pair of tensors (h_0, c_0)" if count == 2 else "one tensor h_0"
    if not isinstance(hx, tuple | list) or len(hx) != count:
        found = f"{len(hx)} of them" if isinstance(hx, tuple | list) else type(hx).__name__
        raise TypeError(f"{owner} needs {expected} as initial states, got {found}")
    for state in hx:
        if not isinstance(state, Tensor):
            raise TypeError(f"{owner} needs {expected} as initial states, got {type(state).__name__} for one")
        if state.layout is not torch.strided or state.is_nested:
            raise not_dense(state, owner)
    check_readable(*hx)
    return tuple(hx)


class Batch:
    """An input in the one form: ``data`` (rows, features), ``sizes`` rows per time step, and what undoes it."""

    def __init__(
        self, data: Tensor, sizes: tuple[int, ...], batched: bool, batch_first: bool, packed: PackedSequence | None
    ) -> None:
        self.data, self.sizes, self.batched, self.batch_first, self.packed = data, sizes, batched, batch_first, packed

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

    def unpack_states(self, hx: States, count: int, sizes: Sequence[int], like: Tensor) -> States:
        """Check initial states and bring them to (count, B, size) in the order of the rows.

        Args:
            hx: (h_0, c_0) of an LSTM, (h_0,) of a GRU.
            count: layers times directions.
            sizes: last size of every state.
            like: of the dtype and on the device of the parameters.

        Raises:
            RuntimeError: other shapes, another dtype or another device.
        """
        kind = "batched 3-D" if self.batched else "unbatched 2-D"
        want = 3 if self.batched else 2
        dims = [state.dim() for state in hx]
        if any(dim != want for dim in dims):
            names, plural = ("hx", "") if len(sizes) == 1 else ("hx and cx", "s")
            found = ", ".join(f"{dim}-D" for dim in dims)
            found = f"({found})" if plural else found
            raise RuntimeError(f"For {kind} input, {names} should also be {want}-D but got {found} tensor{plural}")
        checked = []
        for position, (state, size) in enumerate(zip(hx, sizes, strict=True)):
            full = state if self.batched else state.unsqueeze(1)
            name = "hidden" if len(sizes) == 1 else f"hidden[{position}]"
            expected = (count, self.sizes[0], size)
            if tuple(full.shape) != expected:
                raise RuntimeError(f"Expected {name} size {expected}, got {list(full.shape)}")
            if full.device != like.device:
                raise RuntimeError(
                    f"Input and hidden tensors are not at the same device, found input tensor at {like.device} and "
                    f"hidden tensor at {full.device}"
                )
            if not dtype_fits(full, like.dtype):
                raise RuntimeError(
                    f"{name} dtype ({full.dtype}) does not match weight dtype ({like.dtype}); "
                    f"convert it with .to({like.dtype})"
                )
            if self.packed is not None and self.packed.sorted_indices is not None:
                full = full.index_select(1, self.packed.sorted_indices)
            checked.append(full)
        return tuple(checked)


def _packed_sizes(packed: PackedSequence) -> tuple[int, ...]:
    """Rows per time step of a packed sequence; whoever builds one by hand can put anything there.

    Raises:
        RuntimeError: sizes or orders that are none of sequences in these rows.
        TypeError: sizes that are no whole numbers.
    """
    data, given = packed.data, packed.batch_sizes
    if tracing():
        raise RuntimeError(
            "a PackedSequence cannot be traced, because its batch sizes would become constants; trace a padded tensor, "
            "or sequences of one length"
        )
    if data.dim() != 2:
        raise RuntimeError(f"data of a PackedSequence must be 2-D (rows, features), got shape {tuple(data.shape)}")
    if given.dim() != 1 or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(
            f"batch_sizes of a PackedSequence must be whole numbers, one a step, got {given.dtype} of shape "
            f"{tuple(given.shape)}; make one with torch.nn.utils.rnn.pack_padded_sequence"
        )
    sizes = tuple(given.tolist())
    falling = all(size >= later for size, later in pairwise(sizes))
    if sizes and (not falling or sizes[-1] < 1 or sum(sizes) != data.size(0)):
        shown = ", ".join(map(str, sizes[:6])) + (", ..." if len(sizes) > 6 else "")
        raise RuntimeError(
            f"batch_sizes [{shown}] of a PackedSequence must be positive, never grow, and sum to its {data.size(0)} "
            "rows; make one with torch.nn.utils.rnn.pack_padded_sequence"
        )
    check_readable(packed.sorted_indices, packed.unsorted_indices)
    for name, order in (("sorted_indices", packed.sorted_indices), ("unsorted_indices", packed.unsorted_indices)):
        if order is not None and sizes and tuple(order.shape) != (sizes[0],):
            raise RuntimeError(f"{name} of a PackedSequence of {sizes[0]} sequences has shape {tuple(order.shape)}")
    return sizes


def _say_fixed_length(x: Tensor) -> None:
    """Warn where a program is recorded that takes sequences of one length (T, B, features) alone.

    torch.jit.trace does not tell which sizes are to vary; torch.export does, and also fixes those of nn.LSTM.
    """
    if torch.jit.is_tracing():
        steps = f"{int(x.shape[0])}"
    elif isinstance(x.shape[0], torch.SymInt) and exporting():
        steps = "those of the example"
    else:
        return
    warnings.warn(
        f"the program that is recorded here takes sequences of a fixed number of time steps, {steps}, and refuses "
        "others; other batch sizes run",
        stacklevel=6,
    )


def unpack_input(
    input: Tensor | PackedSequence, batch_first: bool, input_size: int, like: Tensor, cell: str = "lstm"
) -> Batch:
    """Bring an input of nn.LSTM's contract, for parameters ``like`` this one, to the one form.

    Raises:
        TypeError: no tensor, or one that is sparse or nested.
        ValueError: neither 2-D nor 3-D, another dtype, or memory that has been taken away.
        RuntimeError: another feature size or device, or no time steps.
    """
    dtype = like.dtype
    data = input.data if isinstance(input, PackedSequence) else input
    if not isinstance(data, Tensor) or data.layout is not torch.strided or data.is_nested:
        raise not_dense(data, cell.upper())
    if data.is_cpu and type(data) is Tensor and not torch.compiler.is_compiling():
        has_memory(data)
    if isinstance(input, PackedSequence):
        batch = Batch(input.data, _packed_sizes(input), True, batch_first, input)
    else:
        if input.dim() not in (2, 3):
            raise ValueError(f"{cell.upper()}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(1)
        elif batch_first:
            input = input.transpose(0, 1)
        _say_fixed_length(input)
        # torch.jit.trace records so many steps as there are now. One tensor a step makes what it records refuse any
        # other number, where rows of more steps would be cut in the wrong places.
        rows = torch.cat(input.unbind()) if torch.jit.is_tracing() and input.shape[0] > 0 else input.flatten(0, 1)
        batch = Batch(rows, (input.shape[1],) * input.shape[0], batched, batch_first, None)
    if not dtype_fits(batch.data, dtype):
        raise ValueError(
            f"RNN input dtype ({batch.data.dtype}) does not match weight dtype ({dtype}). "
            f"Convert input: input.to({dtype}), or convert model: model.to({batch.data.dtype})"
        )
    if batch.data.size(-1) != input_size:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {input_size}, got {batch.data.size(-1)}"
        )
    if batch.data.device != like.device:
        raise RuntimeError(
            f"Input and parameter tensors are not at the same device, found input tensor at {batch.data.device} and "
            f"parameter tensor at {like.device}"
        )
    if not batch.sizes:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    return batch
