"""``python -m benchmarks.block``: a GPT block with an MLP, the same block with HQKANs in its place, and both alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.harness.candidates import CLASSICAL, OURS, Candidate, Entry, Errors, Prepared, trained
from benchmarks.harness.command import NamesType, Numbers, benchmark, chosen_sizes, measure
from benchmarks.harness.measure import Step
from benchmarks.harness.work import Options, TokenSize, Work, against_aim, gradient_error, seeded
from qkan.kernels.circuits.ansatz import MAX_REPS
from qkan.replace.api import replace_mlp

SIZES, BASE = ((8, 128, 256),), (1, 16, 64)
#: The HQKANs that are measured: the paper's latent, and latents by the share of the MLP's parameters.
LATENTS: Mapping[str, float | None] = MappingProxyType({"log2": None, "quarter": 0.25, "equal": 1.0})
MLP_BLOCK, MLP_ALONE = "block, MLP", "MLP alone"
#: Largest errors by dtype: of an output, and of a gradient over its largest entry. About ten times what is reached
#: at a width of 256.
TOLERANCES = {"float64": (6e-13, 3e-14), "float32": (1e-4, 1e-5), "bfloat16": (0.5, 0.1)}
#: Tokens that are compared with double precision: circuits of the reference hold complex states of every edge.
CHECKED_TOKENS = 4
_RATIO = 1.2  # to reach on two CPU cores in float32, of time and of memory


class GPTBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), as in GPT-2: causal attention, an MLP four times as wide, GELU.

    Args:
        channels: width of the model.
        heads: of the attention; they divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to ``x`` (batch, tokens, channels)."""
        query, key, value = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


@dataclass(frozen=True)
class BlockWork(Work):
    """A block to measure.

    Attributes:
        heads: of the attention.
        reps: repetitions of the HQKANs' circuits.
        latents: names of :data:`LATENTS`.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    size: TokenSize
    heads: int
    reps: int
    latents: tuple[str, ...]

    name = "block"
    axes = MappingProxyType({"B": "batch", "T": "tokens", "C": "channels"})
    baselines = (MLP_BLOCK, MLP_ALONE)
    infers = True

    def __post_init__(self) -> None:
        if self.size.channels % self.heads:
            raise ValueError(f"{self.size.channels} channels do not divide into {self.heads} heads")

    @property
    def title(self) -> str:
        return f"{self.size}: {self.heads} heads, R = {self.reps}, {self.options}"

    @property
    def numbers(self) -> int:
        size = self.size
        return 12 * size.channels**2 + 2 * size.batch * size.tokens * size.channels

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size._asdict(), "heads": self.heads, "reps": self.reps}

    @property
    def tolerances(self) -> dict[str, float]:
        of_output, of_gradient = TOLERANCES[self.options.dtype]
        return {"output": of_output, "gradient over its largest entry": of_gradient}

    def block(self, latent: str | None = None, backend: str = "auto") -> GPTBlock:
        """The block with its MLP, or with an HQKAN in its place; parameters by the seed alone."""
        with seeded(self.options.seed):
            block = GPTBlock(self.size.channels, self.heads)
            if latent is not None:
                options: dict[str, Any] = {"reps": self.reps, "ansatz": self.options.ansatz, "backend": backend}
                replace_mlp(block, parameters=LATENTS[latent], **options)
        return block.to(self.options.device, self.options.torch_dtype)

    def candidates(self) -> list[Candidate]:
        """Blocks with the MLP and with HQKANs, then the MLP and the HQKANs alone."""
        options, channels = self.options, self.size.channels
        x, upstream = options.numbers(self.size, options.inputs, 1), options.numbers(self.size, "normal", 2)

        def candidate(name: str, alone: bool, latent: str | None) -> Candidate:
            def part(block: GPTBlock) -> nn.Module:
                return block.mlp if alone else block

            def prepare() -> Prepared:
                block = self.block(latent)
                module, exact = part(block), part(self.block(latent, "reference")).double()
                width = 4 * channels if latent is None else block.mlp[0].latent_features
                return Prepared(
                    trained(module),
                    lambda rows: Step(module, x[:rows].detach().requires_grad_(), upstream[:rows]),
                    lambda: errors(module, exact, x, upstream, TOLERANCES[options.dtype]),
                    f"{channels}-{width}-{channels}",
                )

            return Candidate(name, CLASSICAL if latent is None else OURS, prepare)

        found = []
        for alone in (False, True):
            found.append(candidate(MLP_ALONE if alone else MLP_BLOCK, alone, None))
            found += [candidate(_name(latent, alone), alone, latent) for latent in self.latents]
        return found

    def notes(self, entries: Sequence[Entry]) -> list[str]:
        """Time and memory of the blocks with HQKANs over those of the block with the MLP."""
        found, notes = {entry.name: entry for entry in entries}, []
        plain = found[MLP_BLOCK]
        for latent in self.latents:
            entry = found[_name(latent, False)]
            if entry.median and plain.median:
                ratio = entry.median / plain.median
                what = f"times the training step of the {MLP_BLOCK}"
                notes.append(f"{entry.name}: {against_aim(ratio, what, 'at most', _RATIO)}")
            if entry.extra_bytes is not None and plain.extra_bytes:
                ratio = entry.extra_bytes / plain.extra_bytes
                what = f"times the extra memory of the {MLP_BLOCK}"
                notes.append(f"{entry.name}: {against_aim(ratio, what, 'at most', _RATIO)}")
        return notes


def _name(latent: str, alone: bool) -> str:
    return f"HQKAN alone, {latent}" if alone else f"block, HQKAN {latent}"


def errors(module: nn.Module, exact: nn.Module, x: Tensor, upstream: Tensor, limits: tuple[float, float]) -> Errors:
    """How far a module is from one in double precision on the first tokens of the first sequence.

    The module runs the whole work, with an upstream gradient at those tokens alone; as attention is causal, nothing
    else may have an influence, and all other gradients of the input must be zero.

    Args:
        module: what is measured.
        exact: the same with parameters in double precision and circuits on the reference.
        x, upstream: (batch, tokens, channels).
        limits: of an output and of a gradient, for inputs of one; see :data:`TOLERANCES`.
    """
    part = (slice(0, 1), slice(0, min(CHECKED_TOKENS, x.shape[1])))
    masked = torch.zeros_like(upstream)
    masked[part] = upstream[part]
    exact = copy.deepcopy(exact)
    exact.load_state_dict({name: tensor.double() for name, tensor in module.state_dict().items()})
    truth = Step(exact, x[part].detach().double().requires_grad_(), upstream[part].double())
    step = Step(module, x.detach().requires_grad_(), masked)
    wanted, got = truth.forward(), step.forward()
    of_inputs, *of_parameters = truth.backward(wanted)
    inputs, *parameters = step.backward(got)
    found = [gradient_error(inputs, of_inputs, part)]
    found += [gradient_error(each, expected, (...,)) for each, expected in zip(parameters, of_parameters, strict=True)]
    wrong = (got.detach()[part].double() - wanted.detach()).abs().max()
    return Errors(float(wrong), float(torch.stack(found).max()), *limits)


@benchmark(
    "block",
    ("B,T,C", "Batch, tokens, width of the model"),
    SIZES,
    "B, T and C",
    click.option("--heads", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Of attention."),
    click.option(
        "--reps", type=click.IntRange(1, MAX_REPS), default=3, show_default=True, metavar="R",
        help="Repetitions of the circuits.",
    ),
    click.option(
        "--latents", type=NamesType("latent", lambda: LATENTS), metavar="NAME,...", default=",".join(LATENTS),
        help="Latents of the HQKANs: log2 (of the width, as in the paper), quarter and equal (parameters of the MLP).  "
        "[default: all]",
    ),
    inputs="normal",
    examples=("--threads 2", "--size 4,64,384 --heads 6 --latents equal --reps 1"),
)  # fmt: skip
def main(
    sizes: tuple[Numbers, ...], heads: int, reps: int, latents: tuple[str, ...], growth: bool, **chosen: Any
) -> None:
    """Measure a GPT block with an MLP against the same block with HQKANs in its place.

    The block is causal attention and an MLP four times as wide with GELU, each behind a norm and beside a residual.
    Every candidate is compared with itself in double precision, circuits on the reference, on the first tokens of the
    first sequence, outputs and all gradients; then it is timed, in turns with all others. A training step is forward
    and backward, to inputs and parameters, without an optimizer. Memory is the peak of one step beyond parameters,
    inputs and gradients. If an error is too large, its row says WRONG and the command ends with exit code 1.

    Figures, tables and picture are written to the folder: block.json, .md and .png, or growth.json, .md and .png.
    """
    found = [TokenSize(*size) for size in chosen_sizes(sizes, growth, SIZES, BASE)]

    def works(options: Options) -> list[Work]:
        return [BlockWork(size, options, heads, reps, latents) for size in found]

    measure("block", works, growth, backends=("auto",), ansatz="pz", **chosen)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.block")
