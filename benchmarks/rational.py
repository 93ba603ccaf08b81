"""``python -m benchmarks.rational``: rational activations, autograd of their formula, nn.GELU and a plain copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness.candidates import CLASSICAL, OURS, Candidate, Entry, Errors, module_candidate
from benchmarks.harness.command import NamesType, Numbers, NumbersType, benchmark, chosen_sizes, measure
from benchmarks.harness.measure import Step
from benchmarks.harness.work import Options, TokenSize, Work, against_aim
from qkan.kernels.rational.api import BACKENDS
from qkan.kernels.rational.pytorch import ENGINE as PLAIN
from qkan.kernels.rational.pytorch import gradients as formula_gradients
from qkan.kernels.rational.types import DENOMINATORS, Gradients, Spec
from qkan.layers.rational import GroupRational

SIZES, BASE = ((64, 197, 768),), (1, 197, 192)
OUR_NAME, GELU, EAGER, STACKED, COPY = "GroupRational", "nn.GELU", "autograd of the formula", "stacked powers", "copy"
#: Largest errors by dtype: of an output, and of a gradient over its largest entry. About ten times what is reached.
TOLERANCES = {"float64": (1e-13, 1e-12), "float32": (2e-5, 2e-5), "bfloat16": (5e-2, 1e-2)}
#: What ours should reach on two CPU cores, in float32.
_FASTER, _SLOWER, _MEMORY, _ROUNDING = 6.0, 2.2, 1.2, 0.1


class Formula(nn.Module):
    """The formula as one writes it down, for PyTorch's autograd; coefficients as of :class:`qkan.GroupRational`.

    Args:
        like: whose coefficients and form to take.
        stacked: powers of x side by side in one tensor, weighted and summed, in place of Horner's rule.
    """

    def __init__(self, like: GroupRational, stacked: bool) -> None:
        super().__init__()
        self.spec, self.stacked = like.spec, stacked
        self.numerator = nn.Parameter(like.numerator.detach().clone())
        self.denominator = nn.Parameter(like.denominator.detach().clone())

    def _sum(self, x: Tensor, coefficients: Tensor, first: int) -> Tensor:
        """sum_k coefficients[:, k] x^(first + k) for x (..., groups, run)."""
        count = coefficients.shape[1]
        if self.stacked:
            powers = torch.stack([x**k for k in range(first, first + count)], -1)
            return (powers * coefficients.unsqueeze(1)).sum(-1)
        total = coefficients[:, -1:].expand_as(x)
        for k in range(count - 2, -1, -1):
            total = total * x + coefficients[:, k : k + 1]
        return total * x if first else total

    def forward(self, x: Tensor) -> Tensor:
        """F of x (..., channels)."""
        z = x.unflatten(-1, (self.spec.groups, -1))
        p = self._sum(z, self.numerator, 0)
        if self.spec.denominator == "abs_terms":
            q = 1 + self._sum(z.abs(), self.denominator.abs(), 1)
        else:
            q = 1 + self._sum(z, self.denominator, 1).abs()
        return (p / q).flatten(-2)


class _Copy(nn.Module):
    """Nothing but memory read and memory written."""

    def forward(self, x: Tensor) -> Tensor:
        """A copy of x, whose gradient is the upstream one."""
        return x.clone()


@dataclass(frozen=True)
class RationalWork(Work):
    """An activation of tokens, channels last.

    Attributes:
        spec: its form.

    Raises:
        ValueError: groups that do not divide the channels.
    """

    size: TokenSize
    spec: Spec

    name = "rational"
    axes = MappingProxyType({"B": "batch", "T": "tokens", "C": "channels"})
    baselines = (GELU, EAGER, COPY)
    infers = True

    def __post_init__(self) -> None:
        if self.size.channels % self.spec.groups:
            raise ValueError(f"{self.size.channels} channels do not divide into {self.spec.groups} groups")

    @property
    def title(self) -> str:
        m, n = self.spec.order
        form = f"order ({m}, {n}) over {self.spec.denominator}, {self.spec.groups} groups"
        return f"{self.size}: {form}, {self.options}"

    @property
    def numbers(self) -> int:
        return 2 * self._elements

    @property
    def _elements(self) -> int:
        return self.size.batch * self.size.tokens * self.size.channels

    @property
    def facts(self) -> dict[str, Any]:
        spec = {"groups": self.spec.groups, "order": self.spec.order, "denominator": self.spec.denominator}
        return {"size": self.size._asdict(), **spec}

    @property
    def tolerances(self) -> dict[str, float]:
        of_output, of_gradient = TOLERANCES[self.options.dtype]
        return {"output": of_output, "gradient over its largest entry": of_gradient}

    def module(self, backend: str = "auto") -> GroupRational:
        """The activation, its numerators per group, a little off its initial values."""
        spec, options = self.spec, self.options
        module = GroupRational(
            self.size.channels, spec.groups, spec.order, "gelu", spec.denominator, False, backend=backend
        )
        noise = torch.Generator().manual_seed(options.seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=noise))
        return module.to(options.device, options.torch_dtype)

    def candidates(self) -> list[Candidate]:
        """Ours on every backend, the formula in two forms, nn.GELU and a copy."""
        options = self.options
        x = options.numbers(self.size, options.inputs, 1)
        upstream = options.numbers(self.size, "normal", 2)
        truth = cache(lambda: Truth(self, x, upstream))

        def candidate(name: str, family: str, make: Callable[[], nn.Module]) -> Candidate:
            checked = name not in (GELU, COPY)
            errors = (lambda module: truth().errors(module)) if checked else None
            return module_candidate(name, family, make, x, upstream, errors=errors)

        def ours(backend: str) -> Candidate:
            name = OUR_NAME if backend == "auto" else f"{OUR_NAME}, {backend}"
            return candidate(name, OURS, lambda: self.module(backend))

        return [
            *map(ours, options.backends),
            candidate(GELU, CLASSICAL, nn.GELU),
            candidate(EAGER, CLASSICAL, lambda: Formula(self.module(), False)),
            candidate(STACKED, CLASSICAL, lambda: Formula(self.module(), True)),
            candidate(COPY, CLASSICAL, _Copy),
        ]

    def notes(self, entries: Sequence[Entry]) -> list[str]:
        """What ours reaches, and the gradients of its coefficients beside those of a running sum."""
        found = {entry.name: entry for entry in entries}
        notes = []
        for name, entry in found.items():
            if entry.family == OURS and entry.median:
                notes += [f"{name}: {text}" for text in self._reached(entry, found)]
        return notes

    def _reached(self, ours: Entry, found: dict[str, Entry]) -> list[str]:
        median, texts = ours.median or 0.0, []
        copy, gelu, eager = (found[name] for name in (COPY, GELU, EAGER))
        if copy.median and copy.inference_median and ours.inference_median:
            # A copy moves its numbers twice, a forward pass too, a backward pass three times.
            forward = copy.inference_median / ours.inference_median
            both = 2.5 * copy.median / median
            moved = 5 * self._elements * self.options.torch_dtype.itemsize / median / 1e9
            texts.append(
                f"{moved:.3g} GB/s, {both:.0%} of the bandwidth of a copy (forward alone {forward:.0%})",
            )
        if eager.median:
            texts.append(against_aim(eager.median / median, f"times as fast as {EAGER}", "at least", _FASTER))
        if gelu.median:
            texts.append(against_aim(median / gelu.median, f"times the time of {GELU}", "at most", _SLOWER))
        if gelu.extra_bytes and ours.extra_bytes is not None:
            ratio = ours.extra_bytes / gelu.extra_bytes
            texts.append(against_aim(ratio, f"times the extra memory of {GELU}", "at most", _MEMORY))
        if isinstance(ours.errors, CoefficientErrors) and ours.errors.naive > 0:
            share = ours.errors.coefficients / ours.errors.naive
            made = f"{ours.errors.coefficients:.1e} against {ours.errors.naive:.1e}"
            what = f"times the error of a running sum in the coefficients' gradients ({made})"
            texts.append(against_aim(share, what, "at most", _ROUNDING))
        return texts


@dataclass(frozen=True)
class CoefficientErrors(Errors):
    """Errors of an activation.

    Attributes:
        coefficients: of the coefficients' gradients alone, over the largest entry.
        naive: the same of sums to which one element after the other is added in the dtype of the sums, float32, as
            atomic additions do.
    """

    coefficients: float = 0.0
    naive: float = 0.0


class Truth:
    """Output and gradients of an activation in double precision."""

    def __init__(self, work: RationalWork, x: Tensor, upstream: Tensor) -> None:
        self.work, self.x, self.upstream = work, x, upstream
        module = work.module()
        self.parameters = (module.numerator.detach(), module.denominator.detach())
        rows = (work.size.batch * work.size.tokens, work.spec.groups, -1)
        self.blocked, self.grad = x.reshape(rows), upstream.reshape(rows)
        exact, a, b = (tensor.double() for tensor in (self.blocked, *self.parameters))
        self.output = PLAIN.forward(work.spec, exact, a, b)
        self.gradients = PLAIN.backward(work.spec, exact, a, b, self.grad.double(), True)
        self.naive = self._naive()

    def errors(self, module: nn.Module) -> CoefficientErrors:
        """Those of a module with the same parameters."""
        step = Step(module, self.x.detach().requires_grad_(), self.upstream)
        output = step.forward()
        found = step.backward(output)
        apart = float((output.detach().double().view_as(self.output) - self.output).abs().max())
        pairs = zip(found, self.gradients, strict=True)
        errors = [_error(got, right) for got, right in pairs if right is not None]
        limits = TOLERANCES[self.work.options.dtype]
        return CoefficientErrors(apart, max(errors), *limits, max(errors[1:]), self.naive)

    def _naive(self) -> float:
        """The error of sums in float32, each element added on its own."""
        spec, sums = self.work.spec, []
        parameters = [parameter.float().cpu() for parameter in self.parameters]
        for group in range(spec.groups):
            x, grad = (tensor[:, group].reshape(1, -1, 1).float().cpu() for tensor in (self.blocked, self.grad))
            a, b = (parameter[group : group + 1] for parameter in parameters)
            each = Spec(x.shape[1], spec.order, spec.denominator)  # every element a group: what it adds to the sums
            terms = formula_gradients(each, x, a, b, grad, True)
            sums.append([np.add.accumulate(term.numpy())[-1] for term in _columns(terms)])
        found = torch.tensor(np.array(sums, dtype=np.float64)).split((spec.order[0] + 1, spec.order[1]), 1)
        return max(
            _error(got, right.cpu()) for got, right in zip(found, self.gradients[1:], strict=True) if right is not None
        )


def _columns(gradients: Gradients) -> list[Tensor]:
    """The gradients of every coefficient, (groups,) each."""
    return [column for found in gradients[1:] if found is not None for column in found.contiguous().unbind(1)]


def _error(got: Tensor, right: Tensor) -> float:
    return float((got.detach().double().view_as(right) - right).abs().max() / right.abs().max())


@benchmark(
    "rational",
    ("B,T,C", "Batch, tokens, channels"),
    SIZES,
    "B, T and C",
    click.option("--groups", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Of channels."),
    click.option(
        "--order", type=NumbersType("M,N", (5, 4), lowest=0), default="5,4", show_default=True, metavar="M,N",
        help="Degrees of numerator and denominator, at most 8,8.",
    ),
    click.option(
        "--denominator", type=click.Choice(DENOMINATORS), default=DENOMINATORS[0], show_default=True,
        help="1 + sum |b_j| |x|^j or 1 + |sum b_j x^j|.",
    ),
    click.option(
        "--backends", type=NamesType("backend", lambda: BACKENDS.names), metavar="NAME,...", default="auto",
        show_default=True, help="Of ours, separated by commas.",
    ),
    inputs="normal",
    examples=(
        "",
        "--threads 2 --order 8,8 --denominator abs_sum",
        "--device cuda --dtype bfloat16 --backends auto,torch",
    ),
)  # fmt: skip
def main(
    sizes: tuple[Numbers, ...],
    groups: int,
    order: tuple[int, int],
    denominator: Any,
    backends: tuple[str, ...],
    growth: bool,
    **chosen: Any,
) -> None:
    """Measure group-rational activations (GR-KAN), forward and backward.

    Ours is compared with double precision, outputs and all gradients, and so are the gradients of the coefficients that
    come of adding one element after the other in float32. Then it is timed, in turns with autograd of the formula, the
    form that stacks all powers, nn.GELU, and a copy, whose bandwidth is what memory allows: of x read and written in
    the forward pass, x and the upstream gradient read and the gradient of x written in the backward pass. Memory is the
    peak of one step beyond parameters, inputs and gradients. If an error is too large, its row says WRONG and the
    command ends with exit code 1.

    Figures, tables and picture are written to the folder: rational.json, .md and .png, or growth.json, .md and .png.
    """
    spec = Spec(groups, order, denominator)
    found = [TokenSize(*size) for size in chosen_sizes(sizes, growth, SIZES, BASE)]

    def works(options: Options) -> list[Work]:
        return [RationalWork(size, options, spec) for size in found]

    measure("rational", works, growth, backends=backends, **chosen)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.rational")
