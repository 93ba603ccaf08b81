"""JHCG Net: an affine encoder, a small latent network and an affine decoder; HQKAN is the one with a QKAN latent.

QKAN-LSTM: arXiv 2512.05049; HQKAN: arXiv 2509.14026.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from qkan.kan.network import QKAN
from qkan.layers.init import uniform_
from qkan.layers.kan_layer import KANLayer
from qkan.layers.options import CircuitOptions, LayerOptions, check_input, positive_int
from qkan.layers.qkan_layer import QKANLayer
from qkan.layers.rational import GRKAN, pair

Latent = str | Callable[[int], nn.Module]
#: Latents that are a :class:`qkan.KANLayer`, and its basis: free coefficients in the place of circuits.
BASES = {"fourier": "fourier", "rff": "rff", "spline": "bspline", "chebyshev": "chebyshev"}
#: Named latents. ``linear`` is no network at all: what is left is a low-rank affine map, the ablation of the circuit.
LATENTS = ("qkan", "gr-kan", *BASES, "mlp", "tanh", "linear")
#: Functions of an edge of a KANLayer latent, and the width of the hidden layer of an MLP latent, unless told otherwise.
TERMS = 8

#: Groups of a GR-KAN latent, as in the published KAT, or the most that divide a narrower latent.
GRKAN_GROUPS = 8


def default_latent_features(in_features: int) -> int:
    """ceil(log2 n), at least 1: the latent width of the original authors' code."""
    return max(1, math.ceil(math.log2(in_features)))


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of ``number`` that is at most ``limit``."""
    return next(divisor for divisor in range(min(number, limit), 0, -1) if number % divisor == 0)


def build_latent(latent: Latent, features: int, options: CircuitOptions, terms: int = TERMS) -> nn.Module:
    """A latent network from ``features`` to ``features``.

    Args:
        latent: one of :data:`LATENTS`, or a function from the width to a module.
        features: latent width.
        options: of the QKAN; another latent takes none but device, dtype and generator. ``gr-kan`` is a
            :class:`qkan.GRKAN` that starts as identity, linear map, SiLU, linear map, with as many groups as divide the
            width, at most 8; ``mlp`` has one hidden layer, tanh.
        terms: functions of an edge of the latents of :data:`BASES`, or the width of the hidden layer of ``mlp``.

    Raises:
        ValueError: an unknown name, terms that a basis cannot have, or circuit options for a latent without a circuit.
        TypeError: neither a name nor a function of the width.
    """
    if latent == "qkan":
        return QKAN.from_layers([QKANLayer(features, features, **options)])
    if not isinstance(latent, str) and (not callable(latent) or isinstance(latent, nn.Module)):
        kind = f"{type(latent).__name__}; give a function of the width, e.g. lambda width: nn.Linear(width, width)"
        raise TypeError(f"latent must be one of {', '.join(LATENTS)} or a callable, got {kind}")
    circuit_options = sorted(set(options) - {"generator", "device", "dtype"})
    unknown = set(circuit_options) - set(LayerOptions.__annotations__)
    if unknown:
        raise TypeError(f"unknown option {sorted(unknown)[0]!r}; options are {', '.join(LayerOptions.__annotations__)}")
    if isinstance(latent, str) and latent not in LATENTS:
        raise ValueError(f"unknown latent {latent!r}; use one of {', '.join(LATENTS)}, or a function of the width")
    if circuit_options:
        raise ValueError(f"latent {latent!r} has no circuit, so it cannot take {', '.join(circuit_options)}")
    if callable(latent):
        return latent(features)
    factory: dict[str, Any] = {key: options.get(key) for key in ("generator", "device", "dtype")}
    if latent in BASES:
        return KANLayer(features, features, BASES[latent], terms=terms, **factory)
    if latent == "mlp":
        first = Affine(features, positive_int("terms", terms), True, 1 / math.sqrt(features), options)
        return nn.Sequential(first, nn.Tanh(), Affine(terms, features, True, 1 / math.sqrt(terms), options))
    if latent == "gr-kan":
        groups = largest_divisor(features, GRKAN_GROUPS)
        return GRKAN(features, init=("identity", "silu"), num_groups=groups, **factory)
    return nn.Tanh() if latent == "tanh" else nn.Identity()


class Affine(nn.Linear):
    """An nn.Linear that draws weights and bias from U(-bound, bound), whoever resets it.

    Args:
        in_features, out_features, bias: as in nn.Linear.
        bound: of the initial values.
        options: device, dtype and generator are used.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool, bound: float, options: CircuitOptions) -> None:
        self.bound = bound  # nn.Linear draws as it is made
        super().__init__(in_features, out_features, bias, device=options.get("device"), dtype=options.get("dtype"))
        self.reset_parameters(options.get("generator"))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        for parameter in self.parameters():
            uniform_(parameter, self.bound, generator)


def reset_latent(latent: nn.Module, generator: torch.Generator | None) -> None:
    """Draw a latent network afresh: ours from ``generator``, others by their own ``reset_parameters``."""
    if isinstance(latent, GRKAN | KANLayer | Affine):  # GRKAN draws its linear maps itself
        latent.reset_parameters(generator)
        return
    for child in latent.children():
        reset_latent(child, generator)
    if isinstance(latent, QKANLayer):
        latent.reset_parameters(generator)
    elif callable(getattr(latent, "reset_parameters", None)):
        latent.reset_parameters()  # type: ignore[operator]


class JHCGNet(nn.Module):
    """Encoder (affine to a latent), latent network, decoder (affine): (..., in_features) to (..., out_features).

    Args:
        in_features, out_features: sizes of the last dimension.
        latent_features: latent width; default ceil(log2 in_features).
        latent: ``"qkan"``, ``"gr-kan"`` (see :func:`build_latent`); ``"fourier"``, ``"rff"``, ``"spline"`` or
            ``"chebyshev"``, a :class:`qkan.KANLayer` of 8 terms; ``"mlp"``, ``"tanh"``, ``"linear"`` (no latent
            network: a low-rank affine map); or a function from the latent width to a module.
        bias: whether encoder and decoder have one.
        options: keyword options of :class:`qkan.QKANLayer` for the QKAN latent; here ``base_activation`` is None
            unless given.

    Raises:
        ValueError, TypeError: a size, latent or option outside what is listed.

    Examples:
        >>> import torch
        >>> from qkan import JHCGNet
        >>> JHCGNet(16, 4, latent_features=5, latent="spline")(torch.rand(8, 16)).shape
        torch.Size([8, 4])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        latent_features: int | None = None,
        latent: Latent = "qkan",
        bias: bool = True,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        if latent_features is None:
            latent_features = default_latent_features(in_features)
        self.latent_features = positive_int("latent_features", latent_features)
        if latent == "qkan":
            options.setdefault("base_activation", None)
        self.encoder = Affine(in_features, latent_features, bias, 1 / math.sqrt(in_features), options)
        self.latent = build_latent(latent, latent_features, options)
        self.decoder = Affine(latent_features, out_features, bias, 1 / math.sqrt(latent_features), options)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        self.encoder.reset_parameters(generator)
        reset_latent(self.latent, generator)
        self.decoder.reset_parameters(generator)

    def init_weights(self) -> None:
        """As :meth:`reset_parameters`; timm calls it after it drew all linear maps of a network in its own way."""
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Apply encoder, latent and decoder to ``x`` (..., in_features).

        Raises:
            ValueError: another last size.
            TypeError: an input that is not floating point.
        """
        check_input(x, self.in_features, type(self).__name__)
        return self.decoder(self.latent(self.encoder(x)))


class HQKAN(JHCGNet):
    """A JHCG Net with a QKAN latent, to stand where an MLP block stands. It takes the arguments of timm's ``Mlp``.

    Args:
        in_features: last size of the input.
        hidden_features: latent width; default ceil(log2 in_features). timm asks for ``mlp_ratio`` times in_features, 4
            unless told otherwise; the latent has a circuit for each pair of its features.
        out_features: last size of the output; default in_features.
        act_layer: has no effect, since the circuits are the activations; here because timm passes one to every MLP.
        norm_layer: a function from the latent width to a module in front of the decoder, or None.
        bias: whether encoder and decoder have one.
        drop: dropout probability behind the latent and behind the decoder, or one for each.
        use_conv: for images (batch, in_features, height, width): the same block at every place, as 1 x 1 convolutions
            are; ``norm_layer`` then gets (batch, latent width, height, width).
        options: keyword options of :class:`qkan.QKANLayer`.

    Raises:
        ValueError, TypeError: a size, probability or option outside its range.

    Examples:
        >>> import torch
        >>> from qkan import HQKAN
        >>> block = HQKAN(64, 6)
        >>> block(torch.rand(2, 10, 64)).shape
        torch.Size([2, 10, 64])
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        act_layer: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        bias: bool = True,
        drop: float | tuple[float, float] = 0.0,
        use_conv: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        out_features = in_features if out_features is None else out_features
        super().__init__(in_features, out_features, latent_features=hidden_features, bias=bias, **options)
        self.norm = nn.Identity() if norm_layer is None else norm_layer(self.latent_features)
        self.norm.to(device=options.get("device"), dtype=options.get("dtype"))
        behind_latent, behind_decoder = pair(drop)
        self.use_conv = use_conv
        self.drop, self.out_drop = nn.Dropout(behind_latent), nn.Dropout(behind_decoder)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x`` (..., in_features), or (batch, in_features, height, width) with ``use_conv``.

        Raises:
            ValueError: another size.
            TypeError: an input that is not floating point.
        """
        if not self.use_conv:
            check_input(x, self.in_features, type(self).__name__)
            return self.out_drop(self.decoder(self.norm(self.drop(self.latent(self.encoder(x))))))
        if isinstance(x, Tensor) and (x.dim() not in (3, 4) or x.shape[-3] != self.in_features):
            raise ValueError(
                f"{type(self).__name__} with use_conv needs ([batch,] {self.in_features}, height, width), "
                f"got {tuple(x.shape)}"
            )
        x = x.movedim(-3, -1)
        check_input(x, self.in_features, type(self).__name__)
        latent = self.drop(self.latent(self.encoder(x)))
        latent = self.norm(latent.movedim(-1, -3)).movedim(-3, -1)
        return self.out_drop(self.decoder(latent)).movedim(-1, -3)
