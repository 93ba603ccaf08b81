"""The gate maps of recurrent modules: from an input and a hidden state to the gates of an LSTM or a GRU."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from qkan.kan.jhcg import Affine, Latent, build_latent, reset_latent
from qkan.kan.network import QKAN
from qkan.kernels.backend_choice import chebyshev_plan, fourier_plan
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.host_sync import cannot_sync, largest
from qkan.kernels.recurrence.circuits_cpu import GateCircuits, Parameters, gate_circuits
from qkan.kernels.recurrence.types import GATES, Spec
from qkan.kernels.spectral.basis import Basis, Operands
from qkan.kernels.spectral.numba_coefficients import bounds
from qkan.layers.frozen import FrozenLayer
from qkan.layers.init import uniform_
from qkan.layers.kan_layer import KANLayer
from qkan.layers.options import CircuitOptions, positive_int
from qkan.layers.qkan_layer import QKANLayer
from qkan.rnn.inner_hooks import is_linear

Cell = Literal["lstm", "gru"]
#: Where no value can be read (under a compiler, in a CUDA graph), the number of Chebyshev terms is that for trained
#: pre-activation weights whose |w_l| sum up to so much more per repetition than at the start. Beyond, outputs are NaN.
UNREAD_GROWTH = 2.0
Bound = Callable[[], float]


class Gates(nn.Module):
    """The gates of a cell as a map of its input and its hidden state.

    Subclasses that are features and a matrix say so by :meth:`operands`; the engines of whole sequences run those. All
    others run step by step.
    """

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values."""
        raise TypeError(f"{type(self).__name__} does not say how its parameters are drawn")

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps (rows, inputs) contribute: (rows, gates), or (rows, latent)."""
        raise TypeError(f"{type(self).__name__} does not say what its inputs contribute")

    def prepare(self, steps: Tensor, bound: Bound, call: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
        """The gates before their activations, (batch, gates), of (inputs' part, h), for one step.

        Args:
            steps: what ``inputs`` made of the inputs of all time steps.
            bound: finds a bound on every |h| that comes.
            call: call the inner modules at every step, so that their hooks run.
        """
        raise TypeError(f"{type(self).__name__} does not say how it steps")

    def operands(self, steps: Tensor, bound: Bound) -> Operands | str:
        """What the hidden state contributes, as features and a matrix, or the reason why it is none."""
        return f"{type(self).__name__} is no matrix product over features of the hidden state"

    def like(self) -> Tensor:
        """A tensor of the dtype and on the device of the gates; where circuits are frozen it may be a buffer."""
        return next(chain(self.parameters(), self.buffers()))

    @property
    def encoder(self) -> Tensor | None:
        """(latent, h) weights of the map from the hidden state to what the features are taken of, if there is one."""
        return None


class QKANGates(Gates):
    """All gates as one QKAN layer over [x, h]: gates * hidden outputs."""

    bias: nn.Parameter | None

    def __init__(
        self, inputs: int, hidden: int, recurrent: int, bias: bool, options: CircuitOptions, cell: Cell = "lstm"
    ) -> None:
        super().__init__()
        widest, outputs = max(inputs, recurrent), GATES[cell] * hidden
        self.hidden_size = hidden
        self.input = QKANLayer(inputs, outputs, **_with_circuits_for(inputs, widest, options))
        self.hidden = QKANLayer(recurrent, outputs, **_with_circuits_for(recurrent, widest, options))
        self.register_parameter("bias", _gate_bias(hidden, cell, options) if bias else None)
        self.reset_parameters(options.get("generator"))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw slopes like nn.LSTM's weights and set the bias."""
        slope = 1 / math.sqrt(self.hidden_size)
        for layer in (self.input, self.hidden):
            layer.reset_parameters(generator, slope=slope)
        if self.bias is not None:
            _remember(self.bias, self.hidden_size)

    def like(self) -> Tensor:
        """As of :class:`Gates`."""
        theta = self._modules["hidden"]._parameters.get("theta")  # type: ignore[union-attr]
        return super().like() if theta is None else theta

    def inputs(self, x: Tensor) -> Tensor:
        """As of :class:`Gates`; with the bias."""
        if isinstance(self.input, QKANLayer):
            return self.input(x, offset=self.bias)
        y = self.input(x)  # frozen
        return y if self.bias is None else y + self.bias

    def prepare(self, steps: Tensor, bound: Bound, call: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
        """As of :class:`Gates`, in the order i, f, g, o."""
        hidden = self.prepare_hidden(bound, call)
        return lambda from_input, h: from_input + hidden(h)

    def prepare_hidden(self, bound: Bound, call: bool = False) -> Callable[[Tensor], Tensor]:
        """What the hidden state contributes to the gates, for one step; arguments as of :meth:`prepare`."""
        return (
            self.hidden if call or not isinstance(self.hidden, QKANLayer | FrozenLayer) else self.hidden.prepare(bound)
        )

    def one_node(
        self, x: Tensor, states: tuple[Tensor, ...], projection: Tensor | None, bound: Bound
    ) -> tuple[GateCircuits, Spec, Parameters] | None:
        """What :func:`qkan.kernels.recurrence.circuits_cpu.run` takes, where it applies; ``bound`` is one on |h|.

        It does for a circuit per edge with nothing behind it, all tensors on the CPU and of one dtype.
        """
        first, second = self._modules["input"], self._modules["hidden"]  # attributes of modules are slow
        if type(first) is not QKANLayer or type(second) is not QKANLayer:
            return None
        ansatz, reps = first.ansatz, first.reps
        if not (_bare(first) and _bare(second)) or second.ansatz is not ansatz or second.reps != reps:
            return None
        a, b = first._parameters, second._parameters
        theta_x, theta_h = a.get("theta"), b.get("theta")
        if theta_x is None or theta_h is None:  # parametrized or pruned by torch's own tools
            return None
        try:
            parameters = Parameters(
                theta_x, theta_h, a["preact_weight"], b["preact_weight"], a["preact_bias"], b["preact_bias"],
                self._parameters["bias"], projection,
            )  # fmt: skip
        except KeyError:  # the same of one of these
            return None
        dtype = theta_x.dtype
        for tensor in (x, *states, *parameters):
            if tensor is not None and tensor.dtype != dtype:
                return None
        if not numba_supported(x, *states, *parameters):
            return None
        p = parameters
        if (p.weight_x is None) != (p.weight_h is None) or (p.phase_x is None) != (p.phase_h is None):
            return None
        gates, width = GATES["lstm"] * self.hidden_size, states[0].shape[1]
        sizes = ((gates, x.shape[1]), (gates, width), (width, self.hidden_size))
        for tensor, size in zip((theta_x, theta_h, projection), sizes, strict=True):
            if tensor is not None and tensor.shape[:2] != size:  # kernels would read memory that is not its own
                raise ValueError(
                    f"a parameter of shape {tuple(tensor.shape)} does not fit {x.shape[1]} inputs, {width} states and "
                    f"{gates} gates"
                )
        kind, points, basis = "fourier", 2 * reps + 1, None
        whole = None
        if p.weight_x is not None:
            of_x, of_h = first.harmonics, second.harmonics
            whole = None if of_x is None or of_h is None else fourier_plan(max(of_x, of_h))
        if whole is not None:
            points = whole.points
        elif p.weight_x is not None and p.weight_h is not None:
            basis = _trained_basis(x, p.weight_x, p.weight_h, bound)
            if basis is None:
                return None
            kind, points = basis.name, basis.size
        given = (p.weight_x is not None, p.phase_x is not None, p.bias is not None)
        circuits = gate_circuits(ansatz, reps, kind, points, (gates, x.shape[1], width), given, dtype)
        spec = circuits.fourier if basis is None else Spec("lstm", basis, inputs=x.shape[1])
        return circuits, spec, parameters

    def joined(self, x: Tensor, bound: Bound) -> Operands | None:
        """Both parts and the bias as one map of [x, h], if they are features on one domain; ``bound`` is one on |h|.

        For the CPU: a mask is read. An input without edges may be NaN, which only its own layer leaves out.
        """
        if not _reads_all(self.input):
            return None
        if isinstance(self.hidden, FrozenLayer) and isinstance(self.input, FrozenLayer):
            parts = (self.input.operands(), self.hidden.operands())
            if isinstance(parts[0], str) or isinstance(parts[1], str) or parts[0].basis != parts[1].basis:
                return None
            return parts[0].concat_inputs(parts[1], self.bias)
        if not isinstance(self.hidden, QKANLayer) or not isinstance(self.input, QKANLayer):
            return None
        radius: float | None = None
        if self.hidden.harmonics is None or self.input.harmonics is None:
            own, others = bound(), largest(x)
            if others is None or others > 2 * own:  # so wide a domain would need many more terms for h
                return None
            radius = max(own, others)
        operands = self.input.operands(radius, concat_inputs=self.hidden, offset=self.bias)
        return None if isinstance(operands, str) else operands

    def operands(self, steps: Tensor, bound: Bound) -> Operands | str:
        """As of :class:`Gates`."""
        if not isinstance(self.hidden, QKANLayer | FrozenLayer):
            return f"its hidden part is a {type(self.hidden).__name__} and no QKANLayer"
        if not cannot_sync(steps) or not isinstance(self.hidden, QKANLayer):
            return self.hidden.operands(bound)
        # Nothing can be read here, so |h| <= 1 and a limit of w are taken for granted; beyond them the result is NaN.
        return self.hidden.operands(1.0, self.hidden.start_bandwidth + UNREAD_GROWTH * self.hidden.reps)


def _bare(layer: QKANLayer) -> bool:
    """Whether a layer is band-limited circuits, one an edge, and their sum."""
    own = layer._parameters
    return (
        layer.group is None
        and layer.readout == "z"
        and layer.ansatz.encoding_map == "identity"
        and layer.base_activation is None
        and layer.preact_trainable != "input"
        and layer.backend in ("auto", "spectral")
        and own.get("postact_weight", layer) is None  # missing: parametrized or pruned by torch's own tools
        and own.get("postact_bias", layer) is None
        and layer._buffers.get("edge_mask") is None
    )


def _trained_basis(x: Tensor, weight_x: Tensor, weight_h: Tensor, bound: Bound) -> Basis | None:
    """Chebyshev polynomials for trained pre-activations on one domain for x and h, if there is one for both."""
    x = x.detach().contiguous()
    own, (others, width_x) = bound(), bounds(x, weight_x.detach().contiguous())
    width_h = bounds(x[:0], weight_h.detach().contiguous())[1]
    if others > 2 * own or not math.isfinite(width_x + width_h):
        return None  # so wide a domain would need many more terms for h
    plan = chebyshev_plan(max(own, others), max(width_x, width_h), torch.finfo(x.dtype).eps)
    return None if isinstance(plan, str) else Basis("chebyshev", plan.points, plan.radius)


def _reads_all(layer: nn.Module) -> bool:
    """Whether no input of a layer has lost all of its edges."""
    if isinstance(layer, QKANLayer):
        return layer.edge_mask is None or bool(layer.edge_mask.any(0).all())
    return not isinstance(layer, FrozenLayer) or layer.reads is None or bool(layer.reads.all())


class _ToGates(Affine):
    """The decoder of a JHCG Net to the gates of an LSTM, whose bias lets a fresh cell remember."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights and set the bias."""
        uniform_(self.weight, self.bound, generator)
        if self.bias is not None:
            _remember(self.bias, self.out_features // GATES["lstm"])


class HybridGates(Gates):
    """The four gates as one JHCG Net: affine encoder of [x, h], latent network, affine decoder."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        recurrent: int,
        bias: bool,
        latent_features: int,
        latent: Latent,
        options: CircuitOptions,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.input_encoder = Affine(inputs, latent_features, bias, bound, options)
        self.hidden_encoder = Affine(recurrent, latent_features, False, bound, options)
        self.latent = build_latent(latent, latent_features, options)
        self.decoder = _ToGates(latent_features, 4 * hidden, bias, 1 / math.sqrt(latent_features), options)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw encoders, latent and decoder afresh and set the bias."""
        self.input_encoder.reset_parameters(generator)
        self.hidden_encoder.reset_parameters(generator)
        reset_latent(self.latent, generator)
        self.decoder.reset_parameters(generator)

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps add to the latent: (rows, latent)."""
        return self.input_encoder(x)

    @property
    def encoder(self) -> Tensor:
        """As of :class:`Gates`."""
        return self.hidden_encoder.weight

    def _latent_bound(self, steps: Tensor, bound: Bound) -> Bound:
        def latent_bound() -> float:
            reach = self.hidden_encoder.weight.detach().abs().sum(-1).max()
            return float(steps.detach().abs().max() + reach * bound()) if steps.numel() else 0.0

        return latent_bound

    def prepare(self, steps: Tensor, bound: Bound, call: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
        """As of :class:`Gates`, in the order i, f, g, o."""
        latent: Callable[[Tensor], Tensor] = self.latent
        if isinstance(self.latent, QKAN) and not call:
            latent = self.latent.prepare(self._latent_bound(steps, bound))
        return lambda from_input, h: self.decoder(latent(from_input + self.hidden_encoder(h)))

    def operands(self, steps: Tensor, bound: Bound) -> Operands | str:
        """As of :class:`Gates`, the decoder multiplied into the matrix."""
        if not is_linear(self.hidden_encoder) or not is_linear(self.decoder):
            return "its encoder or decoder is no nn.Linear"
        compute = torch.promote_types(self.decoder.weight.dtype, torch.float32)
        weight = self.decoder.weight.to(compute)
        bias: Tensor | None = None if self.decoder.bias is None else self.decoder.bias.to(compute)
        if isinstance(self.latent, QKAN | KANLayer):
            latent = self.latent.operands(self._latent_bound(steps, bound))
            return latent if isinstance(latent, str) else latent.then(weight, bias)
        base = {nn.Identity: "identity", nn.Tanh: "tanh"}.get(type(self.latent))
        if base is None:
            return f"its latent, {type(self.latent).__name__}, is a module that kernels do not know"
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return Operands(Basis("fourier", 0, base=base), weight.mT.unsqueeze(0), bias)


def _with_circuits_for(inputs: int, widest: int, options: CircuitOptions) -> CircuitOptions:
    """Options of one of the two parts: a number of circuits that only the wider part has inputs for is cut here."""
    group = options.get("group")
    if group is None or isinstance(group, str):
        return options
    return {**options, "group": min(positive_int("group", group, widest), inputs)}


def _gate_bias(hidden: int, cell: Cell, options: CircuitOptions) -> nn.Parameter:
    bias = nn.Parameter(torch.empty(GATES[cell] * hidden, device=options.get("device"), dtype=options.get("dtype")))
    _remember(bias, hidden)
    return bias


def _remember(bias: Tensor, hidden: int) -> None:
    """Zeros, and ones for the second gate, forget of an LSTM and update of a GRU, so that a fresh cell remembers."""
    with torch.no_grad():
        bias.zero_()
        bias[hidden : 2 * hidden] = 1.0
