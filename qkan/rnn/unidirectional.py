"""One direction of one recurrent layer: gates, an optional projection, and how they walk over a sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qkan.kan.jhcg import Affine
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.host_sync import cannot_sync, exporting, largest, tracing
from qkan.kernels.common.tensors import autocast_dtype, check_readable, without_autocast
from qkan.kernels.recurrence import api as recurrence
from qkan.kernels.recurrence import circuits_cpu
from qkan.kernels.recurrence.reference import gru_step, lstm_step, scan
from qkan.kernels.recurrence.types import Layout, Spec, Weights
from qkan.kernels.spectral.basis import Operands
from qkan.layers.options import CircuitOptions
from qkan.layers.qkan_layer import QKANLayer
from qkan.rnn.backend import ENGINES, Backend, whole_sequences
from qkan.rnn.gates import Cell, Gates, QKANGates
from qkan.rnn.inner_hooks import is_linear, run_setters
from qkan.rnn.second_walk import Held

#: (h, c) of an LSTM, (h,) of a GRU.
States = tuple[Tensor, ...]
Step = Callable[[Tensor, Any], Any]


class UnidirectionalRNN(nn.Module):
    """Gates and, with ``proj_size``, the projection of the hidden state.

    Args:
        gates: the gate map.
        hidden: hidden size.
        proj_size: size of the projection, 0 for none.
        options: of the layers; device, dtype and generator are used.
        cell: ``"lstm"`` or ``"gru"``.
    """

    def __init__(self, gates: Gates, hidden: int, proj_size: int, options: CircuitOptions, cell: Cell = "lstm") -> None:
        super().__init__()
        self.cell = cell
        self.gates = gates
        self.projection = Affine(hidden, proj_size, False, 1 / math.sqrt(hidden), options) if proj_size else None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values of gates and projection."""
        self.gates.reset_parameters(generator)
        if self.projection is not None:
            self.projection.reset_parameters(generator)

    def bound(self, h_0: Tensor) -> float:
        """A bound on every |h| that comes behind the initial state ``h_0``."""
        # |o tanh(c)| < 1, a projection stretches it by at most a row sum, and the caller's h_0 may be larger. A GRU's h
        # lies between the one before and a tanh.
        own = 1.0 if self.projection is None else float(self.projection.weight.detach().abs().sum(-1).max())
        reach = largest(h_0)  # of those that are finite: one NaN must not hide the others
        return math.inf if reach is None else max(own, reach)

    def forward(
        self, x: Tensor, layout: Layout, states: States, backend: Backend = "auto", chunk: int | None = None
    ) -> tuple[Tensor, States]:
        """Walk over sequences.

        Args:
            x: (rows, inputs), the inputs of all time steps, laid out as ``layout`` says.
            layout: of the rows.
            states: (h_0, c_0) or (h_0,), each (B, ...).
            backend: as of :class:`qkan.QKANLSTM`.
            chunk: keep nothing but the states every so many steps, and walk again in the backward pass; None keeps all.

        Returns:
            h of all steps, and the final states.

        Raises:
            ValueError: a backend asked for by name that cannot run; the message says why.
        """
        hooked = self._must_call()
        if chunk is None or chunk >= len(layout.sizes) or not torch.is_grad_enabled() or tracing():
            return self._walk(x, layout, states, backend, hooked)
        # Every chunk finds the same expansion again: the bound of the whole sequence holds for all.
        outputs: list[Tensor] = []
        offsets, order = layout.offsets, layout.order
        held, count = Held(self), len(states)
        starts = [order[k : k + chunk] for k in range(0, len(order), chunk)]
        for steps in starts:
            first, last = min(steps[0], steps[-1]), max(steps[0], steps[-1])
            part = Layout(layout.sizes[first : last + 1], layout.reverse)
            rows = x[offsets[first] : offsets[last + 1]]

            def walk(x: Tensor, *tensors: Tensor, part: Layout = part) -> tuple[Tensor, States]:
                with held.in_place(tensors[count:]):
                    return self._walk(x, part, tensors[:count], backend, hooked)

            out, states = checkpoint(walk, rows, *states, *held.tensors, use_reentrant=False)
            outputs.append(out)
        held.check_unwritten()
        if layout.reverse:
            outputs.reverse()
        return torch.cat(outputs), states

    def _must_call(self) -> bool:
        """Whether inner modules have to be called where engines would only read their parameters."""
        return run_setters(self) or (self.projection is not None and not is_linear(self.projection))

    def _walk(self, x: Tensor, layout: Layout, states: States, backend: Backend, hooked: bool) -> tuple[Tensor, States]:
        gates = self._modules["gates"]
        if self.cell == "lstm" and backend in ("auto", "numba") and isinstance(gates, QKANGates) and not hooked:
            found = self._one_node(gates, x, layout, states)
            if found is not None:
                return found
        check_readable(x, *states, *self.parameters())
        joined = None if hooked else self._joined(x, states[0], backend)
        if joined is not None:
            return self._run(joined, x, layout, states, "numba", inputs=x.shape[1])
        steps = self.gates.inputs(x)
        operands = self._operands(steps, states[0], backend, hooked)
        if isinstance(operands, Operands):
            return self._run(operands, steps, layout, states, str(backend))
        if backend in ENGINES:
            raise ValueError(f"backend {backend!r} cannot run this module: {operands}; use 'auto'")
        return scan(self.step(steps, states[0], hooked), steps, layout, states)

    def _one_node(self, gates: QKANGates, x: Tensor, layout: Layout, states: States) -> tuple[Tensor, States] | None:
        """The walk and all circuits as one node of the autograd graph, where the CPU's kernels can."""
        if not x.is_cpu or torch.is_autocast_enabled("cpu"):
            return None
        projection = None if self.projection is None else self.projection.weight
        found = gates.one_node(x, states, projection, lambda: self.bound(states[0]))
        if found is None:
            return None
        circuits, spec, parameters = found
        return circuits_cpu.run(circuits, spec, layout, x, states, parameters)

    def _operands(self, steps: Tensor, h_0: Tensor, backend: Backend, hooked: bool) -> Operands | str:
        """The gates as features and a matrix, or the reason why they run step by step."""
        if hooked:
            return "its modules have to be called at every step, for their hooks or a projection that is no nn.Linear"
        if not whole_sequences(backend):
            return f"backend {str(backend)!r} was asked for by name"
        if exporting():
            return "an exported program holds plain operations"
        hidden = getattr(self.gates, "hidden", None)
        trained = isinstance(hidden, QKANLayer) and hidden.harmonics is None
        if trained and self.projection is not None and cannot_sync(steps):
            return "its states are bounded by values of the projection, which cannot be read here"
        return self.gates.operands(steps, lambda: self.bound(h_0))

    def _joined(self, x: Tensor, h_0: Tensor, backend: Backend) -> Operands | None:
        """The gates as one map of [x, h] where the CPU's kernels walk: half as many operations to start."""
        if self.cell != "lstm" or backend not in ("auto", "numba") or not isinstance(self.gates, QKANGates):
            return None
        if not numba_supported(x, h_0) or autocast_dtype(x.dtype, x.device) is not None:
            return None
        return self.gates.joined(x, lambda: self.bound(h_0))

    def explain(self, x: Tensor, states: States, backend: Backend = "auto") -> str:
        """What runs for inputs like ``x`` (rows, inputs), and why."""
        hooked = self._must_call()
        with torch.no_grad():
            steps = self.gates.inputs(x)
            operands = self._operands(steps, states[0], backend, hooked)
            if isinstance(operands, str):
                return f"step by step: {operands}"
            spec, steps, weights = self._problem(operands, steps)
            return recurrence.ENGINES.explain(str(backend), spec, (steps, *weights))

    def _problem(self, operands: Operands, steps: Tensor, inputs: int = 0) -> tuple[Spec, Tensor, Weights]:
        compute = operands.matrix.dtype
        encoder, projection = self.gates.encoder, None if self.projection is None else self.projection.weight
        weights = Weights(
            operands.matrix,
            operands.bias,
            operands.activation_coeffs,
            None if encoder is None else encoder.to(compute),
            None if projection is None else projection.to(compute),
        )
        matmul_dtype = autocast_dtype(steps.dtype, steps.device)
        return Spec(self.cell, operands.basis, matmul_dtype, inputs), steps.to(compute), weights

    def _run(
        self, operands: Operands, steps: Tensor, layout: Layout, states: States, backend: str, inputs: int = 0
    ) -> tuple[Tensor, States]:
        dtype = steps.dtype
        spec, steps, weights = self._problem(operands, steps, inputs)
        if spec.basis.kind == "chebyshev" and weights.encoder is None and cannot_sync(steps):
            h_0, *others = states  # |h_0| <= 1 was taken for granted; beyond it polynomials go astray
            states = (torch.where(h_0.abs() <= spec.basis.radius, h_0, math.nan), *others)
        with without_autocast(steps.device):
            found = recurrence.run(
                spec, layout, steps, weights, *(state.to(steps.dtype) for state in states), backend=backend
            )
        outputs, *finals = (result.to(dtype) for result in found if result is not None)
        return outputs, tuple(finals)

    def step(self, steps: Tensor, h_0: Tensor, call: bool = False) -> Step:
        """One time step, states to states, with what depends on parameters alone computed once for all steps.

        Args:
            steps: what the gates' ``inputs`` made of the inputs of all time steps.
            h_0: the hidden state to start from.
            call: as of :meth:`qkan.rnn.gates.Gates.prepare`.
        """
        if self.cell == "gru":
            if not isinstance(self.gates, QKANGates):
                raise TypeError(f"a GRU needs gates whose parts come apart, {type(self.gates).__name__} has none")
            hidden = self.gates.prepare_hidden(lambda: self.bound(h_0), call)
            return lambda from_input, states: (gru_step(from_input, hidden(states[0]), states[0]),)
        gates, projection = self.gates.prepare(steps, lambda: self.bound(h_0), call), self.projection

        def step(from_input: Tensor, states: States) -> States:
            h, c = lstm_step(gates(from_input, states[0]), states[1])
            return (h if projection is None else projection(h)), c

        return step
