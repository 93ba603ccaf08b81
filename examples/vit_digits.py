"""A small Vision Transformer on scikit-learn's digits: its MLPs against GR-KANs of as many parameters.

    python examples/vit_digits.py                     # a few minutes of one core; needs scikit-learn
    python examples/vit_digits.py --seeds 3 --epochs 20 --rates 3e-3

The data are 1,797 images of 8 x 8 pixels that scikit-learn ships. The split, 1,077 for training, 360 for validation and
360 for testing, is the same for all runs. All kinds of block get the same budget: every learning rate is tried with the
first --tuning-seeds seeds, the lowest median validation loss chooses, and all seeds are trained with it. Everything but
the blocks is the same, initial weights included, since they are drawn first. A GR-KAN also starts with larger weights
than an nn.Linear; the second MLP, which starts like a GR-KAN, tells that apart from the activations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import equal_tuning
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import GRKAN, GroupRational

WIDTH, DEPTH, HEADS, PATCH = 32, 2, 4, 2
HIDDEN = 64
#: E[x^2] / E[GELU(x)^2] for x ~ N(0, 1)
GELU_GAIN = 2.3517
TOKENS = (8 // PATCH) ** 2
MakeMLP = Callable[[int], nn.Module]
MakeViT = Callable[[], nn.Module]


class SelfAttention(nn.MultiheadAttention):
    """Attention of tokens (batch, tokens, width) to each other."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Tokens of the same shape."""
        return super().forward(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention: nn.Module = SelfAttention(WIDTH, HEADS, batch_first=True)
        self.mlp: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to tokens (batch, tokens, width)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches of 2 x 2 pixels, two blocks, the mean of the tokens, ten classes: (batch, 8, 8) to (batch, 10)."""

    def __init__(self, make_mlp: MakeMLP) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH * PATCH, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10))
        for block in self.blocks:
            block.mlp = make_mlp(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of images (batch, 8, 8)."""
        patches = images.unfold(1, PATCH, PATCH).unfold(2, PATCH, PATCH).reshape(len(images), TOKENS, -1)
        return self.head(self.blocks(self.embed(patches) + self.position).mean(1))


def mlp(hidden: int, keep_variance: bool = False) -> MakeMLP:
    """Linear, GELU, linear; ``keep_variance`` draws weights as GRKAN does, else nn.Linear does."""

    def make(width: int) -> nn.Module:
        block = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        if keep_variance:
            for linear, gain in ((block[0], 1.0), (block[2], GELU_GAIN)):
                nn.init.normal_(linear.weight, 0, (gain / linear.in_features) ** 0.5)
                nn.init.zeros_(linear.bias)
        return block

    return make


def gr_kan(hidden: int) -> MakeMLP:
    """Rational, linear, rational, linear."""
    return lambda width: GRKAN(width, hidden)


def size(make_mlp: MakeMLP) -> int:
    """Trained parameters of the whole network."""
    return sum(parameter.numel() for parameter in ViT(make_mlp).parameters())


def hidden_of_size(parameters: int) -> int:
    """The hidden width of the MLPs with which the network comes closest to a number of parameters."""
    return min(range(1, 2 * HIDDEN), key=lambda hidden: abs(size(mlp(hidden)) - parameters))


@dataclass(frozen=True)
class Part:
    """Images (n, 8, 8) in [-1, 1] and their classes (n,)."""

    images: Tensor
    classes: Tensor


def load_parts() -> tuple[Part, Part, Part]:
    """The digits as training, validation and test part, classes in equal shares."""
    images, classes = load_digits(return_X_y=True)
    rest, test, rest_classes, test_classes = train_test_split(
        images, classes, test_size=360, stratify=classes, random_state=0
    )
    train, val, train_classes, val_classes = train_test_split(
        rest, rest_classes, test_size=360, stratify=rest_classes, random_state=0
    )

    def part(pixels: object, labels: object) -> Part:
        return Part(torch.as_tensor(pixels, dtype=torch.float32).view(-1, 8, 8) / 8 - 1, torch.as_tensor(labels))

    return part(train, train_classes), part(val, val_classes), part(test, test_classes)


@dataclass(frozen=True)
class Result:
    """What one training run gave: losses in nats, accuracy as a share, milliseconds per step."""

    validation_loss: float
    test_loss: float
    accuracy: float
    step_ms: float


def groups_of(model: nn.Module) -> list[dict[str, object]]:
    """What AdamW decays, weights of linear maps, and what it leaves: biases, norms, positions, coefficients."""
    weights = {id(p) for p in model.parameters() if p.dim() == 2}
    weights -= {id(p) for m in model.modules() if isinstance(m, GroupRational) for p in m.parameters()}
    weights -= {id(p) for name, p in model.named_parameters() if name == "position"}
    decayed, left = ([p for p in model.parameters() if (id(p) in weights) is inside] for inside in (True, False))
    return [{"params": decayed, "weight_decay": 0.05}, {"params": left, "weight_decay": 0.0}]


def run(make: MakeViT, parts: tuple[Part, Part, Part], *, seed: int, rate: float, epochs: int) -> Result:
    """Train with AdamW, one cycle of the learning rate up to ``rate``, batches of 64 images."""
    torch.manual_seed(seed)
    train, val, test = parts
    model = make()
    batches = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(train.images) // 64)
    optimizer = torch.optim.AdamW(groups_of(model), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model(train.images[:64]).sum().backward()  # kernels are compiled on their first use
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(train.images), generator=batches).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(train.images[rows]), train.classes[rows]).backward()
            optimizer.step()
            schedule.step()
    step_ms = 1000 * (time.perf_counter() - start) / steps
    model.eval()
    with torch.no_grad():
        scores = model(test.images)
        losses = [F.cross_entropy(model(val.images), val.classes), F.cross_entropy(scores, test.classes)]
    accuracy = (scores.argmax(-1) == test.classes).float().mean()
    return Result(*(float(number) for number in (*losses, accuracy)), step_ms)


def main(arguments: list[str] | None = None) -> None:
    """Tune, train and print the table."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=5, tuning_seeds=2, rates=[3e-3, 1e-2, 3e-2])
    made.add_argument("--epochs", type=int, default=40)
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    parts = load_parts()
    hidden = hidden_of_size(size(gr_kan(HIDDEN)))
    kinds = {"MLP": mlp(hidden), "MLP, GR-KAN's start": mlp(hidden, keep_variance=True), "GR-KAN": gr_kan(HIDDEN)}
    print("| block | parameters | rate | test accuracy, median (range) | test loss, median (range) | ms per step |")
    print("|---|---|---|---|---|---|")
    for name, make_mlp in kinds.items():

        def train(rate: float, seed: int, make_mlp: MakeMLP = make_mlp) -> Result:
            return run(lambda: ViT(make_mlp), parts, seed=seed, rate=rate, epochs=options.epochs)

        tuned = equal_tuning.tune(train, options.rates, options.tuning_seeds, options.seeds)
        print(
            f"| {name} | {size(make_mlp):,} | {tuned.choice:g} | {tuned.spread('accuracy', '.2%')} "
            f"| {tuned.spread('test_loss', '.4f')} | {tuned.median('step_ms'):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
