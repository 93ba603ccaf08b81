"""The example of colour matching, at toy size."""

import colour_matching as example
import equal_tuning
import pytest
import torch
from torch.nn import functional as F


def test_pairs_cannot_be_matched_by_a_map_of_colours() -> None:
    part = example.draw(16, torch.Generator().manual_seed(0))
    assert part.source.shape == part.target.shape == (16, 3, example.SIDE, example.SIDE)
    x, y = (image.movedim(1, -1).reshape(-1, 3).double() for image in (part.source, part.target))
    near = torch.cdist(x, x) + 10 * torch.eye(len(x), dtype=torch.float64)
    image = torch.arange(16).repeat_interleave(example.SIDE**2)
    near[image[:, None] == image] = 10  # of other images
    closest = near.min(1)
    same = closest.values < 0.02
    assert int(same.sum()) > 30
    assert float((y - y[closest.indices])[same].abs().mean()) > 0.05


def test_networks_start_alike_for_every_image_and_have_one_size() -> None:
    room = equal_tuning.size(example.HyperQKAN(example.WIDTH))
    images = example.draw(2, torch.Generator().manual_seed(0)).source
    for make in (example.HyperQKAN, example.HyperMLP, example.HyperAffine, example.Direct):
        model = make(equal_tuning.widest(make, room))
        assert 0.9 * room < equal_tuning.size(model) <= room
        y = model(images)
        assert y.shape == images.shape
        pixel = model(images[:, :, :1, :1].expand_as(images))  # nothing is written yet: the colour alone counts
        torch.testing.assert_close(y[:, :, 0, 0], pixel[:, :, 3, 5])


def test_angles_that_a_network_writes_are_trained() -> None:
    torch.manual_seed(0)
    model, part = example.HyperQKAN(4), example.draw(4, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(model.generator.write.weight)
    F.mse_loss(model(part.source), part.target).backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in model.parameters())


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    parts = tuple(example.draw(16, torch.Generator().manual_seed(seed)) for seed in range(3))
    monkeypatch.setattr(example, "load_parts", lambda: parts)
    monkeypatch.setattr(example, "WIDTH", 4)
    example.main(["--seeds", "1", "--tuning-seeds", "1", "--epochs", "1", "--rates", "1e-2"])
    rows = [line.split(" | ")[0].removeprefix("| ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[0] == "writes the angles of a QKAN"
    assert len(rows) == 5
