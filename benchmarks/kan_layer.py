"""``python -m benchmarks.kan_layer``: layers of splines against those of other packages and the MLP of their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness.candidates import CLASSICAL, OURS, SPLINES, Candidate, Errors, module_candidate
from benchmarks.harness.command import Numbers, NumbersType, benchmark, chosen_sizes, measure
from benchmarks.harness.measure import Step
from benchmarks.harness.peer_modules import peer_candidates
from benchmarks.harness.work import Options, Work, seeded
from benchmarks.layer import hidden_width
from qkan import KANLayer

SIZES, BASE = ((64, 8, 20), (256, 64, 64), (1024, 32, 32), (4096, 128, 128)), (64, 16, 16)
#: Intervals and order of the splines, and functions of an edge, of all layers.
GRID, ORDER = 5, 3
TERMS = GRID + ORDER
MLP, EFFICIENT, FAST = "MLP", "efficient-kan's formula", "fast-kan's formula"
#: Largest errors by dtype: of an output, times the root of the inputs, and of a gradient over its largest entry.
TOLERANCES = {"float64": (1e-13, 1e-12), "float32": (1e-5, 3e-5), "bfloat16": (5e-2, 5e-2)}
#: Rows at which memory is measured where there is too much of it: what is beyond grows in a line.
FEW_ROWS = (256, 512)


class EfficientKAN(nn.Module):
    """The formula of efficient-kan's KANLinear, written anew: the recursion of Cox and de Boor, a base and a scale."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        knots = torch.arange(-ORDER, GRID + ORDER + 1) * (2 / GRID) - 1
        self.register_buffer("knots", knots.expand(inputs, -1).contiguous())
        self.base_weight = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))
        self.scale = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))
        self.weight = nn.Parameter(0.1 * torch.randn(outputs, inputs, TERMS))

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, inputs) to (batch, outputs)."""
        knots, z = self.get_buffer("knots"), x.unsqueeze(-1)
        splines = ((z >= knots[:, :-1]) & (z < knots[:, 1:])).to(x.dtype)
        for k in range(1, ORDER + 1):
            left = (z - knots[:, : -(k + 1)]) / (knots[:, k:-1] - knots[:, : -(k + 1)])
            right = (knots[:, k + 1 :] - z) / (knots[:, k + 1 :] - knots[:, 1:-k])
            splines = left * splines[..., :-1] + right * splines[..., 1:]
        weight = (self.weight * self.scale.unsqueeze(-1)).flatten(1)
        return F.linear(F.silu(x), self.base_weight) + F.linear(splines.flatten(1), weight)


class FastKAN(nn.Module):
    """The formula of fast-kan's FastKANLayer, written anew: a layer norm, Gaussians and a base."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.register_buffer("centres", torch.linspace(-2, 2, TERMS))
        self.spline = nn.Linear(inputs * TERMS, outputs, bias=False)
        self.base = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, inputs) to (batch, outputs)."""
        distance = (self.norm(x).unsqueeze(-1) - self.get_buffer("centres")) * ((TERMS - 1) / 4)
        return self.spline(torch.exp(-(distance**2)).flatten(1)) + self.base(F.silu(x))


class Size(NamedTuple):
    """Of a layer, or a network with the hidden widths of the work, and its batch."""

    batch: int
    in_features: int
    out_features: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.in_features} to {self.out_features}"


@dataclass(frozen=True)
class SplineWork(Work):
    """A layer of splines, or layers in a row.

    Attributes:
        hidden: widths between inputs and outputs.
    """

    size: Size
    hidden: tuple[int, ...] = ()

    name = "kan_layer"
    axes = MappingProxyType({"B": "batch", "I": "in_features", "O": "out_features"})
    baselines = (MLP, EFFICIENT, FAST)

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all levels."""
        return (self.size.in_features, *self.hidden, self.size.out_features)

    @property
    def title(self) -> str:
        return f"{self.size.batch} x {' to '.join(map(str, self.widths))}: grid {GRID}, order {ORDER}, {self.options}"

    @property
    def numbers(self) -> int:
        edges = sum(before * behind for before, behind in pairwise(self.widths))
        return (TERMS + 1) * edges + self.size.batch * (self.size.in_features + self.size.out_features)

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size._asdict(), "hidden": list(self.hidden), "grid": GRID, "order": ORDER}

    @property
    def request(self) -> dict[str, Any]:
        return {
            "widths": list(self.widths),
            "grid": GRID,
            "x_shape": [self.size.batch, self.size.in_features],
            "y_shape": [self.size.batch, self.size.out_features],
            "batch_dim": 0,
        }

    @property
    def tolerances(self) -> dict[str, float]:
        of_output, of_gradient = TOLERANCES[self.options.dtype]
        return {"output, times the root of inputs": of_output, "gradient over its largest entry": of_gradient}

    def _network(self, make: Callable[[int, int], nn.Module]) -> nn.Module:
        with seeded(self.options.seed):
            layers = [make(before, behind) for before, behind in pairwise(self.widths)]
        network = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
        return network.to(self.options.device, self.options.torch_dtype)

    def _mlp(self) -> nn.Module:
        """Linear, SiLU, linear, with as many parameters as the splines."""
        parameters = self.numbers - self.size.batch * (self.size.in_features + self.size.out_features)
        inputs, outputs = self.size.in_features, self.size.out_features
        hidden = hidden_width(parameters, inputs, outputs)
        with seeded(self.options.seed):
            mlp = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
        return mlp.to(self.options.device, self.options.torch_dtype)

    def candidates(self) -> list[Candidate]:
        """Ours over two families, the MLP, and published formulas."""
        options = self.options
        x = options.numbers((self.size.batch, self.size.in_features), options.inputs, 1)
        upstream = options.numbers((self.size.batch, self.size.out_features), "normal", 2)

        def ours(basis: str) -> Candidate:
            def make() -> nn.Module:
                return self._network(lambda i, o: KANLayer(i, o, basis, terms=TERMS, base_activation="silu"))

            truth = cache(lambda: Truth(self, make().double(), x, upstream))
            checked = None if self.hidden else (lambda layer: truth().errors(layer))
            return module_candidate(f"KANLayer, {basis}", OURS, make, x, upstream, errors=checked)

        return [
            ours("bspline"),
            ours("rbf"),
            module_candidate(MLP, CLASSICAL, self._mlp, x, upstream),
            module_candidate(EFFICIENT, SPLINES, lambda: self._network(EfficientKAN), x, upstream),
            module_candidate(FAST, SPLINES, lambda: self._network(FastKAN), x, upstream),
        ]


class Truth:
    """Outputs and gradients of a layer's own edges, added up in double precision.

    Args:
        work: what is measured.
        layer: with the parameters that candidates have, in double precision.
        x, upstream: (batch, inputs) and (batch, outputs).
    """

    def __init__(self, work: SplineWork, layer: nn.Module, x: Tensor, upstream: Tensor) -> None:
        rows = max(1, 2**24 // (work.widths[0] * work.widths[-1] * (TERMS + 1)))
        self.x, self.upstream = x[:rows], upstream[:rows]
        of_output, of_gradient = TOLERANCES[work.options.dtype]
        self.limits = of_output * math.sqrt(work.size.in_features), of_gradient
        self.results = self._of(_Edges(layer))

    def _of(self, module: nn.Module) -> list[Tensor]:
        like = next(module.parameters())
        step = Step(module, self.x.to(like).detach().requires_grad_(), self.upstream.to(like))
        output = step.forward()
        return [output.detach().double(), *(gradient.double() for gradient in step.backward(output))]

    def errors(self, layer: nn.Module) -> Errors:
        """Of a layer with the same parameters."""
        output, *gradients = self._of(layer)
        true_output, *true_gradients = self.results
        worst = [
            (got - expected).abs().max() / expected.abs().max()
            for got, expected in zip(gradients, true_gradients, strict=True)
        ]
        return Errors(float((output - true_output).abs().max()), float(torch.stack(worst).max()), *self.limits)


class _Edges(nn.Module):
    """The sum of what the edges of a layer add."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, inputs) to (batch, outputs)."""
        return self.layer.edge_outputs(x).sum(-1) + self.layer.bias  # type: ignore[operator]


def memory(work: SplineWork, peers: bool) -> None:
    """Print the memory of a step at all rows, measured where that is ours, else at few rows and drawn out in a line."""
    rows, (few, more) = work.size.batch, FEW_ROWS
    found = [_bytes(replace(work, size=work.size._replace(batch=each)), peers) for each in FEW_ROWS]
    click.echo(f"{work.title}\n")
    for name, taken in found[1].items():
        if isinstance(taken, str) or isinstance(found[0].get(name), str):
            click.echo(f"  {name:42} {taken}")
            continue
        line = taken + (taken - int(found[0][name])) / (more - few) * (rows - more)
        click.echo(f"  {name:42} {line / 2**20:12,.0f} MiB at {rows:,} rows, {taken / 2**20:10,.1f} at {more}")
    ours = next(candidate for candidate in work.candidates() if candidate.prepare is not None)
    taken = _own_bytes(ours, work)
    click.echo(f"  {ours.name:42} {taken / 2**20:12,.0f} MiB at {rows:,} rows, measured")


def _own_bytes(candidate: Candidate, work: SplineWork) -> int:
    from benchmarks.harness.measure import cost_of

    if candidate.prepare is None:
        raise ValueError(f"{candidate.name} runs in another process")
    return cost_of(candidate.prepare().step_of(work.rows), work.options.device).extra_bytes


def _bytes(work: SplineWork, peers: bool) -> Mapping[str, int | str]:
    """Memory of a step by candidate, or the reason why there is none."""
    found: dict[str, int | str] = {}
    for candidate in work.candidates():
        found[candidate.name] = _own_bytes(candidate, work)
    if peers:
        with peer_candidates(work.name, lambda line: None) as listed:
            for candidate in listed(work):
                answer = {} if candidate.ask is None else candidate.ask()
                reason = answer.get("reason", candidate.reason)
                found[candidate.name] = str(reason) if reason else int(answer["extra_bytes"])
    return found


@benchmark(
    "kan_layer",
    ("B,I,O", "Batch, inputs, outputs"),
    SIZES,
    "B, I and O",
    click.option("--peers", is_flag=True, help="Measure other packages, too: `make bench-peers` installs them."),
    click.option("--hidden", default="", metavar="W,...", help="Widths between inputs and outputs: layers in a row."),
    click.option("--memory", "only_memory", is_flag=True, help="Only the memory of a step, of any batch."),
    examples=("--peers --threads 2", "--size 16384,1152,1152 --hidden 4608 --memory"),
)
def main(sizes: tuple[Numbers, ...], growth: bool, peers: bool, hidden: str, only_memory: bool, **chosen: Any) -> None:
    """Measure forward and backward of layers whose edges are splines.

    All layers have cubic splines on five intervals, or eight Gaussians, and a SiLU branch. Ours are compared with the
    sum of their edges in double precision, outputs and all gradients. Memory is the peak of one step beyond parameters,
    inputs and gradients. efficient-kan and fast-kan are on no package index: their published formulas are written anew
    in this file. Peers run in environments and processes of their own, before and after the others, and their better
    time counts.

    Figures, tables and picture are written to the folder: kan_layer.json, .md and .png.
    """
    widths = _widths(hidden)

    def works(options: Options) -> list[Work]:
        return [SplineWork(Size(*size), options, widths) for size in chosen_sizes(sizes, growth, SIZES, BASE)]

    if not only_memory:
        measure("kan_layer", works, growth, backends=(), peers=peers, **chosen)
        return
    threads = chosen["threads"] or torch.get_num_threads()
    torch.set_num_threads(threads)
    given = {name: chosen[name] for name in ("inputs", "dtype", "rounds", "limit", "seed")}
    options = Options(ansatz="", device=torch.device("cpu"), threads=threads, backends=(), **given)
    for work in works(options):
        memory(work, peers)  # type: ignore[arg-type]


def _widths(text: str) -> tuple[int, ...]:
    parts: Sequence[str] = [part for part in text.split(",") if part.strip()]
    return tuple(NumbersType("W", (64,)).convert(part, None, None)[0] for part in parts)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.kan_layer")
