"""QKAN-FWP: a slow network that programs, step by step, the angles of a fast QKAN layer (gated; arXiv 2605.06734).

A fast weight programmer remembers in weights, not in a hidden state. With z_t = E x_t + e the inputs of the fast layer,

    A_t, B_t, l_t = slow(x_t),    g_t = sigmoid(l_t),
    theta_t = g_t theta_(t-1) + (1 - g_t) A_t (x) B_t,
    y_t = phi(z_t; theta_t) + U base(z_t),

where A_t (rows, outputs) times B_t (inputs, angles) are the angles of all its circuits. What depends on x alone is one
batched call for all time steps; the rest is :mod:`qkan.kernels.fast_weights.api`.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from qkan._util.module_list import module_list
from qkan.kernels.backends import Backend
from qkan.kernels.circuits.ansatz import Ansatz, get_ansatz
from qkan.kernels.fast_weights.api import BACKENDS
from qkan.kernels.fast_weights.types import Spec
from qkan.layers.frequencies import PreactInit, check_preact_init, start_weights
from qkan.layers.options import CircuitOptions, base_function, check_dtype, positive_int
from qkan.rnn import nn_lstm_contract as sequence
from qkan.rnn.fast_weights import FastWeights
from qkan.rnn.lstm import Recurrent
from qkan.rnn.unidirectional import States


class QKANFWP(Recurrent):
    """A gated fast weight programmer whose fast layer is a QKAN layer, with the call contract of :class:`torch.nn.GRU`.

    A slow network reads x_t and emits a step of low rank for the angles of a fast layer, and a gate; the fast layer
    with the angles of that moment reads an affine map of x_t (arXiv 2605.06734). Its state are these angles. All steps
    of a sequence run at once, and memory does not grow with the fast layer's angles at every step.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout: as in nn.GRU; ``hidden_size`` counts the fast
            layer's outputs, ``bias`` is that of the encoder and of the slow network, the gate's included.
        latent_features: inputs of the fast layer, an affine map of x.
        fast: ``"circuit"``, or ``"linear"``: a weight and a bias instead of angles, the classical gated programmer.
        gate: ``"scalar"``, one gate for all outputs, as published; ``"output"``, one for each, whose initial half-lives
            go from 1 to 38 steps.
        slow: ``"linear"``, or ``"hqkan"``, a :class:`qkan.JHCGNet` with a QKAN latent.
        reps, ansatz, preact_init: of the circuits, as in :class:`qkan.QKANLayer`; frequencies stay as they start.
        base_activation: of the branch beside the circuits, whose weights are shared by all steps: a name as in
            :class:`qkan.QKANLayer`, or None for no such branch. A linear fast layer has none.
        backend: ``"numba"`` (CPU), ``"torch"``, ``"reference"`` (one step after the other) or ``"auto"``.
        generator: source of the initial values, or None for torch's own.
        device, dtype: of the parameters.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Examples:
        >>> import torch
        >>> from qkan import QKANFWP
        >>> fwp = QKANFWP(8, 32, batch_first=True)
        >>> output, theta = fwp(torch.randn(16, 50, 8))
        >>> output.shape, theta.shape
        (torch.Size([16, 50, 32]), torch.Size([1, 16, 256]))
        >>> next_output, theta = fwp(torch.randn(16, 1, 8), theta)
    """

    mode = "FWP"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        latent_features: int = 2,
        fast: Literal["circuit", "linear"] = "circuit",
        gate: Literal["scalar", "output"] = "scalar",
        slow: Literal["linear", "hqkan"] = "linear",
        reps: int = 1,
        ansatz: str | Ansatz = "pz",
        preact_init: PreactInit = "ones",
        base_activation: str | None = "silu",
        backend: Backend = "auto",
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, False)
        for name, value, known in (
            ("fast", fast, ("circuit", "linear")),
            ("gate", gate, ("scalar", "output")),
            ("slow", slow, ("linear", "hqkan")),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; use one of {', '.join(known)}")
        check_dtype(dtype)
        self.latent_features = positive_int("latent_features", latent_features)
        self.fast, self.gate, self.slow = fast, gate, slow
        gates = hidden_size if gate == "output" else 1
        if fast == "linear":
            self.spec, base_activation = Spec(latent_features + 1, hidden_size, gates), None
        else:
            self.spec = Spec(latent_features, hidden_size, gates, *_circuit(reps, ansatz, preact_init))
            base_function(base_activation)
        options: CircuitOptions = {"generator": generator, "device": device, "dtype": dtype}
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        layers = [FastWeights(size, self.spec, slow, base_activation, bias, options) for size in sizes]
        self.directions = cast("Any", module_list(layers))
        self.backend = backend

    def _use_backend(self, backend: Backend) -> None:
        if not isinstance(backend, str):
            raise TypeError(f"backend must be one of {', '.join(BACKENDS.names)}, got {type(backend).__name__}")
        BACKENDS.check(backend)

    def _like(self) -> Tensor:
        first: FastWeights = cast("Any", self.directions[0])
        return first.encoder.weight

    def _initial_states(self, batch: sequence.Batch, hx: States | None, like: Tensor) -> list[States]:
        count, width = len(self.directions), batch.sizes[0]
        if hx is not None:
            (theta,) = batch.unpack_states(hx, count, (self.spec.size,), like)
            return [(part,) for part in theta]
        return [(like.new_zeros(width, self.spec.size),)] * count

    def forward(
        self, input: Tensor | PackedSequence, state: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run over a sequence.

        Args:
            input: (T, B, input_size), (B, T, input_size) with ``batch_first``, (T, input_size) unbatched, or a
                PackedSequence.
            state: the fast weights in front of the first step, (num_layers, B, rows x angles x latent_features x
                hidden_size), without B if the input is unbatched; zeros if None.

        Returns:
            output, state: y of the last layer at every step, (T, B, hidden_size) or laid out as the input was; the fast
            weights behind the last step, to go on from.

        Raises:
            ValueError, RuntimeError, TypeError: as of :class:`qkan.QKANGRU`.
        """
        hx = None if state is None else sequence.check_states((state,), 1, type(self).__name__)
        output, states = self._run(input, hx)
        return output, states[0]

    def extra_repr(self) -> str:
        """What print(module) shows."""
        shown = [f"{name}={getattr(self, name)!r}" for name in ("latent_features", "fast", "gate", "slow")]
        return ", ".join([super().extra_repr(), *shown])


def _circuit(reps: int, ansatz: str | Ansatz, preact_init: PreactInit) -> tuple[Ansatz, int, tuple[float, ...]]:
    """What circuits of a fast layer are; the last are their frequencies.

    Raises:
        ValueError, TypeError: options that are none of a circuit, or an encoding that is not the identity.
    """
    chosen = get_ansatz(ansatz)
    chosen.program(reps)
    if chosen.encoding_map != "identity":
        raise ValueError(
            f"ansatz {chosen.name!r} encodes {chosen.encoding_map} x, which fast circuits cannot; use pz, rpz, real, "
            "mix or an Ansatz with encoding_map='identity'"
        )
    init = check_preact_init(preact_init, reps, chosen)
    if init == "auto":
        raise ValueError("preact_init 'auto' needs data, which fast circuits do not see; use ones, binary or ternary")
    return chosen, reps, tuple(start_weights(init, reps))
