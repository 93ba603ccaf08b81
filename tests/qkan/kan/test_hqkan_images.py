"""HQKAN over images, as timm's Mlp with ``use_conv``."""

import pytest
import torch
from torch import nn

from qkan import HQKAN


@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d])
def test_the_same_block_at_every_place(norm: type[nn.Module] | None) -> None:
    torch.manual_seed(0)
    images = HQKAN(6, 3, 5, None, norm, True, 0.0, True).eval()
    rows = HQKAN(6, 3, 5)
    rows.load_state_dict({k: v for k, v in images.state_dict().items() if not k.startswith("norm")})
    x = torch.rand(2, 6, 4, 7)
    expected = rows(x.movedim(1, -1)).movedim(-1, 1)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(images(given), expected, rtol=0, atol=1e-4 if norm else 1e-6)
    torch.testing.assert_close(images(x[0]) if norm is None else images(x[:1])[0], expected[0], rtol=0, atol=1e-4)


def test_other_inputs_are_refused() -> None:
    block = HQKAN(6, use_conv=True)
    for shape in ((2, 6), (2, 4, 7, 6), (1, 2, 6, 4, 7)):
        with pytest.raises(ValueError, match=r"with use_conv needs \(\[batch,\] 6, height, width\), got \("):
            block(torch.rand(shape))
    with pytest.raises(TypeError, match="needs a floating-point input"):
        block(torch.zeros(2, 6, 4, 7, dtype=torch.int64))
