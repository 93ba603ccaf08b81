"""``qkan bench block``."""

import json
from pathlib import Path

import pytest

BLOCK = ["bench", "block", "--size", "2,3,8", "--heads", "2", "--rounds", "2", "--threads", "1"]


def test_blocks_are_measured_beside_the_mlp(qkan, tmp_path: Path) -> None:
    done = qkan(*BLOCK, "--latents", "log2", "--reps", "1", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "block.json").read_text())
    assert figures["command"] == "qkan bench block"
    names = ["block, MLP", "block, HQKAN log2", "MLP alone", "HQKAN alone, log2"]
    assert all(any(name in line for line in done.output.splitlines()) for name in names)
    assert "times the training step of the block, MLP (at most 1.2 is the aim" in done.output
    assert (tmp_path / "block.md").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heads", "3"], "8 channels do not divide into 3 heads"),
        (["--latents", "half"], "unknown latent 'half'; use one of log2, quarter, equal"),
        (["--latents", "log2,log2"], "'log2' is given twice"),
        (["--size", "2,3"], "is not three positive whole numbers B,T,C"),
    ],
)
def test_blocks_that_cannot_be_are_refused(qkan, tmp_path: Path, options: list[str], message: str) -> None:
    done = qkan(*BLOCK, *options, "--out", tmp_path)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
