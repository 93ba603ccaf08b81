"""Colour matching: a small convolution writes the angles of a colour-to-colour QKAN for every pixel (after cmKAN).

    python examples/colour_matching.py                # a few minutes of one core
    python examples/colour_matching.py --epochs 4 --seeds 1 --tuning-seeds 1 --rates 1e-2

cmKAN (Color Matching Using Hypernetwork-Based Kolmogorov-Arnold Networks) lets a network look at an image and write
the splines of a KAN from 3 colours to 3. Here it writes the angles of a QKANLayer(3, 3), which takes angles of every
sample: layer(x, theta). The pairs are made: a camera sees a scene under an illuminant, and the other image shows the
scene under a nearly white one, with another camera's colours and a contrast that depends on how light the scene is. So
no map of colours alone can be right for all images. All networks have about as many parameters and the same budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import equal_tuning
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import QKANLayer

SIDE, PATCHES, NOISE = 12, 6, 0.005
#: What the two cameras' channels see of red, green and blue light; rows sum to 1.
SOURCE = torch.tensor([[0.75, 0.20, 0.05], [0.15, 0.70, 0.15], [0.05, 0.30, 0.65]])
TARGET = torch.tensor([[0.90, 0.15, -0.05], [-0.05, 0.95, 0.10], [0.00, -0.05, 1.05]])
#: Width of the network that writes angles; the others are made as large.
WIDTH = 16
#: Hidden numbers of the MLP that a network writes.
HIDDEN = 4
Make = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Part:
    """Pairs of images (n, 3, SIDE, SIDE)."""

    source: Tensor
    target: Tensor


def draw(count: int, generator: torch.Generator) -> Part:
    """Scenes of a few colours, seen by both cameras."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    axis = torch.linspace(0, 1, SIDE)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(1, -1, 1, 2)
    nearest = (places - uniform(count, 1, PATCHES, 2)).square().sum(-1).argmin(-1)  # (count, pixels)
    colours = 0.05 + 0.85 * uniform(count, PATCHES, 3)
    scene = colours.gather(1, nearest.unsqueeze(-1).expand(-1, -1, 3))
    light = (0.35 * torch.randn((count, 1, 3), generator=generator)).exp()
    slope = uniform(count, 1, 2) - 0.5
    scene = scene * (1 + 0.6 * (slope * (places.view(1, -1, 2) - 0.5)).sum(-1, keepdim=True))
    source = (scene * light) @ SOURCE.T
    source = source + NOISE * torch.randn(source.shape, generator=generator)
    contrast = (1 + 0.6 * (scene.mean((1, 2), keepdim=True) - 0.5)) / 2.2
    target = ((scene * light**0.2) @ TARGET.T).clamp_min(1e-4) ** contrast
    return Part(*(image.mT.reshape(count, 3, SIDE, SIDE) for image in (source, target)))


class Generator(nn.Module):
    """Looks at an image (batch, 3, height, width) and writes ``numbers`` for every pixel, zeros at the start."""

    def __init__(self, width: int, numbers: int) -> None:
        super().__init__()
        self.near, self.far = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, 2, 1)
        self.around = nn.Linear(width, width)
        self.write = nn.Conv2d(width, numbers, 1)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, height, width, numbers)."""
        near = F.relu(self.near(images))
        whole = F.relu(self.far(near)).mean((-2, -1))
        return self.write(F.relu(near + self.around(whole)[..., None, None])).movedim(1, -1)


class HyperQKAN(nn.Module):
    """A QKANLayer from 3 colours to 3 with angles of its own at every pixel, around those that all share."""

    def __init__(self, width: int, reps: int = 3) -> None:
        super().__init__()
        self.layer = QKANLayer(3, 3, reps, base_activation="identity")
        self.generator = Generator(width, self.layer.theta.numel())

    def forward(self, images: Tensor) -> Tensor:
        """The matched images."""
        steps = self.generator(images).unflatten(-1, self.layer.theta.shape)
        return self.layer(images.movedim(1, -1), self.layer.theta + steps).movedim(-1, 1)


class HyperMLP(nn.Module):
    """The same with a small MLP, 3 - HIDDEN - 3, beside a linear map that all pixels share."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(3, 3)
        self.first, self.second = nn.Linear(3, HIDDEN), nn.Linear(HIDDEN, 3)
        self.sizes = [p.numel() for p in (*self.first.parameters(), *self.second.parameters())]
        self.generator = Generator(width, sum(self.sizes))

    def forward(self, images: Tensor) -> Tensor:
        """The matched images."""
        x = images.movedim(1, -1)
        written = self.generator(images).split(self.sizes, -1)
        shared = [*self.first.parameters(), *self.second.parameters()]
        w1, b1, w2, b2 = (a + b.unflatten(-1, a.shape) for a, b in zip(shared, written, strict=True))
        hidden = torch.tanh((w1 @ x.unsqueeze(-1)).squeeze(-1) + b1)
        return (self.base(x) + (w2 @ hidden.unsqueeze(-1)).squeeze(-1) + b2).movedim(-1, 1)


class HyperAffine(nn.Module):
    """The same with a 3 x 3 matrix and a shift: what is left without functions of single colours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base, self.generator = nn.Linear(3, 3), Generator(width, 12)

    def forward(self, images: Tensor) -> Tensor:
        """The matched images."""
        x, written = images.movedim(1, -1), self.generator(images)
        matrix, shift = written[..., :9].unflatten(-1, (3, 3)), written[..., 9:]
        return (self.base(x) + (matrix @ x.unsqueeze(-1)).squeeze(-1) + shift).movedim(-1, 1)


class Direct(nn.Module):
    """The network that looks at the image writes the colours themselves."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base, self.generator = nn.Linear(3, 3), Generator(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        """The matched images."""
        return (self.base(images.movedim(1, -1)) + self.generator(images)).movedim(-1, 1)


class Global(nn.Module):
    """One map from colour to colour for all images: an MLP on single pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(3, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3)
        )

    def forward(self, images: Tensor) -> Tensor:
        """The matched images."""
        return self.mlp(images.movedim(1, -1)).movedim(-1, 1)


@dataclass(frozen=True)
class Result:
    """What one training run gave: mean squared errors, decibels on the test part, milliseconds a step."""

    validation_loss: float
    psnr: float
    step_ms: float


def load_parts() -> tuple[Part, Part, Part]:
    """Pairs for training, validation and testing, the same for all runs."""
    generator = torch.Generator().manual_seed(0)
    return draw(400, generator), draw(100, generator), draw(200, generator)


def run(
    make: Callable[[], nn.Module], parts: tuple[Part, Part, Part], *, seed: int, rate: float, epochs: int
) -> Result:
    """Train with Adam, one cycle of the learning rate up to ``rate``, batches of 16 images."""
    torch.manual_seed(seed)
    train, val, test = parts
    model, batches = make(), torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(train.source) // 16)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model(train.source[:16]).sum().backward()  # kernels are compiled on their first use
    start = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(len(train.source), generator=batches).split(16):
            optimizer.zero_grad()
            F.mse_loss(model(train.source[rows]), train.target[rows]).backward()
            optimizer.step()
            schedule.step()
    step_ms = 1000 * (time.perf_counter() - start) / steps
    with torch.no_grad():
        validation, error = (float(F.mse_loss(model(part.source), part.target)) for part in (val, test))
    return Result(validation, -10 * math.log10(error), step_ms)


def main(arguments: list[str] | None = None) -> None:
    """Tune, train and print the table."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=3, tuning_seeds=1, rates=[5e-3, 1e-2, 2e-2, 4e-2])
    made.add_argument("--epochs", type=int, default=40)
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    parts = load_parts()
    kinds: dict[str, Make] = {
        "writes the angles of a QKAN": HyperQKAN,
        "writes the weights of an MLP": HyperMLP,
        "writes a matrix and a shift": HyperAffine,
        "writes the colours": Direct,
        "one MLP for all images": Global,
    }
    room = equal_tuning.size(HyperQKAN(WIDTH))
    print("| network | parameters | rate | test PSNR in dB, median (range) | ms per step |")
    print("|---|---|---|---|---|", flush=True)
    for name, make in kinds.items():
        width = equal_tuning.widest(make, room)

        def train(rate: float, seed: int, make: Make = make, width: int = width) -> Result:
            return run(lambda: make(width), parts, seed=seed, rate=rate, epochs=options.epochs)

        tuned = equal_tuning.tune(train, options.rates, options.tuning_seeds, options.seeds)
        shown = f"| {name} | {equal_tuning.size(make(width)):,} | {tuned.choice:g} | {tuned.spread('psnr', '.2f')} "
        print(f"{shown}| {tuned.median('step_ms'):.1f} |", flush=True)


if __name__ == "__main__":
    main()
