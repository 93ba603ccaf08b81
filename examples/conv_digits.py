"""Two small convolutional networks on scikit-learn's digits: weights and ReLU against circuits (QKANConv2d).

    python examples/conv_digits.py                    # a few minutes of one core; needs scikit-learn
    python examples/conv_digits.py --seeds 1 --tuning-seeds 1 --epochs 2 --rates 1e-2

Data, split, training and budget are those of examples/vit_digits.py. The networks have two convolutions of 3 x 3
pixels, the second of stride 2, a BatchNorm behind each, the mean over pixels and ten classes; all have as many channels
as give them the parameters of the one with a circuit for every weight.
"""

from __future__ import annotations

from collections.abc import Callable

import equal_tuning
import torch
from torch import Tensor, nn
from vit_digits import Result, load_parts, run

from qkan import QKANConv2d

CHANNELS = 6
MakeNet = Callable[[int], nn.Module]


class AsImages(nn.Module):
    """(batch, height, width) to (batch, 1, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """The images with a channel."""
        return x.unsqueeze(1)


def network(first: nn.Module, second: nn.Module, channels: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """Both convolutions, the second to twice as many channels, and what stands around them."""
    return nn.Sequential(
        AsImages(),
        *(first, nn.BatchNorm2d(channels), activation()),
        *(second, nn.BatchNorm2d(2 * channels), activation()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * channels, 10)),
    )


def plain(channels: int) -> nn.Module:
    """Weights and ReLU."""
    first, second = nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, 2 * channels, 3, 2, 1)
    return network(first, second, channels, nn.ReLU)


def circuits(channels: int) -> nn.Module:
    """A circuit for every weight, and no other activation."""
    options = {"reps": 1, "base_activation": None}
    first = QKANConv2d(1, channels, 3, padding=1, **options)
    return network(first, QKANConv2d(channels, 2 * channels, 3, 2, 1, **options), channels, nn.Identity)


def per_input(channels: int) -> nn.Module:
    """A circuit for every pixel of a patch, which all outputs weigh, and no other activation."""
    options = {"reps": 1, "group": "input", "postact_weight_trainable": True, "base_activation": None}
    first = QKANConv2d(1, channels, 3, padding=1, **options)
    return network(first, QKANConv2d(channels, 2 * channels, 3, 2, 1, **options), channels, nn.Identity)


def main(arguments: list[str] | None = None) -> None:
    """Tune, train and print the table."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=5, tuning_seeds=2, rates=[3e-3, 1e-2, 3e-2])
    made.add_argument("--epochs", type=int, default=20)
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    parts, room = load_parts(), equal_tuning.size(circuits(CHANNELS))
    kinds: dict[str, MakeNet] = {
        "weights and ReLU": plain,
        "QKANConv2d": circuits,
        "QKANConv2d, a circuit per input": per_input,
    }
    print("| convolutions | parameters | channels | rate | test accuracy, median (range) | test loss | ms per step |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, make in kinds.items():
        channels = equal_tuning.widest(make, room)

        def train(rate: float, seed: int, make: MakeNet = make, channels: int = channels) -> Result:
            return run(lambda: make(channels), parts, seed=seed, rate=rate, epochs=options.epochs)

        tuned = equal_tuning.tune(train, options.rates, options.tuning_seeds, options.seeds)
        print(
            f"| {name} | {equal_tuning.size(make(channels)):,} | {channels} | {tuned.choice:g} "
            f"| {tuned.spread('accuracy', '.2%')} | {tuned.median('test_loss'):.4f} | {tuned.median('step_ms'):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
