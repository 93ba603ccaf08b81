"""One layer of a gated fast weight programmer: what is trained, and how it walks over sequences; see :mod:`.fwp`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qkan.kan.jhcg import Affine, JHCGNet
from qkan.kernels.backends import Backend
from qkan.kernels.common.tensors import without_autocast
from qkan.kernels.fast_weights.api import BACKENDS, run
from qkan.kernels.fast_weights.types import Spec
from qkan.kernels.recurrence.types import Layout
from qkan.layers.init import uniform_
from qkan.layers.options import CircuitOptions, base_function
from qkan.rnn.unidirectional import States

#: Initial logit of a gate: theta keeps 0.88 of itself at a step, as published.
GATE_BIAS = 2.0
#: Biases of A and B are drawn up to it where they program angles, whose standard deviation is about 1 radian then.
ANGLE_BIAS = math.sqrt(3)
#: With a gate per output, initial logits are spread by so much to both sides: half-lives of 1 to 38 steps.
GATE_SPREAD = 2.0


class Emitter(Affine):
    """The affine map whose last outputs are logits of gates; they start at :data:`GATE_BIAS`, whoever resets it.

    Args:
        in_features, bias, options: as of :class:`qkan.kan.jhcg.Affine`.
        spec: the fast layer.
    """

    def __init__(self, in_features: int, bias: bool, spec: Spec, options: CircuitOptions) -> None:
        self.spec = spec  # an affine map draws as it is made
        super().__init__(in_features, sum(spec.parts), bias, 1 / math.sqrt(in_features), options)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        super().reset_parameters(generator)
        if self.bias is not None:
            gates = self.spec.gates
            spread = GATE_SPREAD if gates > 1 else 0.0
            with torch.no_grad():
                if self.spec.ansatz is not None:
                    self.bias[:-gates] *= ANGLE_BIAS / self.bound
                self.bias[-gates:] = GATE_BIAS + torch.linspace(-spread, spread, gates)


class FastWeights(nn.Module):
    """One layer: encoder, slow network, and the weights that the fast layer does not get from it.

    Parameters: ``encoder`` (affine, inputs to L), ``slow`` (affine or JHCG Net, inputs to A, B and logits) and
    ``base_weight`` (L, outputs), None without a base branch.

    Args:
        inputs: size of x.
        spec: the fast layer; a linear one has a bias as its last input.
        slow: ``"linear"`` or ``"hqkan"``.
        base: name of the base activation, a function, or None.
        bias: of encoder and slow network.
        options: device, dtype and generator.
    """

    def __init__(
        self, inputs: int, spec: Spec, slow: str, base: str | None, bias: bool, options: CircuitOptions
    ) -> None:
        super().__init__()
        self.spec, self.base_activation = spec, base
        self.bias_input = spec.ansatz is None
        latent = spec.inputs - self.bias_input
        self.encoder = Affine(inputs, latent, bias, 1 / math.sqrt(inputs), options)
        self.slow: Emitter | JHCGNet
        if slow == "linear":
            self.slow = Emitter(inputs, bias, spec, options)
        else:
            circuits: CircuitOptions = {**options, "reps": 1}
            self.slow = JHCGNet(inputs, sum(spec.parts), bias=bias, **circuits)
            self.slow.decoder = Emitter(self.slow.latent_features, bias, spec, options)
        weight = torch.empty(latent, spec.outputs, device=options.get("device"), dtype=options.get("dtype"))
        self.base_weight = None if base is None else nn.Parameter(weight)
        self.reset_parameters(options.get("generator"))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        self.encoder.reset_parameters(generator)
        self.slow.reset_parameters(generator)
        if self.base_weight is not None:
            uniform_(self.base_weight, 1 / math.sqrt(len(self.base_weight)), generator)

    def forward(
        self, x: Tensor, layout: Layout, states: States, backend: Backend = "auto", chunk: int | None = None
    ) -> tuple[Tensor, States]:
        """Walk over sequences.

        Args:
            x: (rows, inputs), laid out as ``layout`` says.
            layout: of the rows.
            states: theta in front of the first step, (B, size).
            backend: as of :class:`QKANFWP`.
            chunk: not needed: pieces bound the memory.

        Returns:
            y of all steps (rows, outputs), and the final theta.
        """
        del chunk
        z, emitted, dtype = self.encoder(x), self.slow(x), x.dtype
        read = torch.cat((z, torch.ones_like(z[:, :1])), -1) if self.bias_input else z
        with without_autocast(x.device):
            y, theta = run(self.spec, layout, emitted.to(dtype), read.to(dtype), states[0].to(dtype), str(backend))
        base = base_function(self.base_activation)
        if base is not None and self.base_weight is not None:
            y = y + (base(z) @ self.base_weight).to(y.dtype)
        return y, (theta,)

    def explain(self, x: Tensor, states: States, backend: Backend = "auto") -> str:
        """What runs for inputs like ``x`` (rows, inputs), and why."""
        return BACKENDS.explain(str(backend), self.spec, (x, states[0]))
