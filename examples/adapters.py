"""Adapters of a small GPT: trained on one text, then fitted to another by changes of rank 4 of its linear layers.

    python examples/adapters.py                       # about ten minutes of one core
    python examples/adapters.py --seeds 1 --tuning-seeds 1 --steps 50 --base-steps 100 --rates 2e-2

The network of examples/char_gpt.py learns Python's language reference; the other text is the source code of some of its
modules (about 335,000 characters; it differs a little between versions of Python). The first 80 % of each train, the
next 10 % validate, the last 10 % test. Every kind of adapter stands in all linear layers of the blocks and gets the
same budget: every learning rate is tried with the first --tuning-seeds seeds, the lowest median validation loss
chooses, and all seeds are trained with it. Seeds draw the adapters and the order of the pieces.
"""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import char_gpt
import equal_tuning
import torch
from char_gpt import GPT, Text, evaluate, loss_of, mlp, rate_at
from torch import Tensor, nn

from qkan import add_adapters

RANK = 4
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
MODULES = ("argparse", "textwrap", "csv", "json.decoder", "heapq", "shlex", "difflib", "cmd", "fractions", "calendar")
Add = Callable[[nn.Module], object]
#: What is compared, by name. Without a circuit CircuitLoRA is plain LoRA.
KINDS: dict[str, Add] = {
    "LoRA": lambda model: add_adapters(model, RANK, "blocks.*", reps=0),
    "CircuitLoRA, a sine": lambda model: add_adapters(model, RANK, "blocks.*"),
    "CircuitLoRA, trained, 3 repetitions": lambda model: add_adapters(
        model, RANK, "blocks.*", reps=3, circuit_trainable=True
    ),
    "NonlinearLoRA, circuits": lambda model: add_adapters(model, RANK, "blocks.*", "nonlinear"),
}


@dataclass(frozen=True)
class Result:
    """What one training run gave: losses in nats a character, milliseconds a step."""

    validation_loss: float
    test_loss: float
    step_ms: float


def parts_of(text: str) -> Text:
    """Tokens of a text in its three parts; characters that are no printable ASCII become question marks."""
    places = {character: token for token, character in enumerate(ALPHABET)}
    tokens = torch.tensor([places.get(character, places["?"]) for character in text])
    first, second = len(tokens) * 8 // 10, len(tokens) * 9 // 10
    return Text(tokens[:first], tokens[first:second], tokens[second:], len(ALPHABET))


def load_texts() -> tuple[Text, Text]:
    """The language reference, and source code."""
    from pydoc_data.topics import topics

    reference = "\n".join(topics[name] for name in sorted(topics))
    return parts_of(reference), parts_of("\n".join(inspect.getsource(import_module(name)) for name in MODULES))


def fit(model: nn.Module, tokens: Tensor, *, seed: int, rate: float, steps: int) -> float:
    """Train what is not frozen with AdamW on random pieces, gradients clipped to norm 1; milliseconds a step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(trained, rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
    pieces = tokens.unfold(0, char_gpt.CONTEXT + 1, 1)
    start = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model, pieces[torch.randint(len(pieces), (char_gpt.BATCH,), generator=order)]).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
    return 1000 * (time.perf_counter() - start) / steps


def run(base: nn.Module, add: Add, text: Text, *, seed: int, rate: float, steps: int) -> Result:
    """Fit adapters of a copy of the network to a text."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base)
    add(model)
    step_ms = fit(model, text.train, seed=seed, rate=rate, steps=steps)
    return Result(evaluate(model, text.validation), evaluate(model, text.test), step_ms)


def main(arguments: list[str] | None = None) -> None:
    """Train the network, then tune and fit every kind of adapter, and print the table."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=5, tuning_seeds=2, rates=[1e-2, 2e-2, 4e-2])
    made.add_argument("--steps", type=int, default=300, help="of every fit (default %(default)s)")
    made.add_argument("--base-steps", type=int, default=1500, help="of the network itself (default %(default)s)")
    made.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), help="default: all")
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    first, second = load_texts()
    torch.manual_seed(0)
    base = GPT(len(ALPHABET), lambda: mlp(char_gpt.HIDDEN))
    fit(base, first.train, seed=0, rate=3e-3, steps=options.base_steps)
    print(f"Without adapters: test loss {evaluate(base, second.test):.3f}\n")
    print(
        "| adapter | parameters | rate | test loss, median (range) | validation loss | characters in bits | ms a step |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in options.kinds:

        def train(rate: float, seed: int, add: Add = KINDS[name]) -> Result:
            return run(base, add, second, seed=seed, rate=rate, steps=options.steps)

        tuned = equal_tuning.tune(train, options.rates, options.tuning_seeds, options.seeds)
        probe = copy.deepcopy(base)
        KINDS[name](probe)
        count = sum(parameter.numel() for parameter in probe.parameters() if parameter.requires_grad)
        print(
            f"| {name} | {count:,} | {tuned.choice:g} | {tuned.spread('test_loss', '.4f')} "
            f"| {tuned.median('validation_loss'):.4f} | {tuned.median('test_loss') / math.log(2):.3f} "
            f"| {tuned.median('step_ms'):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
