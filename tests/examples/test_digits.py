"""The example of digits in one view, at toy size."""

import re
from pathlib import Path

import digits as example
import pytest
import torch


def test_small_networks_have_at_most_a_quarter_of_the_parameters_and_are_the_widest_of_those() -> None:
    found = example.candidates(64)
    sizes = {(name, form): example.size(make()) for name, forms in found.items() for form, make in forms.items()}
    whole = 64 * 64 + 64 + 64 * 10 + 10
    # affine maps 75 L + 10; circuits 4 L and weights L^2, or 4 L^2; rpz has phases, too, and one angle a block
    assert sizes == {
        ("MLP, 64 wide", "gelu"): whole,
        ("MLP, 64 wide", "tanh"): whole,
        ("MLP, a quarter", "gelu"): 75 * 15 + 10,
        ("MLP, a quarter", "tanh"): 75 * 15 + 10,
        ("HQKAN, a quarter", "pz"): 75 * 12 + 10 + 4 * 12 + 12**2,
        ("HQKAN, a quarter", "rpz"): 75 * 13 + 10 + 3 * 13 + 13**2,
        ("HQKAN, circuit per edge, a quarter", "pz"): 75 * 10 + 10 + 4 * 10**2,
        ("HQKAN, circuit per edge, a quarter", "rpz"): 75 * 11 + 10 + 3 * 11**2,
    }
    wider = (example.hqkan(64, 13, "pz"), example.hqkan_per_edge(64, 11, "pz"), example.mlp(64, 16, "tanh"))
    assert all(example.size(network) > whole / 4 for network in wider)


def test_parts_are_all_digits_once() -> None:
    parts = example.load_parts()
    assert [len(part.images) for part in parts] == [1079, 359, 359]
    rows = torch.cat([part.images for part in parts])
    assert len(rows.unique(dim=0)) == 1797
    assert (rows.min().item(), rows.max().item()) == (-1.0, 1.0)


def test_features_are_of_squares_of_the_image() -> None:
    torch.manual_seed(0)
    body = example.Body()
    images = torch.randn(3, 64)
    changed = images.clone()
    changed[:, 0] += 1  # the corner reaches the first 4 x 4 pixels, so the first 2 x 2 squares
    difference = (body(changed) - body(images)).view(3, 16, 4, 4).abs().amax((0, 1))
    assert difference[2:].max() == difference[:, 2:].max() == 0
    assert difference[0, 0] > 0


def test_the_best_epoch_counts() -> None:
    parts = example.load_parts()
    found = example.run(lambda: example.hqkan(64, 12, "pz"), parts, seed=0, rate=1e-2, epochs=8, body=False)
    assert found.validation_loss == min(found.curve)
    assert found.accuracy > 0.8
    assert len(found.curve) == 8


def test_table_and_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    example.main(
        [
            "--seeds",
            "1",
            "--tuning-seeds",
            "1",
            "--epochs",
            "1",
            "--rates",
            "1e-2",
            "--plot",
            str(picture),
            "--body",
            "none",
        ]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == list(example.candidates(64))
    for row in rows[2:]:
        assert row[2] in ("gelu, 0.01", "tanh, 0.01", "pz, 0.01", "rpz, 0.01")
        median, low, high = (float(number) for number in re.findall(r"([\d.]+)%", row[3]))
        assert 0 <= low == median == high <= 100
    assert picture.read_bytes()[:4] == b"\x89PNG"
