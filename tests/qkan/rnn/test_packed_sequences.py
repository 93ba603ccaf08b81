"""Packed sequences that nobody can have packed: kernels would read and write beyond their memory."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM

MODULES = pytest.mark.parametrize("module", [QKANLSTM, HQKANLSTM, QKANGRU, QLSTM])


@MODULES
@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([3, 2, 2], r"\[3, 2, 2\]"),
        ([2, 2, 1], r"\[2, 2, 1\]"),
        ([2, 3, 1], r"\[2, 3, 1\]"),
        ([3, 3, 0], r"\[3, 3, 0\]"),
        ([3, 4, -1], r"\[3, 4, -1\]"),
        ([0], r"\[0\]"),
        ([2**40], rf"\[{2**40}\]"),
        ([1] * 7, r"\[1, 1, 1, 1, 1, 1, \.\.\.\]"),
    ],
)
def test_sizes_that_do_not_fit_the_rows(module: type, sizes: list[int], shown: str) -> None:
    packed = PackedSequence(torch.randn(6, 3), torch.tensor(sizes))
    with pytest.raises(
        RuntimeError, match=rf"batch_sizes {shown} of a PackedSequence must be positive, never grow, and"
    ):
        module(3, 4)(packed)


@MODULES
def test_what_is_no_packed_sequence(module: type) -> None:
    rnn, data, sizes = module(3, 4), torch.randn(6, 3), torch.tensor([3, 2, 1])
    order = torch.tensor([0, 1, 2])
    for packed, error, message in (
        (
            PackedSequence(data, sizes.double()),
            TypeError,
            r"must be whole numbers, one a step, got torch\.float64",
        ),
        (PackedSequence(data, sizes.unsqueeze(0)), TypeError, r"of shape \(1, 3\)"),
        (PackedSequence(data[:, 0], sizes), RuntimeError, r"must be 2-D \(rows, features\), got shape \(6,\)"),
        (PackedSequence(data.unsqueeze(1), sizes), RuntimeError, r"got shape \(6, 1, 3\)"),
        (PackedSequence(data[:0], sizes[:0]), RuntimeError, r"sequence length to be larger than 0"),
        (PackedSequence(data, sizes, order[:2], order), RuntimeError, r"sorted_indices of .* has shape \(2,\)"),
        (PackedSequence(data, sizes, order, order[:2]), RuntimeError, r"unsorted_indices of .* has shape \(2,\)"),
    ):
        with pytest.raises(error, match=message):
            rnn(packed)


def test_sequences_that_somebody_packed_by_hand_run() -> None:
    rnn, data = QKANLSTM(3, 4), torch.randn(6, 3)
    output, _ = rnn(PackedSequence(data, torch.tensor([3, 2, 1], dtype=torch.int32)))
    expected, _ = rnn(pack_sequence([data[[0, 3, 5]], data[[1, 4]], data[[2]]]))
    torch.testing.assert_close(output.data, expected.data, rtol=0, atol=0)
