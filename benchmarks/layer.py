"""``python -m benchmarks.layer``: a QKAN layer against Linear, the MLP of its size and layers of other packages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor, nn

from benchmarks.harness.candidates import CLASSICAL, OURS, Candidate, Errors, module_candidate, trained
from benchmarks.harness.command import NamesType, Numbers, benchmark, chosen_sizes, circuit_options, measure
from benchmarks.harness.measure import Step
from benchmarks.harness.work import Options, Work, gradient_error, seeded, spread, state_of
from qkan.kernels import backends as layer_backends
from qkan.layers.qkan_layer import QKANLayer

SIZES, BASE = ((256, 64, 64, 3), (1024, 32, 32, 3), (4096, 128, 128, 3), (64, 8, 20, 3)), (64, 16, 16, 2)
MLP = "MLP"
PREACTS = {"fixed": ("fixed",), "trained": ("trained",), "both": ("fixed", "trained")}
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
        return self.preact

    @property
    def title(self) -> str:
        return f"{self.size}: {self.preact} pre-activations, {self.options}"

    @property
    def label(self) -> str:
        return f"{self.size}, {self.preact}"

    @property
    def numbers(self) -> int:
        size = self.size
        edges = size.in_features * size.out_features
        parameters = edges * (2 * (size.reps + 1) + 1 + (2 * size.reps if self.preact == "trained" else 0))
        return parameters + size.batch * (size.in_features + size.out_features)

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size._asdict(), "preact": self.preact}

    @property
    def request(self) -> dict[str, Any]:
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

    def candidates(self) -> list[Candidate]:
        """Every backend of the options, the MLP with as many parameters, and Linear."""
        options, ends = self.options, (self.size.in_features, self.size.out_features)
        x, upstream = self.columns(ends[0], options.inputs, 1), self.columns(ends[1], "normal", 2)
        plain = self.layer("reference")
        state, parameters = state_of(plain, options.seed), trained(plain)
        truth = cache(lambda: Truth(self, state, x, upstream))  # one for all backends, made for the first of them
        reasons = layer_backends.available_backends()

        def ours(backend: str) -> Candidate:
            def make() -> nn.Module:
                layer = self.layer(backend)
                layer.load_state_dict(state)
                return layer

            if reasons.get(backend) is not None:
                return Candidate(backend, OURS, reason=reasons[backend])
            return module_candidate(backend, OURS, make, x, upstream, errors=lambda layer: truth().errors(layer))

        def classical(name: str, widths: tuple[int, ...]) -> Candidate:
            def make() -> nn.Module:
                with seeded(options.seed):
                    return _linear_silu_linear(widths).to(options.device, options.torch_dtype)

            return module_candidate(name, CLASSICAL, make, x, upstream, detail="-".join(map(str, widths)))

        mlp = ends[0], hidden_width(parameters, *ends), ends[1]
        return [*map(ours, options.backends), classical(MLP, mlp), classical("Linear", ends)]


class Truth:
    """Outputs and gradients of the reference, in double precision, on a part of the work.

    The part is some samples and some outputs, spread evenly over all, so that no piece or tile of a kernel is left out.
    A candidate runs the whole work with the upstream gradient of that part; all other gradients must be zero.

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


def _linear_silu_linear(widths: tuple[int, ...]) -> nn.Module:
    """Linear layers of these widths with SiLU between them."""
    modules: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for before, behind in pairwise(widths[1:]):
        modules += [nn.SiLU(), nn.Linear(before, behind)]
    return nn.Sequential(*modules)


@benchmark(
    "layer",
    ("B,I,O,R", "Batch, inputs, outputs, repetitions"),
    SIZES,
    "B, I, O and R",
    click.option(
        "--preact", type=click.Choice(tuple(PREACTS)), default="both", show_default=True, help="Pre-activations."
    ),
    click.option(
        "--backends",
        type=NamesType(
            "backend", lambda: dict.fromkeys((*layer_backends.BACKENDS, *layer_backends.available_backends()))
        ),
        metavar="NAME,...",
        help="Ways to evaluate circuits, separated by commas.  [default: all]",
    ),
    circuit_options,
    examples=("", "--size 256,64,64,3 --peers", "--growth --backends spectral,bloch --limit 10"),
)
def main(
    sizes: tuple[Numbers, ...], preact: str, growth: bool, backends: tuple[str, ...] | None, **chosen: Any
) -> None:
    """Measure forward and backward of a QKAN layer.

    Every way to evaluate its circuits is compared with the reference in double precision, outputs and all gradients;
    then it is timed, in turns with Linear and with the MLP that has as many parameters. Memory is the peak of one
    step beyond parameters, inputs and gradients. Peers are timed in environments and processes of their own, before and
    after the others, and their better time counts. If an error is too large, its row says WRONG and the command ends
    with exit code 1.

    Figures, tables and picture are written to the folder: layer.json, .md and .png, or growth.json, .md and .png.
    """
    found = [Size(*size) for size in chosen_sizes(sizes, growth, SIZES, BASE)]

    def works(options: Options) -> list[Work]:
        return [LayerWork(size, options, kind) for size in found for kind in PREACTS[preact]]

    measure("layer", works, growth, backends=backends or tuple(layer_backends.available_backends()), **chosen)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.layer")
