"""The example of a small GPT, at toy size."""

import math
import re
from pathlib import Path

import char_gpt as example
import pytest
import torch
from torch import nn


def test_blocks_are_the_widest_of_their_share() -> None:
    sizes = {name: example.size(make()) for name, make in example.kinds().items()}
    whole = sizes["MLP, 256 wide"]
    assert whole == 2 * 64 * 256 + 256 + 64
    assert list(sizes)[1:] == ["HQKAN, 127 wide", "HQKAN, 45 wide", "MLP, 63 wide"]
    # affine maps 129 L + 64, circuits 4 L, weights L^2
    assert sizes["HQKAN, 127 wide"] == 129 * 127 + 64 + 4 * 127 + 127**2 <= whole
    assert sizes["HQKAN, 45 wide"] <= whole / 4 < example.size(example.hqkan(46))


def test_networks_differ_in_their_blocks_only() -> None:
    nets = []
    for make in (lambda: example.mlp(9), lambda: example.hqkan(3)):
        torch.manual_seed(3)
        nets.append(dict(example.GPT(11, make).named_parameters()))
    shared = [name for name in nets[0] if ".mlp." not in name]
    assert len(shared) == 2 + 2 * 8 + 4
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in shared)


def test_scores_depend_on_the_past_only() -> None:
    torch.manual_seed(0)
    net = example.GPT(7, lambda: example.hqkan(3))
    tokens = torch.randint(7, (2, 10))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 7
    with torch.no_grad():
        before, after = net(tokens), net(changed)
    assert (before[:, :6] - after[:, :6]).abs().max().item() < 1e-5
    assert (before[:, 6:] - after[:, 6:]).abs().max().item() > 1e-3


def test_text_is_split_in_order() -> None:
    text = example.load_text()
    whole = torch.cat([text.train, text.validation, text.test])
    assert len(whole) > 300_000
    assert len(whole.unique()) == text.characters == int(whole.max()) + 1
    assert len(text.train) == len(whole) * 8 // 10


def test_loss_of_a_whole_part_is_the_mean_over_its_pieces() -> None:
    net = example.GPT(7, nn.Identity)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.arange(7.0))
    tokens = torch.arange(2 * example.CONTEXT + 1) % 7
    own = -torch.log_softmax(torch.arange(7.0), 0)[tokens[1:]].mean()
    assert example.evaluate(net, tokens) == pytest.approx(own.item(), rel=1e-6)


def test_rate_rises_then_falls() -> None:
    shares = [example.rate_at(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[55] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert shares[99] < 1e-3


def test_table_and_picture(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = example.load_text()
    small = example.Text(text.train[:3000], text.validation[:700], text.test[:700], text.characters)
    monkeypatch.setattr(example, "load_text", lambda: small)
    picture = tmp_path / "curves.png"
    example.main(["--seeds", "1", "--steps", "2", "--rates", "1e-3", "--plot", str(picture)])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == list(example.kinds())
    for row in rows[2:]:
        loss = float(re.match(r"[\d.]+", row[3])[0])
        assert 0 < loss < 2 * math.log(text.characters)
        assert float(row[4]) == pytest.approx(loss / math.log(2), abs=2e-3)
    assert picture.read_bytes()[:4] == b"\x89PNG"
