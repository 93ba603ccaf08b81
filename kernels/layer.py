"""The seam between layers and the ways to evaluate their circuits: one ``backend`` name, one class."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels import backend_cost as cost
from qkan.kernels.backend_choice import Choice, Plan, Radius, choose, plan_expansion
from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import Ansatz, get_ansatz
from qkan.kernels.circuits.bloch import pytorch as bloch
from qkan.kernels.circuits.bloch import triton_gpu as bloch_triton
from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.spectral import coefficients as spectral
from qkan.kernels.spectral import triton_gpu as spectral_triton
from qkan.kernels.spectral.basis import BASES
from qkan.kernels.spectral.matmul import operands_sum
from qkan.kernels.spectral.operands import Operands

READOUTS = ("z", "amplitude")
#: ``auto`` chooses between spectral, bloch and triton. ``reference`` is the slow ground truth; ``spectral-triton``, the
#: expansion in fused kernels, runs where it is asked for until it has been timed on a GPU.
BACKENDS = ("auto", "spectral", "spectral-triton", "bloch", "triton", "reference")
EXPANDED = ("spectral", "spectral-triton")


@runtime_checkable
class Simulator(Protocol):
    """Something outside the kernels that evaluates circuits; it may stand where the name of a backend does."""

    def check(self, ansatz: Ansatz, readout: str) -> None:
        """Raise an error if it cannot run such circuits at all."""

    def phi(
        self,
        x: Tensor,
        theta: Tensor,
        preact_weight: Tensor | None,
        preact_bias: Tensor | None,
        *,
        ansatz: Ansatz,
        reps: int,
        readout: str,
    ) -> Tensor:
        """Evaluate one circuit per element, with the arguments of :func:`qkan.kernels.circuits.statevector.phi`."""
        ...


Backend = str | Simulator
#: Simulators that have a name: who provides one enters it here.
SIMULATORS: dict[str, Callable[[], Simulator]] = {}


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with None if it can run here, else the reason why not."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    like = torch.empty(0, dtype=torch.float32, device=device)
    reasons = dict.fromkeys(BACKENDS[1:])
    return reasons | {
        "triton": _triton_unsupported_reason(like, get_ansatz("pz"), reps=1, per_sample=False),
        "spectral-triton": spectral_triton.unsupported_reason(like),
    }


def _triton_unsupported_reason(x: Tensor, ansatz: Ansatz, *, reps: int, per_sample: bool) -> str | None:
    return bloch_triton.unsupported_reason(
        ansatz=ansatz, reps=reps, device=x.device, dtype=x.dtype, per_sample=per_sample
    )


def resolve_backend(backend: Backend) -> Backend:
    """The simulator of that name, or what was given."""
    return SIMULATORS[backend]() if isinstance(backend, str) and backend in SIMULATORS else backend


def check_backend(backend: Backend, ansatz: Ansatz, readout: str, *, sums: bool = True) -> Backend:
    """Return ``backend`` if it is, or names, one that can run such circuits.

    Raises:
        ValueError: it does not, or no input would ever let it run. ``sums`` says whether inputs are summed over.
        TypeError: neither a name nor a simulator.
    """
    simulator = resolve_backend(backend)
    if isinstance(simulator, Simulator):
        simulator.check(ansatz, readout)
        return backend
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a name or a simulator such as PennyLane(), got {type(backend).__name__}")
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; use one of {', '.join((*BACKENDS, *SIMULATORS))}")
    if backend in EXPANDED:
        _refuse(backend, spectral.unsupported_reason(ansatz=ansatz, readout=readout, per_sample=False))
    if backend == "triton" and not sums:
        _refuse(backend, NO_EDGES)
    return backend


NO_EDGES = "its kernels always sum over inputs, and here every edge is asked for"


def _refuse(backend: str, reason: str | None, remedy: str = "; use 'bloch' or 'auto'") -> None:
    if reason is not None:
        raise ValueError(f"backend {backend!r} cannot run this layer: {reason}{remedy}")


def check_readout(readout: str) -> str:
    """Return ``readout`` if it names one.

    Raises:
        ValueError: it does not.
    """
    if readout not in READOUTS:
        raise ValueError(f"unknown readout {readout!r}; use z (the expectation <Z>) or amplitude (|alpha| - |beta|)")
    return readout


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """No autocast on ``device``, if it has one at all (the meta device has none)."""
    known = torch.amp.is_autocast_available(device.type)
    on = torch.compiler.is_compiling() or (known and torch.is_autocast_enabled(device.type))
    return torch.autocast(device.type, enabled=False) if known and on else nullcontext()


def autocast_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype | None:
    """The dtype of a matrix product with parameters of ``dtype``, if it is narrower than that of the features."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return dtype if dtype.itemsize < torch.float32.itemsize else None


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
        backend: one of :data:`BACKENDS`, a simulator or its name. ``"auto"`` takes the one that
            :mod:`qkan.kernels.backend_cost` finds the cheapest.
        base: a name of :data:`qkan.kernels.spectral.basis.BASES` and weights (outputs, inputs): a base branch to add.
        offset: (outputs,) to add, or None.

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
    ) -> None:
        self.dtype = theta.dtype
        self.compute = torch.promote_types(theta.dtype, torch.float32)
        self.theta = theta.to(self.compute)
        self.weight, self.bias, self.edge_weight, self.offset = (
            None if t is None else t.to(self.compute) for t in (preact_weight, preact_bias, edge_weight, offset)
        )
        self.base = None if base is None else (base[0], base[1].to(self.compute))
        self.ansatz, self.reps, self.readout, self.backend = ansatz, reps, readout, resolve_backend(backend)
        if backend in EXPANDED:
            _refuse(backend, spectral.unsupported_reason(ansatz=ansatz, readout=readout, per_sample=theta.dim() > 4))

    @property
    def _one_per_input(self) -> bool:
        """Whether one circuit per input serves several outputs."""
        return self.edge_weight is not None and self.edge_weight.shape[0] > self.theta.shape[-4]

    def _plan(
        self, x: Tensor | None, radius: Radius = None, *, sums: bool = True, bandwidth: float | None = None
    ) -> Plan | str:
        return plan_expansion(
            self.theta,
            self.weight,
            ansatz=self.ansatz,
            reps=self.reps,
            readout=self.readout,
            x=x,
            radius=radius,
            sums=sums,
            bandwidth=bandwidth,
        )

    def _triton_unsupported_reason(self, x: Tensor) -> str | None:
        return _triton_unsupported_reason(x, self.ansatz, reps=self.reps, per_sample=self.theta.dim() > 4)

    def choose(self, x: Tensor) -> Choice:
        """The backend that runs for inputs ``x`` (..., inputs), and why.

        Raises:
            ValueError: the backend asked for by name cannot run for such inputs.
        """
        samples = math.prod(x.shape[:-1])
        if self.backend == "triton":
            _refuse(self.backend, self._triton_unsupported_reason(x), remedy="")
        if self.backend == "spectral-triton":
            _refuse(self.backend, spectral_triton.unsupported_reason(x), remedy="")
        if self.backend not in ("auto", *EXPANDED):
            return Choice(str(self.backend), "asked for by name", (), None)
        # No expansion runs on fewer points than three, so the range of fewer samples need not be read.
        few = self.backend == "auto" and samples < 3
        plan = "there are fewer samples than points to expand on" if few else self._plan(x)
        if self.backend in EXPANDED:
            if isinstance(plan, Plan):
                return Choice(str(self.backend), "asked for by name", (), plan)
            _refuse(self.backend, plan)
        if torch.compiler.is_compiling():
            if isinstance(plan, Plan):
                return Choice("spectral", "a compiler fuses it", (), plan)
            return Choice("bloch", str(plan), (), None)
        # Asked only where it may run: the question looks for the package, which every call on a CPU would pay for.
        on_gpu = x.device.type == "cuda"
        triton = self._triton_unsupported_reason(x) if on_gpu else "its kernels run on CUDA and ROCm devices"
        outputs, inputs = self.theta.shape[-4:-2]
        work = cost.Work(
            samples=samples,
            inputs=inputs,
            outputs=outputs if self.edge_weight is None else self.edge_weight.shape[0],
            circuits=outputs * inputs,
            reps=self.reps,
            trained=self.weight is not None,
        )
        return choose(work, x.device.type, plan, triton)

    def spread(self, parameter: Tensor | None) -> Tensor | None:
        """Pre-activations that all outputs share, laid out for every output."""
        if parameter is None or parameter.shape[0] == self.theta.shape[-4]:
            return parameter
        return parameter.expand(self.theta.shape[-4], -1, -1)

    def expand(self, plan: Plan) -> spectral.Expansion | spectral.SumExpansion:
        """The layer without base branch and offset as an expansion; without the mix of one circuit per input."""
        edge_weight, circuit = (
            None if self._one_per_input else self.edge_weight,
            {"ansatz": self.ansatz, "reps": self.reps},
        )
        bias, weight = self.spread(self.bias), self.spread(self.weight)
        if self.weight is None or weight is None:
            return spectral.fourier(self.theta, bias, edge_weight, **circuit)  # type: ignore[arg-type]
        if plan.kind == "sums":
            return spectral.shared(self.theta, self.weight, self.bias, edge_weight, **circuit)  # type: ignore[arg-type]
        domain = {"radius": plan.radius, "terms": plan.points}
        return spectral.chebyshev(self.theta, weight, bias, edge_weight, **domain, **circuit)  # type: ignore[arg-type]

    def _expanded(self, plan: Plan, matmul_dtype: torch.dtype | None) -> Callable[[Tensor], Tensor]:
        """The layer by expansion: everything one matrix product, or activations and a linear map."""
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
        if self.base is not None:
            expansion = expansion.with_base(*self.base)
        return expansion.prepared(self.offset, matmul_dtype, fused=self.backend == "spectral-triton")

    def _mixed(self, activations: Tensor) -> Tensor:
        return F.linear(activations, self.edge_weight)  # type: ignore[arg-type]

    def _finish(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the base branch of x and the offset."""
        if self.base is None:
            return y if self.offset is None else y + self.offset
        name, weight = self.base
        return y + F.linear(BASES[name][0](x), weight, self.offset)

    def prepare(self, radius: Radius = None) -> Callable[[Tensor], Tensor]:
        """The layer as a function of x with everything computed that depends on parameters alone, whatever the batch.

        Args:
            radius: a bound on every |x| that will come, or a function that finds one (called only if it is needed):
                with it trained pre-activations can be expanded, too.
        """
        plan = self._plan(None, radius) if self.backend in ("auto", *EXPANDED) else ""
        if isinstance(plan, str):
            if self.backend in EXPANDED:
                _refuse(self.backend, plan)
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
        return CircuitLayer(
            both("theta", -3),  # type: ignore[arg-type]
            both("weight", 1),
            both("bias", 1),
            edge_weight,
            ansatz=self.ansatz,
            reps=self.reps,
            readout=self.readout,
            backend=self.backend,
            base=self.base and other.base and (self.base[0], torch.cat((self.base[1], other.base[1]), 1)),
            offset=None if not offsets else offsets[0] if len(offsets) == 1 else offsets[0] + offsets[1],
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
        expansion, shape = self.expand(plan), None
        if isinstance(expansion, spectral.SumExpansion):
            raise ValueError("features at sums of pre-activations are no operands; plan without them")
        basis, matrix, constant = expansion.basis, expansion.matrix, expansion.constant
        if self._one_per_input and self.edge_weight is not None:
            shape = torch.cat((constant.mT, matrix.squeeze(-1)))
            matrix = self.edge_weight.mT.unsqueeze(0)
            bias = matrix.new_zeros(matrix.shape[-1]) if self.offset is None else self.offset
        else:
            bias = constant.sum(0) if self.offset is None else constant.sum(0) + self.offset
        if self.base is not None:
            name, weight = self.base
            basis, matrix = replace(basis, base=name), torch.cat((matrix, weight.mT.unsqueeze(0)))
        return Operands(basis, matrix, bias, shape)

    def __call__(self, x: Tensor) -> Tensor:
        """Sum over inputs, base branch and offset: (..., inputs) to (..., outputs), in the dtype of ``theta``."""
        matmul_dtype = autocast_dtype(self.dtype, x.device)
        with without_autocast(x.device):
            x = x.to(self.compute)
            choice = self.choose(x)
            if choice.plan is not None:
                return self._expanded(choice.plan, matmul_dtype)(x).to(self.dtype)
            if choice.backend == "triton":
                y = self._run_triton(x)
            elif self._one_per_input:
                y = self._mixed(self._run(x, None, reduce=False).squeeze(-2))
            else:
                y = self._run(x, self.edge_weight, reduce=True)
            return self._finish(x, y).to(self.dtype)

    def edges(self, x: Tensor) -> Tensor:
        """What the circuits add to the outputs, without the sum: (..., inputs) to (..., outputs, inputs)."""
        if self.backend == "triton":
            _refuse(self.backend, NO_EDGES)
        with without_autocast(x.device):
            x = x.to(self.compute)
            # Of many circuits per input an expansion keeps all features of all samples; auto does not spend that.
            plan = self.choose(x).plan if self.backend in EXPANDED or self.theta.shape[-4] == 1 else None
            if plan is None:
                y = self._run(x, None, reduce=False)
                return (y if self.edge_weight is None else y * self.edge_weight).to(self.dtype)
            y = self.expand(plan).edges(x)
            return (y * self.edge_weight if self._one_per_input and self.edge_weight is not None else y).to(self.dtype)

    def _run_triton(self, x: Tensor) -> Tensor:
        weight, bias = self.spread(self.weight), self.spread(self.bias)
        options = {"ansatz": self.ansatz, "reps": self.reps, "readout": self.readout}
        flat = x.reshape(-1, x.shape[-1])
        y = bloch_triton.circuits(flat, self.theta, weight, bias, self.edge_weight, **options)  # type: ignore[arg-type]
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def _run(self, x: Tensor, edge_weight: Tensor | None, *, reduce: bool) -> Tensor:
        lead, theta = x.shape[:-1], self.theta
        if theta.dim() > 4:
            theta = theta.expand(*lead, *theta.shape[-4:]).reshape(-1, *theta.shape[-4:])
        flat = x.reshape(-1, x.shape[-1])
        options = {"ansatz": self.ansatz, "reps": self.reps, "readout": self.readout}
        weight, bias = self.spread(self.weight), self.spread(self.bias)
        if self.backend == "reference" or isinstance(self.backend, Simulator):
            phi = reference.phi if isinstance(self.backend, str) else self.backend.phi
            y = phi(flat.unsqueeze(-2), theta, weight, bias, **options)  # type: ignore[arg-type]
            y = y if edge_weight is None else y * edge_weight
            y = y.sum(-1) if reduce else y
        else:
            y = bloch.circuits(flat, theta, weight, bias, edge_weight, reduce=reduce, **options)  # type: ignore[arg-type]
        return y.reshape(*lead, *y.shape[1:])
