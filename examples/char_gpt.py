"""A small GPT on characters: its MLPs against HQKANs of as many parameters and of a quarter of them.

    python examples/char_gpt.py                       # about half an hour of one core
    python examples/char_gpt.py --seeds 1 --steps 300 --rates 3e-3

The text is the language reference that Python ships for its help() (pydoc_data.topics, about 465,000 characters; it
differs a little between versions of Python). The first 80 % train, the next 10 % validate, the last 10 % test. All
kinds of block get the same budget: every learning rate is tried with the first --tuning-seeds seeds, the lowest median
validation loss chooses, and all seeds are trained with it. Everything but the blocks is the same, initial weights
included, since they are drawn first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equal_tuning
import torch
from equal_tuning import size, widest
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import HQKAN

WIDTH, DEPTH, HEADS, CONTEXT, BATCH = 64, 2, 4, 64, 32
HIDDEN = 4 * WIDTH
SHARE = 4  # the small blocks have at most 1 / SHARE of the MLP's parameters
WARM_UP = 0.1  # of the steps
MakeBlock = Callable[[], nn.Module]


class Block(nn.Module):
    """Causal attention and an MLP, each behind a layer norm and beside a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.project, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to tokens (batch, tokens, width)."""
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.project(self.norm1(x)).chunk(3, -1)
        )
        heads = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(heads.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Characters (batch, tokens) to scores of the next ones (batch, tokens, characters)."""

    def __init__(self, characters: int, make_mlp: MakeBlock) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(CONTEXT, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)
        for block in self.blocks:
            block.mlp = make_mlp()

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the character behind each."""
        x = self.embed(tokens) + self.position[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def mlp(hidden: int) -> nn.Module:
    """Linear, GELU, linear."""
    return nn.Sequential(nn.Linear(WIDTH, hidden), nn.GELU(), nn.Linear(hidden, WIDTH))


def hqkan(latent: int) -> nn.Module:
    """Affine, a circuit for each latent number and weights that mix them, affine."""
    return HQKAN(WIDTH, latent, reps=1, group="input", postact_weight_trainable=True)


def kinds() -> dict[str, MakeBlock]:
    """What is compared, by name: the MLP, an HQKAN of its size, and two blocks of at most a quarter of it."""
    whole = size(mlp(HIDDEN))
    found: dict[str, MakeBlock] = {f"MLP, {HIDDEN} wide": lambda: mlp(HIDDEN)}
    wanted = (("HQKAN", hqkan, whole), *((name, make, whole // SHARE) for name, make in SMALL.items()))
    for name, make, limit in wanted:
        width = widest(make, limit)
        found[f"{name}, {width} wide"] = lambda make=make, width=width: make(width)  # type: ignore[misc]
    return found


SMALL: dict[str, Callable[[int], nn.Module]] = {"HQKAN": hqkan, "MLP": mlp}


@dataclass(frozen=True)
class Text:
    """Tokens of the training, validation and test part, and how many different characters there are."""

    train: Tensor
    validation: Tensor
    test: Tensor
    characters: int


def load_text() -> Text:
    """The language reference of this Python; characters outside ASCII become question marks."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "replace").decode()
    alphabet = {character: token for token, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([alphabet[character] for character in text])
    first, second = len(tokens) * 8 // 10, len(tokens) * 9 // 10
    return Text(tokens[:first], tokens[first:second], tokens[second:], len(alphabet))


@dataclass(frozen=True)
class Result:
    """What one training run gave: losses in nats a character, milliseconds a step, validation loss along the way."""

    validation_loss: float
    test_loss: float
    step_ms: float
    curve: list[tuple[int, float]]


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean cross entropy of the last CONTEXT characters of rows (batch, CONTEXT + 1)."""
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def evaluate(model: nn.Module, tokens: Tensor, rows: int | None = None) -> float:
    """Loss on evenly spread pieces of a part, all of it by default."""
    pieces = tokens[: (len(tokens) - 1) // CONTEXT * CONTEXT + 1].unfold(0, CONTEXT + 1, CONTEXT)
    if rows is not None:
        pieces = pieces[torch.linspace(0, len(pieces) - 1, min(rows, len(pieces))).round().long()]
    with torch.no_grad():
        losses = [loss_of(model, part) * len(part) for part in pieces.split(BATCH)]
    return float(sum(losses)) / len(pieces)


def rate_at(step: int, steps: int) -> float:
    """Share of the peak rate: a line up, then a cosine down."""
    warm = max(1, int(WARM_UP * steps))
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def run(make: MakeBlock, text: Text, *, seed: int, rate: float, steps: int) -> Result:
    """Train with AdamW on random pieces, gradients clipped to norm 1."""
    torch.manual_seed(seed)
    model = GPT(text.characters, make)
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
    pieces = text.train.unfold(0, CONTEXT + 1, 1)
    loss_of(model, pieces[:BATCH]).backward()  # kernels are compiled on their first use
    curve, seconds = [], 0.0
    for step in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss_of(model, pieces[torch.randint(len(pieces), (BATCH,), generator=order)]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - start
        if (step + 1) % max(1, steps // 10) == 0:
            curve.append((step + 1, evaluate(model, text.validation, 64)))
    losses = evaluate(model, text.validation), evaluate(model, text.test)
    return Result(*losses, 1000 * seconds / steps, curve)


def draw(found: dict[str, equal_tuning.Tuned[float, Result]], path: Path) -> None:
    """Draw the validation loss by step, the median over the seeds of each kind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, tuned in found.items():
        curves = torch.tensor([result.curve for result in tuned.results]).median(0).values
        axes.plot(*curves.T.tolist(), label=name)
    axes.set(xlabel="step", ylabel="validation loss in nats a character (median of seeds)")
    axes.legend()
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    """Tune, train and print the table."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=3, tuning_seeds=1, rates=[3e-3, 1e-2, 3e-2])
    made.add_argument("--steps", type=int, default=1500)
    made.add_argument("--plot", type=Path, help="plot of the learning curves to write")
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    text = load_text()
    print("| block | parameters | rate | test loss, median (range) | characters in bits | ms per step |")
    print("|---|---|---|---|---|---|")
    found = {}
    for name, make in kinds().items():

        def train(rate: float, seed: int, make: MakeBlock = make) -> Result:
            return run(make, text, seed=seed, rate=rate, steps=options.steps)

        tuned = found[name] = equal_tuning.tune(train, options.rates, options.tuning_seeds, options.seeds)
        print(
            f"| {name} | {size(make()):,} | {tuned.choice:g} | {tuned.spread('test_loss', '.3f')} "
            f"| {tuned.median('test_loss') / math.log(2):.3f} | {tuned.median('step_ms'):.1f} |",
            flush=True,
        )
    if options.plot is not None:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
