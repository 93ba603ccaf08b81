"""QKANConv2d: a convolution whose every weight is a single-qubit circuit, a :class:`qkan.QKANLayer` on patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from qkan.kernels.common.tensors import check_readable
from qkan.layers.options import LayerOptions, not_dense, positive_int
from qkan.layers.qkan_layer import QKANLayer

Size = int | tuple[int, int]
#: Ways to pad, and what torch.nn.functional.pad calls them.
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


class QKANConv2d(nn.Module):
    r"""A convolution of DARUAN edges: y_o(p) = sum_c sum_k phi_ock(x_c(p + k)), with the options of its edges.

    Shapes: input ([batch,] in_channels, height, width), output ([batch,] out_channels, ...) of the size that
    :class:`torch.nn.Conv2d` gives. Parameters: those of ``layers``, one :class:`qkan.QKANLayer` per group from
    in_channels / groups * kernel height * kernel width inputs, in the order of :func:`torch.nn.functional.unfold`, to
    out_channels / groups outputs.

    Padding adds zeros to the image, as it says, and an edge adds phi(0) for such a zero as for any other: unlike a
    weight times zero that need not be zero. So a border is seen as a black frame is, and the output is that of an
    unpadded convolution of the padded image, whatever the padding mode.

    Args:
        in_channels, out_channels: channels; ``groups`` divides both.
        kernel_size, stride, padding, dilation: a number or two (height, width); padding also ``"same"`` (stride 1) and
            ``"valid"``.
        groups: as in nn.Conv2d; groups run one after another.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        options: keyword options of :class:`qkan.QKANLayer`.

    A kernel of one pixel is the layer at every pixel; others copy every patch, kernel height * kernel width times the
    image.

    Raises:
        ValueError, TypeError: a size or option outside what is listed.

    Examples:
        >>> import torch
        >>> from qkan import QKANConv2d
        >>> conv = QKANConv2d(3, 8, 3, stride=2, padding=1, reps=2)
        >>> conv(torch.rand(4, 3, 16, 16)).shape
        torch.Size([4, 8, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        self.in_channels = positive_int("in_channels", in_channels)
        self.out_channels = positive_int("out_channels", out_channels)
        self.kernel_size = _two("kernel_size", kernel_size, 1)
        self.stride, self.dilation = _two("stride", stride, 1), _two("dilation", dilation, 1)
        self.groups, self.padding_mode = positive_int("groups", groups), padding_mode
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups {groups} must divide in_channels {in_channels} and out_channels {out_channels}; use a common "
                "divisor of both"
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"unknown padding_mode {padding_mode!r}; use one of {', '.join(PADDING_MODES)}")
        self.padding = padding if isinstance(padding, str) else _two("padding", padding, 0)
        self._pads = self._padding()
        inputs = in_channels // groups * self.kernel_size[0] * self.kernel_size[1]
        self.layers = nn.ModuleList(QKANLayer(inputs, out_channels // groups, **options) for _ in range(groups))

    def _padding(self) -> tuple[int, int, int, int]:
        """Left, right, top, bottom."""
        if isinstance(self.padding, str):
            if self.padding == "valid":
                return 0, 0, 0, 0
            if self.padding != "same":
                raise ValueError(f"unknown padding {self.padding!r}; use 'same', 'valid', a number or two")
            if self.stride != (1, 1):
                raise ValueError(f"padding 'same' needs stride 1, got {self.stride}; give padding as a number")
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            (top, bottom), (left, right) = ((each // 2, each - each // 2) for each in total)
            return left, right, top, bottom
        height, width = self.padding
        return width, width, height, height

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        layer: Any
        for layer in self.layers:
            layer.reset_parameters(generator)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` ([batch,] in_channels, height, width).

        Raises:
            ValueError: another shape, or an image that is smaller than the kernel or than what is to be padded.
            TypeError: an input that is no dense floating-point tensor.
        """
        if not isinstance(x, Tensor) or x.layout is not torch.strided or x.is_nested:
            raise not_dense(x, type(self).__name__)
        if not x.is_floating_point():
            raise TypeError(
                f"{type(self).__name__} needs a floating-point input, got {x.dtype}; convert it with x.float()"
            )
        if x.dim() not in (3, 4) or x.shape[-3] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__} needs ([batch,] {self.in_channels}, height, width), got {tuple(x.shape)}"
            )
        check_readable(x)
        images = x if x.dim() == 4 else x.unsqueeze(0)
        patches, size = self._patches(self._padded(images))
        of_groups = patches.chunk(self.groups, -1) if self.groups > 1 else (patches,)
        outputs = [layer(part) for layer, part in zip(self.layers, of_groups, strict=True)]
        y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
        y = y.transpose(1, 2).reshape(len(images), self.out_channels, *size)
        return y if x.dim() == 4 else y.squeeze(0)

    def _padded(self, images: Tensor) -> Tensor:
        if not any(self._pads):
            return images
        room = 0 if self.padding_mode == "circular" else -1 if self.padding_mode == "reflect" else None
        if room is not None and any(
            pad > size + room for pad, size in zip(self._pads, _twice(images.shape[:-3:-1]), strict=True)
        ):
            raise ValueError(
                f"padding {self.padding} of mode {self.padding_mode!r} is too large for images of "
                f"{images.shape[-2]} x {images.shape[-1]}; use less, or padding_mode='zeros'"
            )
        return F.pad(images, self._pads, PADDING_MODES[self.padding_mode])

    def _patches(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """All patches, (batch, places, in_channels * kernel height * kernel width), and height and width of places."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        height, width = ((n - r) // s + 1 for n, r, s in zip(images.shape[-2:], reach, self.stride, strict=True))
        if height < 1 or width < 1:
            raise ValueError(
                f"a kernel that reaches over {reach[0]} x {reach[1]} pixels needs images of at least that size, got "
                f"{images.shape[-2]} x {images.shape[-1]} with padding; use a smaller one, or more padding"
            )
        if self.kernel_size == (1, 1):
            images = images[..., :: self.stride[0], :: self.stride[1]]
            return images.flatten(2).transpose(1, 2), (height, width)
        return F.unfold(images, self.kernel_size, self.dilation, 0, self.stride).transpose(1, 2), (height, width)

    def extra_repr(self) -> str:
        """What print(conv) shows."""
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1), ("padding_mode", "zeros")):
            value = getattr(self, name)
            shown += "" if value == default else f", {name}={value!r}"
        return shown


def _twice(sizes: Any) -> list[int]:
    """Every size two times: for both of its sides."""
    return [int(size) for size in sizes for _ in range(2)]


def _two(name: str, value: Size, least: int) -> tuple[int, int]:
    """A number as height and width, or these two as they are.

    Raises:
        TypeError: neither.
        ValueError: below ``least``.
    """
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, (tuple, list)) or len(both) != 2:
        raise TypeError(f"{name} must be an int or two (height, width), got {value!r}")
    for number in both:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name} must be an int or two (height, width), got {value!r}")
        if number < least:
            raise ValueError(f"{name} {value!r} must be at least {least}")
    return int(both[0]), int(both[1])
