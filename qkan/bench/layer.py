"""What a QKAN layer is measured against: every backend, Linear, the MLP of its size, other people's layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.bench import contest
from qkan.bench.contest import Contestant, Entry, Errors, Prepared
from qkan.bench.measure import Limits, Step, draw, free_bytes
from qkan.kernels import dispatch
from qkan.kernels.ansatz import get_ansatz
from qkan.layers import QKANLayer

MLP = "MLP"
#: Largest errors by dtype, for one input and one repetition: of an output, and of a gradient over its largest entry.
#: Rounding grows with the square root of the circuits' gates, so both are multiplied by sqrt(repetitions), and with
#: that of the inputs that an output sums. About ten times what the backends reach.
TOLERANCES = {"float64": (2e-14, 2e-12), "float32": (5e-6, 3e-5), "bfloat16": (2e-2, 2e-2)}
#: Elements (samples x outputs x inputs x repetitions) that are compared with the reference, spread over the work.
CHECKED_ELEMENTS = 2**19
_CHECKED_SAMPLES = 16  # before fewer outputs are compared, not fewer samples
_JITTER = 0.1  # of pre-activation weights around 1 and biases around 0, as after some training
_ACOS_BOUND = 0.8  # with the jitter, arguments of acos stay inside [-1, 1]


class Size(NamedTuple):
    """Of a layer and its batch."""

    batch: int
    in_features: int
    out_features: int
    reps: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.in_features} to {self.out_features}, R = {self.reps}"


@dataclass(frozen=True)
class Options:
    """What is measured, and how.

    Attributes:
        preacts: ``"fixed"``, ``"trained"`` or both.
        inputs: ``"uniform"`` on [-1, 1] or standard ``"normal"``. Trained pre-activations are expanded up to the
            largest input, so they cost more where it is larger.
        ansatz, dtype: of the layer, by name.
        device: where everything runs.
        threads: of PyTorch on the CPU.
        rounds: timed steps of a contestant; fewer of a slow one.
        limit: seconds that a contestant may take at one size.
        backends: by name.
        seed: of parameters and inputs.
    """

    preacts: tuple[str, ...]
    inputs: str
    ansatz: str
    device: torch.device
    dtype: str
    threads: int
    rounds: int
    limit: float
    backends: tuple[str, ...]
    seed: int

    @property
    def bound(self) -> float:
        """Of uniform inputs."""
        return _ACOS_BOUND if get_ansatz(self.ansatz).encoding_map == "acos" else 1.0


@dataclass(frozen=True)
class Work:
    """A layer to measure: one size, one kind of pre-activations."""

    size: Size
    preact: str
    options: Options

    @property
    def title(self) -> str:
        """What the table is about."""
        options = self.options
        bound = f"{options.bound:g}"
        inputs = "standard normal" if options.inputs == "normal" else f"uniform on [-{bound}, {bound}]"
        threads = f", {options.threads} thread{'s' * (options.threads > 1)}" if options.device.type == "cpu" else ""
        return (
            f"{self.size}: {self.preact} pre-activations, ansatz {options.ansatz}, inputs {inputs}, "
            f"{options.dtype}, {options.device}{threads}"
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters and inputs."""
        return getattr(torch, self.options.dtype)

    def layer(self, backend: str, out_features: int | None = None, dtype: torch.dtype | None = None) -> QKANLayer:
        """The layer with fresh parameters; ValueError if the backend refuses it."""
        return QKANLayer(
            self.size.in_features,
            self.size.out_features if out_features is None else out_features,
            self.size.reps,
            ansatz=self.options.ansatz,
            preact_trainable=self.preact == "trained",
            backend=backend,
            generator=torch.Generator(self.options.device).manual_seed(self.options.seed),
            device=self.options.device,
            dtype=self.dtype if dtype is None else dtype,
        )

    def numbers(self, columns: int, distribution: str, seed: int) -> Tensor:
        """(batch, columns) on the device."""
        made = draw(self.size.batch, columns, distribution, self.options.bound, self.options.seed + seed)
        return made.to(self.options.device, self.dtype)


class Truth:
    """Outputs and gradients of the reference, in double precision, on a part of the work.

    The part is some samples and some outputs, spread evenly over all, so that no piece or tile of a kernel is left out.
    A contestant runs the whole work with the upstream gradient of that part; all other gradients must be zero.

    Args:
        work: what is measured.
        state: the parameters of the layer.
        x, upstream: (batch, inputs) and (batch, outputs).
    """

    def __init__(self, work: Work, state: Mapping[str, Tensor], x: Tensor, upstream: Tensor) -> None:
        size = work.size
        an_output = size.in_features * size.reps
        outputs = CHECKED_ELEMENTS // (an_output * min(size.batch, _CHECKED_SAMPLES))
        self.outputs = _spread(size.out_features, outputs, x.device)
        self.rows = _spread(size.batch, CHECKED_ELEMENTS // (an_output * len(self.outputs)), x.device)
        self.x = x
        self.upstream = torch.zeros_like(upstream)
        part = (self.rows.unsqueeze(1), self.outputs)
        self.upstream[part] = upstream[part]
        layer = work.layer("reference", len(self.outputs), torch.float64)
        layer.load_state_dict({name: tensor[self.outputs].double() for name, tensor in state.items()})
        step = Step(layer, x[self.rows].double().requires_grad_(), upstream[part].double())
        output = step.forward()
        self.output, (self.of_inputs, *self.of_parameters) = output.detach(), step.backward(output)
        of_output, of_gradient = TOLERANCES[work.options.dtype]
        self.output_limit = of_output * math.sqrt(size.in_features * size.reps)
        self.gradient_limit = of_gradient * math.sqrt(size.reps)

    def errors(self, layer: nn.Module) -> Errors:
        """Of a layer with the same parameters."""
        step = Step(layer, self.x.detach().requires_grad_(), self.upstream)
        output = step.forward()
        of_inputs, *of_parameters = step.backward(output)
        gradients = [_gradient_error(of_inputs, self.of_inputs, self.rows)]
        for got, expected in zip(of_parameters, self.of_parameters, strict=True):
            gradients.append(_gradient_error(got, expected, self.outputs))
        wrong = (output.detach()[self.rows][:, self.outputs].double() - self.output).abs().max()
        # torch.max, unlike max, lets a NaN through
        return Errors(float(wrong), float(torch.stack(gradients).max()), self.output_limit, self.gradient_limit)


def _spread(total: int, wanted: int, device: torch.device) -> Tensor:
    """At most ``wanted`` but at least one of the numbers 0 to total - 1, evenly spread, first and last among them."""
    count = min(total, max(1, wanted))
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long().to(device)


def _gradient_error(got: Tensor, expected: Tensor, chosen: Tensor) -> Tensor:
    """Largest error over the largest entry, where every entry outside of ``chosen`` should be zero."""
    elsewhere = got.detach().double()
    part = elsewhere[chosen]
    elsewhere = elsewhere.index_fill(0, chosen, 0)
    largest = expected.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    return torch.maximum((part - expected).abs().max(), elsewhere.abs().max()) / largest


def hidden_width(parameters: int, in_features: int, out_features: int) -> int:
    """Smallest width of Linear-SiLU-Linear (with biases) that has at least so many parameters."""
    return max(1, math.ceil((parameters - out_features) / (in_features + out_features + 1)))


def trained(module: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def contestants(work: Work) -> list[Contestant]:
    """Every backend of the options, the MLP with as many parameters, and Linear."""
    options, size = work.options, work.size
    x, upstream = work.numbers(size.in_features, options.inputs, 1), work.numbers(size.out_features, "normal", 2)
    state, parameters = _state(work), trained(work.layer("reference"))
    truths: list[Truth] = []  # one for all backends, made when the first of them is checked

    def step_of(module: nn.Module) -> Callable[[int], Step]:
        return lambda rows: Step(module, x[:rows].detach().requires_grad_(), upstream[:rows])

    def ours(backend: str) -> Contestant:
        def prepare() -> Prepared:
            layer = work.layer(backend)
            layer.load_state_dict(state)
            return Prepared(parameters, step_of(layer), lambda: errors(layer))

        reason = reasons.get(backend)
        return Contestant(backend, contest.OURS, prepare if reason is None else None, reason=reason)

    def errors(layer: nn.Module) -> Errors:
        if not truths:
            truths.append(Truth(work, state, x, upstream))
        return truths[0].errors(layer)

    def classical(name: str, widths: tuple[int, ...]) -> Contestant:
        def prepare() -> Prepared:
            with _seeded(options.seed):
                module = _linear_silu_linear(widths).to(options.device, work.dtype)
            return Prepared(trained(module), step_of(module), detail="-".join(map(str, widths)))

        return Contestant(name, contest.CLASSICAL, prepare)

    reasons = dispatch.available_backends()
    ends = size.in_features, size.out_features
    mlp = ends[0], hidden_width(parameters, *ends), ends[1]
    return [*map(ours, options.backends), classical(MLP, mlp), classical("Linear", ends)]


def measure(work: Work, others: Callable[[Work], list[Contestant]] | None = None) -> list[Entry]:
    """Measure one layer: our backends, MLP and Linear, and the ``others`` of :mod:`qkan.bench.layer_peers`."""
    limits = Limits(work.options.rounds, work.options.limit, free_bytes(work.options.device))
    found = contestants(work) + ([] if others is None else others(work))
    return contest.run(found, work.size.batch, work.options.device, limits)


def _linear_silu_linear(widths: tuple[int, ...]) -> nn.Module:
    """Linear layers of these widths with SiLU between them."""
    modules: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for before, behind in pairwise(widths[1:]):
        modules += [nn.SiLU(), nn.Linear(before, behind)]
    return nn.Sequential(*modules)


def _state(work: Work) -> dict[str, Tensor]:
    """Parameters of the layer: fresh ones, the pre-activations a little off their initial values."""
    state = work.layer("reference").state_dict()
    generator = torch.Generator().manual_seed(work.options.seed)
    for name in ("preact_weight", "preact_bias"):
        if name in state:
            noise = 2 * torch.rand(state[name].shape, generator=generator) - 1
            state[name] = state[name] + (_JITTER * noise).to(state[name])
    return state


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial values from ``seed`` and leave PyTorch's own stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
