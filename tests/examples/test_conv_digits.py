"""The example of convolutions on digits, at toy size."""

import conv_digits as example
import equal_tuning
import pytest
import torch


def test_networks_have_one_size_and_ten_classes() -> None:
    room = equal_tuning.size(example.circuits(example.CHANNELS))
    for make in (example.plain, example.per_input):
        net = make(equal_tuning.widest(make, room))
        assert 0.85 * room < equal_tuning.size(net) <= room
        assert net(torch.rand(3, 8, 8)).shape == (3, 10)


def test_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "CHANNELS", 2)
    example.main(["--seeds", "1", "--tuning-seeds", "1", "--epochs", "1", "--rates", "1e-2"])
    rows = [line.split(" | ")[0].removeprefix("| ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == ["weights and ReLU", "QKANConv2d", "QKANConv2d, a circuit per input"]
