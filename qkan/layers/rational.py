"""GR-KAN: rational activations shared by groups of channels, and the MLP made of them (arXiv 2409.10594)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qkan.kernels.rational.api import BACKENDS, group_rational
from qkan.kernels.rational.types import Spec
from qkan.layers.init import normal_
from qkan.layers.options import check_dtype, check_input, not_dense, positive_int
from qkan.layers.rational_init import check_coefficients, get_fit, variance_gain

#: Activation modules that stand for a fit, for ``act_layer`` of :class:`GRKAN`.
_NAMED: dict[type[nn.Module], str] = {
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.ELU: "elu",
    nn.Mish: "mish",
    nn.Softplus: "softplus",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.Identity: "identity",
}


class GroupRational(nn.Module):
    """Trained rational activations P(x) / Q(x), one per group of neighbouring channels.

    P is a polynomial of degree m, Q = 1 + sum_j |b_j| |x|^j (``abs_terms``) or 1 + |sum_j b_j x^j| (``abs_sum``) one
    of degree n; see :mod:`qkan.kernels.rational.types`. Parameters: ``numerator`` (1 or num_groups, m + 1), a_0 .. a_m,
    and ``denominator`` (num_groups, n), b_1 .. b_n. They start as the best fit of a function on [-3, 3] for this very
    form.

    Args:
        channels: size of the dimension of channels.
        num_groups: groups, a divisor of ``channels``.
        order: (m, n), at most (8, 8).
        init: what the activation starts as: gelu, silu, relu, leaky_relu, elu, mish, softplus, tanh, sigmoid or
            identity.
        denominator: ``"abs_terms"`` or ``"abs_sum"``.
        share_numerator: whether all groups have one numerator, as in the published KAT.
        dim: of the channels: -1 (channels last) or 1 for images (batch, channels, ...), in any memory format.
        backend: ``"auto"``, the first that can run of ``"numba"`` (CPUs), ``"triton"`` (CUDA and ROCm) and ``"torch"``
            (everywhere), or one of them, or ``"reference"`` (the formula, slow); :meth:`explain_backend` says which.
        device, dtype: of the parameters. The output has the dtype of the input.

    Raises:
        ValueError, TypeError: an option outside its range, or groups that do not divide the channels.

    Examples:
        >>> import torch
        >>> from qkan import GroupRational
        >>> act = GroupRational(64, num_groups=8, init="silu")
        >>> act(torch.rand(5, 64)).shape
        torch.Size([5, 64])
    """

    def __init__(
        self,
        channels: int,
        num_groups: int = 8,
        order: tuple[int, int] = (5, 4),
        init: str = "gelu",
        denominator: str = "abs_terms",
        share_numerator: bool = True,
        *,
        dim: int = -1,
        backend: str = "auto",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = positive_int("channels", channels)
        groups = positive_int("num_groups", num_groups)
        if channels % groups:
            divisors = [k for k in range(1, channels + 1) if channels % k == 0 and k <= 64]
            raise ValueError(f"num_groups {groups} does not divide channels {channels}; use one of {divisors}")
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError(f"dim must be an int, got {type(dim).__name__}")
        check_dtype(dtype)
        self.num_groups, self.dim, self.backend = groups, dim, backend
        self.share_numerator = bool(share_numerator)
        self.spec = Spec(groups, order, denominator)
        get_fit(init, self.spec.order, denominator)
        self.init = init
        m, n = self.spec.order
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.numerator = nn.Parameter(torch.empty(1 if share_numerator else groups, m + 1, **factory))
        self.denominator = nn.Parameter(torch.empty(groups, n, **factory))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again as ``init``; nothing is random."""
        a, b = get_fit(self.init, self.spec.order, self.spec.denominator).tensors()
        with torch.no_grad():
            self.numerator.copy_(a.expand_as(self.numerator))
            self.denominator.copy_(b.expand_as(self.denominator))

    @property
    def backend(self) -> str:
        """What computes the activations; setting an unknown name raises ValueError."""
        return self._backend

    @backend.setter
    def backend(self, name: str) -> None:
        self._backend = BACKENDS.check(name)

    def explain_backend(self, x: Tensor) -> str:
        """Print and return which backend runs for inputs like ``x``, and why those before it do not."""
        text = BACKENDS.explain(self.backend, self.spec, (x, self.numerator, self.denominator))
        print(text)
        return text

    def part(self, channels: Tensor, groups: int) -> GroupRational:
        """The activations of some channels, (n,) places, in so many groups of neighbours.

        Raises:
            ValueError: a group of channels that did not have one activation.
        """
        owners = (channels.cpu() // (self.channels // self.num_groups)).view(groups, -1)
        if (owners != owners[:, :1]).any():
            raise ValueError(
                f"{len(channels)} of {self.channels} channels cannot keep their rational functions in {groups} groups; "
                f"keep all channels, or at most 8"
            )
        part = GroupRational(
            len(channels), groups, self.spec.order, self.init, self.spec.denominator, self.share_numerator,
            dim=self.dim, backend=self.backend, device=self.denominator.device, dtype=self.denominator.dtype,
        )  # fmt: skip
        rows = owners[:, 0].to(self.denominator.device)
        for name, own in self.named_parameters():
            values = own if name == "numerator" and self.share_numerator else own[rows]
            setattr(part, name, nn.Parameter(values.detach().clone(), requires_grad=own.requires_grad))
        return part

    def gain(self) -> float:
        """E[x^2] / E[F(x)^2] for x ~ N(0, 1) with the present coefficients, the mean over groups."""
        return variance_gain(self.spec, self.numerator, self.denominator)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activations to ``x``; same shape, dtype and memory format.

        Raises:
            ValueError: another number of channels, another device.
            TypeError: an input that is not floating point.
        """
        if not isinstance(x, Tensor) or x.layout is not torch.strided or x.is_nested:
            raise not_dense(x, "GroupRational")
        if not x.is_floating_point():
            raise TypeError(f"GroupRational needs a floating-point input, got {x.dtype}; convert it with x.float()")
        if not -x.dim() <= self.dim < x.dim() or x.shape[self.dim] != self.channels:
            shape = tuple(x.shape)
            raise ValueError(f"GroupRational needs {self.channels} channels at dimension {self.dim}, got shape {shape}")
        return group_rational(x, self.numerator, self.denominator, self.spec, dim=self.dim, backend=self.backend)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        found = [state_dict.get(prefix + name) for name in ("numerator", "denominator")]
        matrices = [tensor for tensor in found if isinstance(tensor, Tensor) and tensor.dim() == 2]
        if len(matrices) == 2:
            check_coefficients(matrices[0], matrices[1], f"state of {prefix.rstrip('.') or 'GroupRational'}")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        shared = "" if self.share_numerator else ", share_numerator=False"
        at = "" if self.dim == -1 else f", dim={self.dim}"
        form = f"order={self.spec.order}, init={self.init!r}, denominator={self.spec.denominator!r}"
        return f"{self.channels}, num_groups={self.num_groups}, {form}{shared}{at}"


class GRKAN(nn.Module):
    """Rational activation, linear map, rational activation, linear map, in place of an MLP: (..., C) to (..., out).

    Takes the arguments of timm's ``Mlp``, then its own. The first activation starts as the identity, the second as
    GELU. Weights are drawn with variance gain / fan-in, where the gain is that of the activation in front of them, so
    that a signal of unit variance keeps it (arXiv 2409.10594, section 4.4); biases start at zero. Dropout stands
    behind either activation.

    Args:
        in_features: last size of the input, or channels at dimension 1 with ``use_conv``.
        hidden_features, out_features: default ``in_features``.
        act_layer: an activation module (class, or partial of one) or a name: what the second activation starts as;
            None for ``init[1]``.
        norm_layer: a function from the hidden size to a module in front of the second linear map, or None.
        bias: of the linear maps, or one for each.
        drop: dropout probability, or one for each.
        use_conv: 1 x 1 convolutions over (batch, C, height, width) in place of linear maps.
        num_groups, order, denominator, share_numerator, backend: of the activations, as in :class:`GroupRational`.
        init: what both activations start as.
        generator: draws the weights; None for torch's default one.
        device, dtype: of all parameters.

    Raises:
        ValueError, TypeError: an option outside its range.

    Examples:
        >>> import torch
        >>> from qkan import GRKAN
        >>> GRKAN(64, 256, 64)(torch.rand(5, 64)).shape
        torch.Size([5, 64])
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        act_layer: Callable[..., nn.Module] | str | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        bias: bool | tuple[bool, bool] = True,
        drop: float | tuple[float, float] = 0.0,
        use_conv: bool = False,
        *,
        num_groups: int = 8,
        order: tuple[int, int] = (5, 4),
        init: tuple[str, str] = ("identity", "gelu"),
        denominator: str = "abs_terms",
        share_numerator: bool = True,
        backend: str = "auto",
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        hidden = positive_int("hidden_features", in_features if hidden_features is None else hidden_features)
        out = positive_int("out_features", in_features if out_features is None else out_features)
        self.hidden_features, self.out_features, self.use_conv = hidden, out, use_conv
        second = init[1] if act_layer is None else _name_of(act_layer)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        options: dict[str, Any] = {"dim": 1 if use_conv else -1, "backend": backend, **factory}

        def activation(size: int, name: str) -> GroupRational:
            return GroupRational(size, num_groups, order, name, denominator, share_numerator, **options)

        def linear(into: int, to: int, with_bias: bool) -> nn.Conv2d | nn.Linear:
            if use_conv:
                return _NormalConv2d(into, to, 1, bias=with_bias, **factory)
            return _NormalLinear(into, to, with_bias, **factory)

        biases, drops = pair(bias), pair(drop)
        self.act1, self.drop1 = activation(in_features, init[0]), nn.Dropout(drops[0])
        self.fc1 = linear(in_features, hidden, biases[0])
        self.act2, self.drop2 = activation(hidden, second), nn.Dropout(drops[1])
        self.norm = nn.Identity() if norm_layer is None else norm_layer(hidden).to(**factory)
        self.fc2 = linear(hidden, out, biases[1])
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start again: activations as ``init``, weights drawn to keep the variance, biases zero."""
        for activation, linear in ((self.act1, self.fc1), (self.act2, self.fc2)):
            activation.reset_parameters()
            # The gain of the coefficients just set, also where they have no values (on the meta device).
            fit = get_fit(activation.init, activation.spec.order, activation.spec.denominator)
            gain = fit.gain if isinstance(self.norm, nn.Identity) or linear is self.fc1 else 1.0
            std = math.sqrt(gain / activation.channels)
            _draw(linear, std, generator)
            if isinstance(linear, _NormalLinear | _NormalConv2d):
                linear.std = std  # of the next reset, also if it is that of the linear map alone
        reset_norm = getattr(self.norm, "reset_parameters", None)
        if callable(reset_norm):
            reset_norm()

    @property
    def backend(self) -> str:
        """What computes both activations; setting an unknown name raises ValueError."""
        return self.act1.backend

    @backend.setter
    def backend(self, name: str) -> None:
        self.act1.backend = self.act2.backend = name

    def explain_backend(self, x: Tensor) -> str:
        """Print and return which backend runs the activations for inputs like ``x``, and why others do not."""
        return self.act1.explain_backend(x)

    def init_weights(self) -> None:
        """As :meth:`reset_parameters`; timm calls it after it drew all linear maps of a network in its own way."""
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x`` (..., in_features), or (batch, in_features, height, width) with ``use_conv``.

        Raises:
            ValueError: another size.
            TypeError: an input that is not floating point.
        """
        if not self.use_conv:
            check_input(x, self.in_features, type(self).__name__)
        hidden = self.fc1(self.drop1(self.act1(x)))
        return self.fc2(self.norm(self.drop2(self.act2(hidden))))


def _draw(linear: nn.Linear | nn.Conv2d, std: float, generator: torch.Generator | None) -> None:
    """Draw weights from N(0, std^2) and set the bias to zero."""
    normal_(linear.weight, std, generator)
    if linear.bias is not None:
        with torch.no_grad():
            linear.bias.zero_()


class _NormalLinear(nn.Linear):
    """An nn.Linear that starts as in the GR-KAN around it, whoever resets it."""

    std: float | None = None

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        super().reset_parameters() if self.std is None else _draw(self, self.std, None)


class _NormalConv2d(nn.Conv2d):
    """An nn.Conv2d that starts as in the GR-KAN around it, whoever resets it."""

    std: float | None = None

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        super().reset_parameters() if self.std is None else _draw(self, self.std, None)


def pair(value: Any) -> tuple[Any, Any]:
    """Two values from one for both, or from a pair."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _name_of(act_layer: Callable[..., nn.Module] | str) -> str:
    """The function that an activation module computes.

    Raises:
        ValueError: a module that there is no fit of.
    """
    if isinstance(act_layer, str):
        return act_layer
    found = act_layer.func if isinstance(act_layer, functools.partial) else act_layer
    for kind, name in _NAMED.items():
        if isinstance(found, type) and issubclass(found, kind):
            return name
    known = ", ".join(f"nn.{kind.__name__}" for kind in _NAMED)
    raise ValueError(f"there is no rational fit of act_layer {found!r}; use one of {known}, or init=(first, second)")
