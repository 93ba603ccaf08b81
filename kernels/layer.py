"""The circuits of a layer and what evaluates them: one ``backend`` name, one class."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels import backend_cost as cost
from qkan.kernels.backend_choice import LAYERS, Case, Choice, Plan, Radius, cheapest, explain, plan_expansion
from qkan.kernels.backends import (
    NO_EDGES,
    NO_TRANSFORMS,
    ON_CPU,
    Backend,
    Simulator,
    refuse,
    resolve_backend,
    triton_unsupported_reason,
)
from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.circuits.bloch import pytorch as bloch
from qkan.kernels.circuits.bloch import triton_gpu as bloch_triton
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.host_sync import tracing, transformed
from qkan.kernels.common.tensors import autocast_dtype, check_readable, fix_gradient_strides, without_autocast
from qkan.kernels.common.triton_device import KernelUnavailableError, warn_once
from qkan.kernels.edges.activations import BASES
from qkan.kernels.layer_node import one_node
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral.basis import Operands
from qkan.kernels.spectral.matmul import operands_sum


class CircuitLayer:
    """The circuits of a layer, ready to be applied to inputs once or many times.

    Computed in the dtype of ``theta``, at least in float32, also under autocast: angles need the digits. Only the
    matrix product of an expansion follows autocast or a narrower dtype of ``theta``.

    Args:
        theta: (outputs, inputs, rows, angles) in radians, (1, inputs, ...) for one circuit per input that serves all
            outputs of ``edge_weight``, or with leading dimensions equal to those of ``x`` (per-sample circuits).
        preact_weight, preact_bias: (outputs, inputs, reps), or (1, inputs, reps) for all outputs, or None for weight 1
            and bias 0.
        edge_weight: (outputs, inputs) weights of the sum over inputs, or None for ones.
        ansatz, reps, readout: the circuit and what is read from it.
        backend: one of :data:`qkan.kernels.backends.BACKENDS`, a simulator or its name. ``"auto"`` takes the one that
            :mod:`qkan.kernels.backend_cost` finds the cheapest.
        base: a name of :data:`qkan.kernels.spectral.basis.BASES` and weights (outputs, inputs): a base branch to add.
        offset: (outputs,) to add, or None.
        harmonics: at least the largest sum of |w_l| where pre-activation weights are whole numbers of which no gradient
            is asked: such a layer is a Fourier polynomial. None where they are not.

    Raises:
        ValueError: a backend asked for by name that cannot run; the message says why and what works.
    """

    def __init__(
        self,
        theta: Tensor,
        preact_weight: Tensor | None,
        preact_bias: Tensor | None,
        edge_weight: Tensor | None,
        *,
        ansatz: Ansatz,
        reps: int,
        readout: str = "z",
        backend: Backend = "auto",
        base: tuple[str, Tensor] | None = None,
        offset: Tensor | None = None,
        harmonics: int | None = None,
    ) -> None:
        self.dtype = theta.dtype
        self.theta, self.weight, self.bias, self.edge_weight = theta, preact_weight, preact_bias, edge_weight
        self.base, self.offset, self.harmonics = base, offset, harmonics
        self.compute = theta.dtype
        if theta.dtype not in (torch.float32, torch.float64):
            self.compute = torch.promote_types(theta.dtype, torch.float32)
            self._widen()
        self.ansatz, self.reps, self.readout = ansatz, reps, readout
        self.backend: Backend = backend if backend == "auto" else resolve_backend(backend)
        if backend == "spectral":
            reason = spectral.unsupported_reason(ansatz=ansatz, readout=readout, per_sample=theta.dim() > 4)
            refuse(str(backend), reason)

    def _widen(self) -> None:
        """Bring all tensors to the dtype that circuits are computed in."""
        self.theta = self.theta.to(self.compute)
        self.weight, self.bias, self.edge_weight, self.offset = (
            None if t is None else t.to(self.compute) for t in (self.weight, self.bias, self.edge_weight, self.offset)
        )
        self.base = None if self.base is None else (self.base[0], self.base[1].to(self.compute))

    def _fix_strides(self) -> None:
        """Give gradients the strides of their tensors, which operations on whole layers do not all keep."""
        base = None if self.base is None else self.base[1]
        check_readable(self.theta, self.weight, self.bias, self.edge_weight, base, self.offset)
        self.theta = fix_gradient_strides(self.theta)
        self.weight, self.bias = fix_gradient_strides(self.weight), fix_gradient_strides(self.bias)
        self.edge_weight = fix_gradient_strides(self.edge_weight)
        if self.base is not None:
            self.base = self.base[0], fix_gradient_strides(self.base[1])

    @property
    def _one_per_input(self) -> bool:
        """Whether one circuit per input serves several outputs."""
        return self.edge_weight is not None and self.edge_weight.shape[0] > self.theta.shape[-4]

    def _plan(self, x: Tensor | None, radius: Radius = None, **options: Any) -> Plan | str:
        return plan_expansion(
            self.theta,
            self.weight,
            ansatz=self.ansatz,
            reps=self.reps,
            readout=self.readout,
            harmonics=self.harmonics,
            x=x,
            radius=radius,
            **options,
        )

    def _triton_unsupported_reason(self, x: Tensor) -> str | None:
        return triton_unsupported_reason(x, self.ansatz, reps=self.reps, per_sample=self.theta.dim() > 4)

    def _case(self, x: Tensor, plan: Plan | str) -> Case:
        """What is asked of the engines for inputs ``x`` (..., inputs)."""
        outputs, inputs = self.theta.shape[-4:-2]
        work = cost.Work(
            samples=math.prod(x.shape[:-1]),
            inputs=inputs,
            outputs=outputs if self.edge_weight is None else self.edge_weight.shape[0],
            circuits=outputs * inputs,
            reps=self.reps,
            trained=self.weight is not None,
        )
        # Asked only where it may run: the question looks for the package, which every call on a CPU would pay for.
        ask = x.device.type != "cpu" or self.backend == "triton"
        triton = self._triton_unsupported_reason(x) if ask else ON_CPU
        if triton is None and self.backend == "auto" and transformed():
            triton = NO_TRANSFORMS
        return Case(work, x.device.type, plan, triton)

    def choose(self, x: Tensor) -> tuple[str, Plan | None]:
        """The backend that runs for inputs ``x`` (..., inputs), and the plan of its expansion, if it is one.

        Raises:
            ValueError: the backend asked for by name cannot run for such inputs.
        """
        if not isinstance(self.backend, str) or self.backend in ("bloch", "reference"):
            return str(self.backend), None
        case = self._case(x, "" if self.backend == "triton" else self._plan_for(x))
        plan = None if isinstance(case.plan, str) else case.plan
        if self.backend != "auto":
            (engine,) = (engine for engine in LAYERS.engines if engine.name == self.backend)
            reason = engine.unsupported_reason(case, (x,))
            # Circuits one by one run everywhere, but not where these kernels do not.
            refuse(self.backend, reason, "; use 'bloch' or 'auto'" if reason == case.plan else "")
        elif torch.compiler.is_compiling() or tracing():
            return ("bloch", None) if plan is None else ("spectral", plan)  # a compiler fuses the expansion
        backend = cheapest(case) if self.backend == "auto" else self.backend
        if backend == "triton" and transformed():
            backend = "bloch"  # the formula of the kernels, which have no rules for transforms
        return backend, plan if backend == "spectral" else None

    def _plan_for(self, x: Tensor) -> Plan | str:
        # No expansion runs on fewer points than three, so the range of fewer samples need not be read.
        if self.backend == "auto" and math.prod(x.shape[:-1]) < 3:
            return "there are fewer samples than points to expand on"
        return self._plan(x)

    def explain(self, x: Tensor) -> Choice:
        """What :meth:`choose` does and why, with what else was considered; same errors."""
        backend, plan = self.choose(x)
        if self.backend != "auto":
            return Choice(backend, "asked for by name", (), plan)
        if torch.compiler.is_compiling() or tracing():
            return Choice(backend, "a compiler fuses it" if plan is not None else str(self._plan_for(x)), (), plan)
        return explain(self._case(x, self._plan_for(x)))

    def expand_to_outputs(self, parameter: Tensor | None) -> Tensor | None:
        """Pre-activations that all outputs share, laid out for every output."""
        if parameter is None or parameter.shape[0] == self.theta.shape[-4]:
            return parameter
        return parameter.expand(self.theta.shape[-4], -1, -1)

    def expand(self, plan: Plan) -> spectral.Expansion | spectral.SumExpansion:
        """The layer without base branch and offset as an expansion; without the weights of one circuit per input."""
        edge_weight = None if self._one_per_input else self.edge_weight
        bias, weight = self.expand_to_outputs(self.bias), self.expand_to_outputs(self.weight)
        circuit: dict[str, Any] = {"ansatz": self.ansatz, "reps": self.reps}
        if plan.kind == "fourier" or self.weight is None or weight is None:
            return spectral.fourier(self.theta, bias, edge_weight, weight=weight, degree=plan.points // 2, **circuit)
        if plan.kind == "sums":
            return spectral.shared(self.theta, self.weight, self.bias, edge_weight, **circuit)
        circuit |= {"radius": plan.radius, "terms": plan.points}
        return spectral.chebyshev(self.theta, weight, bias, edge_weight, **circuit)

    def _expanded(self, plan: Plan, matmul_dtype: torch.dtype | None) -> Callable[[Tensor], Tensor]:
        """The layer by expansion: one matrix product, or activations and a linear map."""
        if (
            self._one_per_input
            and matmul_dtype is None
            and plan.kind != "sums"
            and numba_supported(self.theta, self.edge_weight)
        ):
            operands = self._as_operands(plan)
            return lambda x: operands_sum(x.reshape(-1, x.shape[-1]), operands).reshape(*x.shape[:-1], -1)
        expansion = self.expand(plan)
        if self._one_per_input:
            return lambda x: self._finish(x, self._mixed(expansion.activation(x)))
        return expansion.prepared(self.base, self.offset, matmul_dtype)

    def _mixed(self, activations: Tensor) -> Tensor:
        return activations if self.edge_weight is None else F.linear(activations, self.edge_weight)

    def _finish(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the base branch of x and the offset. Operations of PyTorch keep a copy of x, whose memory may go."""
        if self.base is None:
            return y if self.offset is None else y + self.offset
        name, weight = self.base
        return y + F.linear(BASES[name][0](x.clone()), weight, self.offset)

    def prepare(self, radius: Radius = None) -> Callable[[Tensor], Tensor]:
        """The layer as a function of x with everything computed that depends on parameters alone, whatever the batch.

        Args:
            radius: a bound on every |x| that will come, or a function that finds one (called only if it is needed):
                with it trained pre-activations can be expanded, too.
        """
        self._fix_strides()
        plan = self._plan(None, radius) if self.backend in ("auto", "spectral") else ""
        if isinstance(plan, str):
            if self.backend == "spectral":
                refuse(self.backend, plan)
            return self
        matmul_dtype = autocast_dtype(self.dtype, self.theta.device)
        with without_autocast(self.theta.device):
            run = self._expanded(plan, matmul_dtype)

        def prepared(x: Tensor) -> Tensor:
            with without_autocast(x.device):
                return run(x.to(self.compute)).to(self.dtype)

        return prepared

    def concat_inputs(self, other: CircuitLayer) -> CircuitLayer:
        """One layer of the inputs of both; they have the same outputs and options."""
        self._fix_strides()
        other._fix_strides()

        def both(name: str, dim: int) -> Tensor | None:
            mine, others = getattr(self, name), getattr(other, name)
            return None if mine is None else torch.cat((mine, others), dim)

        edge_weight = None
        if self.edge_weight is not None or other.edge_weight is not None:  # only one of two layers may be pruned
            edge_weight = torch.cat(
                [
                    c.theta.new_ones(c.theta.shape[-4:-2]) if c.edge_weight is None else c.edge_weight
                    for c in (self, other)
                ],
                1,
            )
        offsets = [offset for offset in (self.offset, other.offset) if offset is not None]
        whole = None not in (self.harmonics, other.harmonics)
        return CircuitLayer(
            torch.cat((self.theta, other.theta), -3),
            both("weight", 1),
            both("bias", 1),
            edge_weight,
            ansatz=self.ansatz,
            reps=self.reps,
            readout=self.readout,
            backend=self.backend,
            base=self.base and other.base and (self.base[0], torch.cat((self.base[1], other.base[1]), 1)),
            offset=None if not offsets else offsets[0] if len(offsets) == 1 else offsets[0] + offsets[1],
            harmonics=max(self.harmonics or 0, other.harmonics or 0) if whole else None,
        )

    def operands(self, radius: Radius = None, bandwidth: float | None = None) -> Operands | str:
        """The layer as features and a matrix, in the dtype that it computes in, or the reason why it is none.

        Args:
            radius: as of :meth:`prepare`.
            bandwidth: take it for the largest sum of |w_l| instead of reading that back from the device, and make the
                matrix NaN where it is larger: for compilers and CUDA graphs.
        """
        if self.backend not in ("auto", "spectral"):
            return f"backend {self.backend!r} was asked for by name"
        self._fix_strides()
        plan = self._plan(None, radius, sums=False, bandwidth=bandwidth)
        if isinstance(plan, str):
            return plan
        with without_autocast(self.theta.device):
            operands = self._as_operands(plan)
            if plan.kind == "chebyshev" and bandwidth is not None and self.weight is not None:
                within = self.weight.detach().abs().sum(-1).amax() <= bandwidth
                operands = operands._replace(matrix=torch.where(within, operands.matrix, math.nan))
        return operands

    def _as_operands(self, plan: Plan) -> Operands:
        """The whole layer by a plan other than sums of pre-activations."""
        expansion, activation_coeffs = self.expand(plan), None
        if isinstance(expansion, spectral.SumExpansion):
            raise ValueError("features at sums of pre-activations are no operands; plan without them")
        basis, matrix, constant = expansion.basis, expansion.matrix, expansion.constant
        if self._one_per_input and self.edge_weight is not None:
            activation_coeffs = torch.cat((constant.mT, matrix.squeeze(-1)))
            matrix = self.edge_weight.mT.unsqueeze(0)
            bias = matrix.new_zeros(matrix.shape[-1]) if self.offset is None else self.offset
        else:
            bias = constant.sum(0) if self.offset is None else constant.sum(0) + self.offset
        if self.base is not None:
            name, weight = self.base
            basis, matrix = replace(basis, base=name), torch.cat((matrix, weight.mT.unsqueeze(0)))
        return Operands(basis, matrix, bias, activation_coeffs)

    def __call__(self, x: Tensor) -> Tensor:
        """Sum over inputs, base branch and offset: (..., inputs) to (..., outputs), in the dtype of ``theta``."""
        y = one_node(self, x) if x.is_cpu and not torch.is_autocast_enabled("cpu") else None
        if y is not None:
            return y
        self._fix_strides()
        matmul_dtype = autocast_dtype(self.dtype, x.device)
        with without_autocast(x.device):
            x = x.to(self.compute)
            backend, plan = self.choose(x)
            if plan is not None:
                return self._expanded(plan, matmul_dtype)(x).to(self.dtype)
            of_triton = self._run_triton(x) if backend == "triton" else None
            if of_triton is not None:
                y = of_triton
            elif self._one_per_input:
                y = self._mixed(self._run(x, None, reduce=False).squeeze(-2))
            else:
                y = self._run(x, self.edge_weight, reduce=True)
            return self._finish(x, y).to(self.dtype)

    def edges(self, x: Tensor) -> Tensor:
        """What the circuits add to the outputs, without the sum: (..., inputs) to (..., outputs, inputs)."""
        if self.backend == "triton":
            refuse(self.backend, NO_EDGES)
        with without_autocast(x.device):
            x = x.to(self.compute, copy=True)  # as in _finish
            # Of many circuits per input an expansion keeps all features of all samples; auto does not spend that.
            plan = self.choose(x)[1] if self.backend == "spectral" or self.theta.shape[-4] == 1 else None
            if plan is None:
                y = self._run(x, None, reduce=False)
                return (y if self.edge_weight is None else y * self.edge_weight).to(self.dtype)
            y = self.expand(plan).edges(x)
            return (y * self.edge_weight if self._one_per_input and self.edge_weight is not None else y).to(self.dtype)

    def _run_triton(self, x: Tensor) -> Tensor | None:
        """The sum over inputs by the Triton kernels; None where nobody asked for them and they cannot be built."""
        flat, weight, bias = x.reshape(-1, x.shape[-1]), *map(self.expand_to_outputs, (self.weight, self.bias))
        circuit: dict[str, Any] = {"ansatz": self.ansatz, "reps": self.reps, "readout": self.readout}
        circuit["auto"] = self.backend == "auto"
        try:
            y = bloch_triton.circuits(flat, self.theta, weight, bias, self.edge_weight, **circuit)
        except KernelUnavailableError as error:
            if self.backend != "auto":
                raise
            warn_once(error.reason)
            return None
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def _run(self, x: Tensor, edge_weight: Tensor | None, *, reduce: bool) -> Tensor:
        lead, theta = x.shape[:-1], self.theta
        if theta.dim() > 4:
            theta = theta.expand(*lead, *theta.shape[-4:]).reshape(-1, *theta.shape[-4:])
        flat, ansatz, reps, readout = x.reshape(-1, x.shape[-1]), self.ansatz, self.reps, self.readout
        weight, bias = self.expand_to_outputs(self.weight), self.expand_to_outputs(self.bias)
        if self.backend == "reference" or isinstance(self.backend, Simulator):
            phi = reference.phi if isinstance(self.backend, str) else self.backend.phi
            y = phi(flat.clone().unsqueeze(-2), theta, weight, bias, ansatz=ansatz, reps=reps, readout=readout)
            y = y if edge_weight is None else y * edge_weight
            y = y.sum(-1) if reduce else y
        else:
            y = bloch.circuits(
                flat, theta, weight, bias, edge_weight, ansatz=ansatz, reps=reps, readout=readout, reduce=reduce
            )
        return y.reshape(*lead, *y.shape[1:])
