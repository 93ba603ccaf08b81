"""The gate maps of QKAN-LSTM and HQKAN-LSTM: from an input and a hidden state to the four gates of an LSTM."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qkan.hybrid import Latent, affine, build_latent, reset_affine, reset_latent
from qkan.layers import QKANLayer
from qkan.network import QKAN
from qkan.options import LayerOptions, positive_int

GateMap = Callable[[Tensor, Tensor], Tensor]
Bound = Callable[[], float]


class QKANGates(nn.Module):
    """The four gates as one QKAN layer of 4 hidden_size outputs over [x, h]."""

    def __init__(self, inputs: int, hidden: int, recurrent: int, bias: bool, options: LayerOptions) -> None:
        super().__init__()
        widest = max(inputs, recurrent)
        self.input = QKANLayer(inputs, 4 * hidden, **_with_circuits_for(inputs, widest, options))
        self.hidden = QKANLayer(recurrent, 4 * hidden, **_with_circuits_for(recurrent, widest, options))
        self.bias = _gate_bias(hidden, options) if bias else None
        self.reset_parameters(options.get("generator"))

    def reset_parameters(self, generator: torch.Generator | None) -> None:
        """Draw slopes like nn.LSTM's weights and set the bias."""
        slope = 2 / math.sqrt(self.hidden.out_features)
        for layer in (self.input, self.hidden):
            layer.reset_parameters(generator, slope=slope)
        if self.bias is not None:
            _remember(self.bias)

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps add to the gates: (steps, 4 hidden)."""
        y = self.input(x)
        return y if self.bias is None else y + self.bias

    def prepare(self, steps: Tensor, bound: Bound) -> GateMap:
        """The gates before their activations, (batch, 4 hidden) in the order i, f, g, o, of (inputs' part, h).

        Args:
            steps: what ``inputs`` made of the inputs of all time steps.
            bound: finds a bound on every |h| that comes.
        """
        hidden = self.hidden.prepare(bound)
        return lambda from_input, h: from_input + hidden(h)


class HybridGates(nn.Module):
    """The four gates as one JHCG Net: affine encoder of [x, h], latent network, affine decoder."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        recurrent: int,
        bias: bool,
        latent_features: int,
        latent: Latent,
        options: LayerOptions,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.input_encoder = affine(inputs, latent_features, bias, bound, options)
        self.hidden_encoder = affine(recurrent, latent_features, False, bound, options)
        self.latent = build_latent(latent, latent_features, options)
        self.decoder = affine(latent_features, 4 * hidden, False, 1 / math.sqrt(latent_features), options)
        self.decoder.register_parameter("bias", _gate_bias(hidden, options) if bias else None)

    def reset_parameters(self, generator: torch.Generator | None) -> None:
        """Draw encoders, latent and decoder afresh and set the bias."""
        bound = 2 / math.sqrt(self.decoder.out_features)
        reset_affine(self.input_encoder, bound, generator)
        reset_affine(self.hidden_encoder, bound, generator)
        reset_latent(self.latent, generator)
        reset_affine(self.decoder, 1 / math.sqrt(self.decoder.in_features), generator)
        if self.decoder.bias is not None:
            _remember(self.decoder.bias)

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps add to the latent: (steps, latent)."""
        return self.input_encoder(x)

    def prepare(self, steps: Tensor, bound: Bound) -> GateMap:
        """As of :class:`QKANGates`."""

        def latent_bound() -> float:
            reach = self.hidden_encoder.weight.detach().abs().sum(-1).max()
            return float(steps.detach().abs().max() + reach * bound()) if steps.numel() else 0.0

        latent = self.latent.prepare(latent_bound) if isinstance(self.latent, QKAN) else self.latent
        return lambda from_input, h: self.decoder(latent(from_input + self.hidden_encoder(h)))


def _with_circuits_for(inputs: int, widest: int, options: LayerOptions) -> LayerOptions:
    """Options of one of the two parts: a number of circuits that only the wider part has inputs for is cut here."""
    group = options.get("group")
    if group is None or isinstance(group, str):
        return options
    return {**options, "group": min(positive_int("group", group, widest), inputs)}


def _gate_bias(hidden: int, options: LayerOptions) -> nn.Parameter:
    bias = nn.Parameter(torch.empty(4 * hidden, device=options.get("device"), dtype=options.get("dtype")))
    _remember(bias)
    return bias


def _remember(bias: Tensor) -> None:
    """Zeros, and ones for the forget gate, so that a fresh cell remembers."""
    with torch.no_grad():
        bias.zero_()
        bias.view(4, -1)[1] = 1.0


Gates = QKANGates | HybridGates
