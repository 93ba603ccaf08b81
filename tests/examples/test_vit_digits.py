"""The example of Vision Transformers on digits, at toy size."""

import re

import pytest
import torch
import vit_digits as example
from torch import nn


def test_parts_are_all_digits_once_in_equal_shares() -> None:
    parts = example.load_parts()
    assert [len(part.images) for part in parts] == [1077, 360, 360]
    rows = torch.cat([part.images.flatten(1) for part in parts])
    assert len(rows.unique(dim=0)) == 1797
    assert (rows.min().item(), rows.max().item()) == (-1.0, 1.0)
    for part in parts:
        shares = torch.bincount(part.classes, minlength=10) / len(part.classes)
        assert (shares - 0.1).abs().max().item() < 0.01


def test_networks_differ_in_their_mlps_only() -> None:
    hidden = example.hidden_of_size(example.size(example.gr_kan(example.HIDDEN)))
    assert hidden == 65
    sizes = [example.size(make) for make in (example.mlp(65), example.mlp(65, True), example.gr_kan(64))]
    # tokens 4 * 32 + 32 + 16 * 32, blocks 2 (128 + 4224), head 64 + 330, MLPs 2 (65 * 65 + 32) or 2 (65 * 64 + 108)
    assert sizes == [18284, 18284, 18306]
    nets = []
    for make in (example.mlp(65), example.gr_kan(64)):
        torch.manual_seed(3)
        nets.append(dict(example.ViT(make).named_parameters()))
    shared = [name for name in nets[0] if ".mlp." not in name]
    assert len(shared) == 3 + 2 * 8 + 4
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in shared)


def test_patches_are_the_squares_of_the_image() -> None:
    net = example.ViT(lambda width: nn.Identity())
    seen = []
    net.embed.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    net(torch.arange(64.0).view(1, 8, 8))
    assert seen[0].shape == (1, 16, 4)
    assert seen[0][0, 0].tolist() == [0, 1, 8, 9]
    assert seen[0][0, 6].tolist() == [20, 21, 28, 29]


def test_gelu_keeps_the_variance_with_its_gain() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    second = nn.functional.gelu(x).square().mean().item()
    assert second * example.GELU_GAIN == pytest.approx(1, rel=0.02)


def test_weight_decay_leaves_coefficients_norms_and_biases() -> None:
    net = example.ViT(example.gr_kan(64))
    decayed, left = example.groups_of(net)
    assert (decayed["weight_decay"], left["weight_decay"]) == (0.05, 0.0)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert len(decayed["params"]) + len(left["params"]) == len(names)
    # embedding, attention in and out, both linear maps of each block, head
    assert len(decayed["params"]) == 1 + 2 * 4 + 1
    assert {names[id(p)].rpartition(".")[2] for p in decayed["params"]} == {"weight", "in_proj_weight"}
    assert not any("norm" in names[id(p)] or "act" in names[id(p)] for p in decayed["params"])


def test_both_learn_digits() -> None:
    parts = example.load_parts()
    for make in (example.mlp(65), example.gr_kan(64)):
        found = example.run(lambda make=make: example.ViT(make), parts, seed=0, rate=1e-2, epochs=5)
        assert found.accuracy > 0.75
        assert found.test_loss < 0.8


def test_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--seeds", "2", "--tuning-seeds", "1", "--epochs", "1", "--rates", "1e-3", "1e-2"]
    example.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("|") for line in lines] == [7] * 5
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:2] for row in rows] == [["MLP", "18,284"], ["MLP, GR-KAN's start", "18,284"], ["GR-KAN", "18,306"]]
    for row in rows:
        assert row[2] in ("0.001", "0.01")
        median, low, high = (float(number) for number in re.findall(r"([\d.]+)%", row[3]))
        assert 0 <= low <= median <= high <= 100
