"""What a QKAN layer is measured against: every backend, Linear, the MLP of its size, other people's layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.harness import contest
from benchmarks.harness.contest import Contestant, Errors, Prepared
from benchmarks.harness.measure import Step
from benchmarks.harness.work import Work, gradient_error, seeded, spread, state_of, trained
from qkan.kernels import backends
from qkan.layers.qkan_layer import QKANLayer

MLP = "MLP"
#: Largest errors by dtype, for one input and one repetition: of an output, and of a gradient over its largest entry.
#: Rounding grows with the square root of the circuits' gates, so both are multiplied by sqrt(repetitions), and with
#: that of the inputs that an output sums. About ten times what the backends reach.
TOLERANCES = {"float64": (2e-14, 2e-12), "float32": (5e-6, 3e-5), "bfloat16": (2e-2, 2e-2)}
#: Elements (samples x outputs x inputs x repetitions) that are compared with the reference, spread over the work.
CHECKED_ELEMENTS = 2**19
_CHECKED_SAMPLES = 16  # before fewer outputs are compared, not fewer samples


class Size(NamedTuple):
    """Of a layer and its batch."""

    batch: int
    in_features: int
    out_features: int
    reps: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.in_features} to {self.out_features}, R = {self.reps}"


@dataclass(frozen=True)
class LayerWork(Work):
    """A layer to measure: one size, one kind of pre-activations.

    Attributes:
        preact: ``"fixed"`` or ``"trained"``.
    """

    size: Size
    preact: str

    name = "layer"
    axes = MappingProxyType({"B": "batch", "I": "in_features", "O": "out_features", "R": "reps"})
    baselines = (MLP,)

    @property
    def kind(self) -> str:
        """The pre-activations."""
        return self.preact

    @property
    def title(self) -> str:
        """What the table is about."""
        return f"{self.size}: {self.preact} pre-activations, {self.options}"

    @property
    def label(self) -> str:
        """The work in few words."""
        return f"{self.size}, {self.preact}"

    @property
    def numbers(self) -> int:
        """About as many have parameters, inputs and outputs together."""
        size = self.size
        edges = size.in_features * size.out_features
        parameters = edges * (2 * (size.reps + 1) + 1 + (2 * size.reps if self.preact == "trained" else 0))
        return parameters + size.batch * (size.in_features + size.out_features)

    @property
    def facts(self) -> dict[str, Any]:
        """What the figures on disk say of the work."""
        return {"size": self.size._asdict(), "preact": self.preact}

    @property
    def request(self) -> dict[str, Any]:
        """What other people's packages must know."""
        size = self.size
        return {
            "in_features": size.in_features,
            "out_features": size.out_features,
            "reps": size.reps,
            "preact": self.preact,
            "x_shape": [size.batch, size.in_features],
            "y_shape": [size.batch, size.out_features],
            "batch_dim": 0,
        }

    @property
    def tolerances(self) -> dict[str, float]:
        """Largest errors, with words that say of what."""
        of_output, of_gradient = TOLERANCES[self.options.dtype]
        return {
            "output, times the root of inputs x repetitions": of_output,
            "gradient, times the root of repetitions": of_gradient,
        }

    def layer(self, backend: str, out_features: int | None = None, dtype: torch.dtype | None = None) -> QKANLayer:
        """The layer with fresh parameters; ValueError if the backend refuses it."""
        options = self.options
        return QKANLayer(
            self.size.in_features,
            self.size.out_features if out_features is None else out_features,
            self.size.reps,
            ansatz=options.ansatz,
            preact_trainable=self.preact == "trained",
            backend=backend,
            generator=options.generator(),
            device=options.device,
            dtype=options.torch_dtype if dtype is None else dtype,
        )

    def columns(self, columns: int, distribution: str, seed: int) -> Tensor:
        """Random numbers (batch, columns) on the device."""
        return self.options.numbers((self.size.batch, columns), distribution, seed)

    def contestants(self) -> list[Contestant]:
        """Every backend of the options, the MLP with as many parameters, and Linear."""
        return contestants(self)


class Truth:
    """Outputs and gradients of the reference, in double precision, on a part of the work.

    The part is some samples and some outputs, spread evenly over all, so that no piece or tile of a kernel is left out.
    A contestant runs the whole work with the upstream gradient of that part; all other gradients must be zero.

    Args:
        work: what is measured.
        state: the parameters of the layer.
        x, upstream: (batch, inputs) and (batch, outputs).
    """

    def __init__(self, work: LayerWork, state: Mapping[str, Tensor], x: Tensor, upstream: Tensor) -> None:
        size = work.size
        an_output = size.in_features * size.reps
        outputs = CHECKED_ELEMENTS // (an_output * min(size.batch, _CHECKED_SAMPLES))
        self.outputs = spread(size.out_features, outputs, x.device)
        self.rows = spread(size.batch, CHECKED_ELEMENTS // (an_output * len(self.outputs)), x.device)
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
        gradients = [gradient_error(of_inputs, self.of_inputs, (self.rows,))]
        for got, expected in zip(of_parameters, self.of_parameters, strict=True):
            gradients.append(gradient_error(got, expected, (self.outputs,)))
        wrong = (output.detach()[self.rows][:, self.outputs].double() - self.output).abs().max()
        # torch.max, unlike max, lets a NaN through
        return Errors(float(wrong), float(torch.stack(gradients).max()), self.output_limit, self.gradient_limit)


def hidden_width(parameters: int, in_features: int, out_features: int) -> int:
    """Smallest width of Linear-SiLU-Linear (with biases) that has at least so many parameters."""
    return max(1, math.ceil((parameters - out_features) / (in_features + out_features + 1)))


def contestants(work: LayerWork) -> list[Contestant]:
    """Every backend of the options, the MLP with as many parameters, and Linear."""
    options, size = work.options, work.size
    x, upstream = work.columns(size.in_features, options.inputs, 1), work.columns(size.out_features, "normal", 2)
    plain = work.layer("reference")
    state, parameters = state_of(plain, options.seed), trained(plain)
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
            with seeded(options.seed):
                module = _linear_silu_linear(widths).to(options.device, options.torch_dtype)
            return Prepared(trained(module), step_of(module), detail="-".join(map(str, widths)))

        return Contestant(name, contest.CLASSICAL, prepare)

    reasons = backends.available_backends()
    ends = size.in_features, size.out_features
    mlp = ends[0], hidden_width(parameters, *ends), ends[1]
    return [*map(ours, options.backends), classical(MLP, mlp), classical("Linear", ends)]


def _linear_silu_linear(widths: tuple[int, ...]) -> nn.Module:
    """Linear layers of these widths with SiLU between them."""
    modules: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for before, behind in pairwise(widths[1:]):
        modules += [nn.SiLU(), nn.Linear(before, behind)]
    return nn.Sequential(*modules)
