"""Candidates of GPT blocks: what is measured, and that errors are found wherever they are."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.block import MLP_ALONE, MLP_BLOCK, TOLERANCES, BlockWork, GPTBlock, errors
from benchmarks.harness.candidates import CLASSICAL, OURS, Entry
from benchmarks.harness.work import Options, TokenSize

OPTIONS = Options("normal", "pz", torch.device("cpu"), "float32", 1, 2, 60.0, ("auto",), 0)
SMALL = BlockWork(TokenSize(3, 7, 12), OPTIONS, heads=3, reps=2, latents=("log2", "equal"))


def test_everything_is_measured_and_right() -> None:
    entries = {entry.name: entry for entry in SMALL.run(SMALL.candidates(), SMALL.limits())}
    assert [(entry.name, entry.family) for entry in entries.values()] == [
        (MLP_BLOCK, CLASSICAL),
        ("block, HQKAN log2", OURS),
        ("block, HQKAN equal", OURS),
        (MLP_ALONE, CLASSICAL),
        ("HQKAN alone, log2", OURS),
        ("HQKAN alone, equal", OURS),
    ]
    for entry in entries.values():
        assert entry.reason is None
        assert not entry.wrong
        assert len(entry.seconds) == len(entry.inference) == 2
        assert entry.extra_bytes > 0
    around = 12 * 36 + 36 + 12 * 12 + 12 + 4 * 12
    mlp = 2 * 12 * 48 + 48 + 12
    assert (entries[MLP_BLOCK].parameters, entries[MLP_ALONE].parameters) == (around + mlp, mlp)
    assert entries["HQKAN alone, log2"].parameters == 12 * 4 + 4 + 4 * 4 * 3 * 2 + 4 * 12 + 12
    assert entries["HQKAN alone, log2"].detail == "12-4-12"
    # A latent of one more would have more parameters than the MLP.
    assert entries["HQKAN alone, equal"].detail == "12-12-12"
    assert entries["HQKAN alone, equal"].parameters == 12 * 12 + 12 + 12 * 12 * 3 * 2 + 12 * 12 + 12
    assert len(SMALL.notes(list(entries.values()))) == 4


def test_attention_is_causal_and_beside_a_residual() -> None:
    block, x = GPTBlock(12, 3), torch.randn(2, 5, 12)
    later = x.clone()
    later[:, 3] = torch.randn(12)
    torch.testing.assert_close(block(later)[:, :3], block(x)[:, :3], rtol=0, atol=1e-6)
    assert not torch.allclose(block(later)[:, 4], block(x)[:, 4], rtol=0, atol=1e-3)
    with torch.no_grad():
        block.proj.weight.zero_(), block.proj.bias.zero_()
        block.mlp[2].weight.zero_(), block.mlp[2].bias.zero_()
    assert torch.equal(block(x), x)


class Leaking(nn.Module):
    """Right outputs of the first tokens, but gradients at others, or one that is off."""

    def __init__(self, block: GPTBlock, form: str) -> None:
        super().__init__()
        self.block, self.form = block, form

    def state_dict(self, *args, **kwargs):
        return self.block.state_dict(*args, **kwargs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        leak = 1e-3 * (x[1, 0, 0] if self.form == "elsewhere" else self.block.mlp[0].latent.layers[0].theta[0, 0, 0, 0])
        return self.block(x) + (leak - leak.detach())


def test_wrong_results_are_found() -> None:
    x, upstream = OPTIONS.numbers(SMALL.size, "normal", 1), OPTIONS.numbers(SMALL.size, "normal", 2)
    exact = SMALL.block("equal", "reference").double()

    def found(module: nn.Module):
        return errors(module, exact, x, upstream, TOLERANCES["float32"])

    right = SMALL.block("equal")
    assert not found(right).too_large
    for form in ("elsewhere", "theta"):
        off = found(Leaking(right, form))
        assert off.too_large
        assert off.output == found(right).output
    # A module that does not compute what its parameters say.
    wrong = SMALL.block("equal")
    wrong.mlp[0].latent.register_forward_hook(lambda module, given, output: output + 0.01)
    assert found(wrong).output > 1e-3
    assert found(wrong).too_large


def test_missed_aims_are_named() -> None:
    entries = [
        Entry(MLP_BLOCK, CLASSICAL, seconds=[2.0], extra_bytes=100),
        Entry("block, HQKAN log2", OURS, seconds=[1.0], extra_bytes=50),
        Entry("block, HQKAN equal", OURS, seconds=[3.0], extra_bytes=None),
    ]
    assert SMALL.notes(entries) == [
        "block, HQKAN log2: 0.5 times the training step of the block, MLP (at most 1.2 is the aim)",
        "block, HQKAN log2: 0.5 times the extra memory of the block, MLP (at most 1.2 is the aim)",
        "block, HQKAN equal: 1.5 times the training step of the block, MLP (at most 1.2 is the aim: MISSED)",
    ]


def test_facts_and_refusals() -> None:
    assert SMALL.title == "3 x 7 x 12: 3 heads, R = 2, ansatz pz, inputs standard normal, float32, cpu, 1 thread"
    assert SMALL.facts == {"size": {"batch": 3, "tokens": 7, "channels": 12}, "heads": 3, "reps": 2}
    assert SMALL.numbers == 12 * 144 + 2 * 3 * 7 * 12
    assert set(SMALL.tolerances.values()) == set(TOLERANCES["float32"])
    with pytest.raises(ValueError, match="12 channels do not divide into 5 heads"):
        replace(SMALL, heads=5)
