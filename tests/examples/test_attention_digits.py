"""The example of attentions on digits, at toy size."""

import attention_digits as example
import equal_tuning
import pytest
import torch
import vit_digits
from torch import nn


def test_the_control_is_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = example.Softmax(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    ours.qkv.weight, ours.qkv.bias = theirs.in_proj_weight, theirs.in_proj_bias
    ours.proj = theirs.out_proj
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_networks_differ_in_their_attention_only() -> None:
    sizes = [equal_tuning.size(make()) for make in (example.softmax(64), example.blockwise, example.shared)]
    operator = vit_digits.HEADS * vit_digits.TOKENS * 12 * 7
    assert [size - sizes[0] for size in sizes] == [0, 2 * operator, operator]


def test_table_and_cost(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    example.main(["--seeds", "1", "--tuning-seeds", "1", "--epochs", "1", "--rates", "1e-2"])
    rows = [line.split(" | ")[0].removeprefix("| ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["softmax", "softmax, wider MLPs", "KArAttention, blockwise", "KArAttention, shared"]
    monkeypatch.setattr(example, "SHAPES", ((5, 8, 2),))
    example.main(["--cost"])
    assert capsys.readouterr().out.count("\n| 5 | 8 | 2 |") == 2
