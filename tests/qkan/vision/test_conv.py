"""QKANConv2d against sums over its edges, and against nn.Conv2d in its sizes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import QKANConv2d, QKANLayer

CASES = [
    {"kernel_size": 1},
    {"kernel_size": 1, "stride": 2, "groups": 2},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)},
    {"kernel_size": 3, "groups": 2, "padding": "same", "dilation": 2},
    {"kernel_size": (2, 4), "padding": "same"},
    {"kernel_size": 3, "padding": "valid"},
    {"kernel_size": 3, "padding": (1, 2), "padding_mode": "reflect"},
    {"kernel_size": 3, "padding": 1, "padding_mode": "circular", "groups": 4},
    {"kernel_size": 3, "padding": 2, "padding_mode": "replicate"},
]


def conv(**options: Any) -> QKANConv2d:
    torch.manual_seed(0)
    return QKANConv2d(4, 8, reps=2, dtype=torch.float64, **options)


def images() -> Tensor:
    return torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def naive(layer: QKANConv2d, x: Tensor) -> Tensor:
    """Every edge at every place, by shifting the padded image: y_o(p) = sum_c sum_k phi_ock(x_c(p + k))."""
    reference = nn.Conv2d(4, 8, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    mode = {"zeros": "constant"}.get(layer.padding_mode, layer.padding_mode)
    x = F.pad(x, reference._reversed_padding_repeated_twice, mode)
    rows = [(n - d * (k - 1) - 1) for n, d, k in zip(x.shape[2:], layer.dilation, layer.kernel_size, strict=True)]
    groups = []
    for group, channels in zip(layer.layers, x.chunk(layer.groups, 1), strict=True):
        inputs = [
            channels[:, c, i * layer.dilation[0] :, j * layer.dilation[1] :][
                :, : rows[0] + 1 : layer.stride[0], : rows[1] + 1 : layer.stride[1]
            ]
            for c in range(channels.shape[1])
            for i in range(layer.kernel_size[0])
            for j in range(layer.kernel_size[1])
        ]
        edges = group.edge_outputs(torch.stack(inputs, -1))  # (batch, height, width, out, in)
        groups.append(edges.sum(-1).movedim(-1, 1))
    return torch.cat(groups, 1)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # of nn.Conv2d
@pytest.mark.parametrize("options", CASES, ids=str)
def test_outputs_and_gradients_are_sums_over_edges(options: dict[str, Any]) -> None:
    layer, x, other = conv(**options), images().requires_grad_(), images().requires_grad_()
    y, want = layer(x), naive(layer, other)
    plain = nn.Conv2d(4, 8, **options, dtype=torch.float64)
    assert y.shape == plain(x).shape
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    trained = list(layer.parameters())
    found = torch.autograd.grad(y.sin().sum(), [x, *trained])
    for one, expected in zip(found, torch.autograd.grad(want.sin().sum(), [other, *trained]), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-11)


def test_one_pixel_is_the_layer_at_every_pixel() -> None:
    layer, x = conv(kernel_size=1), images()
    inner = layer.layers[0]
    assert isinstance(inner, QKANLayer)
    torch.testing.assert_close(layer(x), inner(x.movedim(1, -1)).movedim(-1, 1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer(x[0]), layer(x)[0], rtol=1e-12, atol=1e-12)


def test_padding_shows_edges_a_zero_and_not_nothing() -> None:
    layer, x = conv(kernel_size=3, padding=1), images()
    black = F.pad(x, (1, 1, 1, 1))
    inside = conv(kernel_size=3)
    assert torch.equal(layer(x), inside(black))
    at_zero = layer.layers[0].edge_outputs(torch.zeros(1, 36, dtype=torch.float64))
    assert float(at_zero.detach().abs().max()) > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 3, "groups": 3}, "groups 3 must divide in_channels 4 and out_channels 8"),
        ({"kernel_size": 0}, "kernel_size 0 must be at least 1"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size must be an int or two \(height, width\), got \(3, 3, 3\)"),
        ({"kernel_size": 3, "stride": 1.5}, "stride must be an int or two"),
        ({"kernel_size": 3, "padding": -1}, "padding -1 must be at least 0"),
        ({"kernel_size": 3, "padding": "full"}, "unknown padding 'full'; use 'same', 'valid', a number or two"),
        ({"kernel_size": 3, "padding": "same", "stride": 2}, r"padding 'same' needs stride 1, got \(2, 2\)"),
        ({"kernel_size": 3, "padding_mode": "mirror"}, "unknown padding_mode 'mirror'; use one of zeros, reflect"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        conv(**options)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"kernel_size": 3}, (2, 3, 5, 6), r"needs \(\[batch,\] 4, height, width\), got \(2, 3, 5, 6\)"),
        ({"kernel_size": 3}, (4, 2, 6), "reaches over 3 x 3 pixels needs images of at least that size, got 2 x 6"),
        ({"kernel_size": 3, "dilation": 3}, (1, 4, 5, 9), "reaches over 7 x 7 pixels"),
        ({"kernel_size": 1, "padding": 5, "padding_mode": "reflect"}, (1, 4, 5, 9), "too large for images of 5 x 9"),
        ({"kernel_size": 1, "padding": 6, "padding_mode": "circular"}, (1, 4, 5, 9), "padding .* too large"),
    ],
)
def test_images_that_do_not_fit(options: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conv(**options)(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            torch.zeros(1, 4, 5, 5).long(),
            r"needs a floating-point input, got torch\.int64; convert it with x\.float\(\)",
        ),
        (torch.zeros(1, 4, 5, 5).numpy(), "needs a torch.Tensor, got ndarray"),
        (torch.zeros(1, 4, 5, 5).to_sparse(), "needs a dense tensor, got one of layout torch.sparse_coo"),
    ],
)
def test_inputs_that_are_no_images(wrong: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        conv(kernel_size=3)(wrong)
