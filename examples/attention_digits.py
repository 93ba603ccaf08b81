"""A small Vision Transformer on scikit-learn's digits: its softmax against learned Fourier edges (Fourier-KArAt).

    python examples/attention_digits.py               # a few minutes of one core; needs scikit-learn
    python examples/attention_digits.py --cost        # time and memory of one attention instead

Data, network, split and budget are those of examples/vit_digits.py. KArAttention replaces the softmax by W phi(A), with
edges of its own in every block (blockwise) or one operator for all (shared). So that the comparison is of one size, the
MLPs of the network with a softmax are wider by what the edges have.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence

import equal_tuning
import torch
from torch import nn
from torch.nn import functional as F
from vit_digits import HEADS, HIDDEN, TOKENS, WIDTH, MakeViT, Result, ViT, load_parts, mlp, run

from qkan import AttentionOperator, KArAttention

#: Tokens, width and heads of the attentions that --cost measures, a batch of 8.
SHAPES = ((65, 192, 3), (197, 192, 3), (197, 768, 12), (577, 192, 3))


class Softmax(KArAttention):
    """The same attention with a softmax, as timm's ``Attention``: its control."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__(dim, num_heads, qkv_bias=True, num_tokens=1)
        del self.operator

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> torch.Tensor:
        """Apply the attention to (batch, tokens, dim)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))


def softmax(hidden: int) -> MakeViT:
    """The network with a softmax, its MLPs ``hidden`` wide."""

    def make() -> nn.Module:
        model = ViT(mlp(hidden))
        for block in model.blocks:
            block.attention = Softmax(WIDTH, HEADS)
        return model

    return make


def blockwise() -> nn.Module:
    """Edges of its own in every block."""
    model = ViT(mlp(HIDDEN))
    for block in model.blocks:
        block.attention = KArAttention(WIDTH, HEADS, qkv_bias=True, num_tokens=TOKENS)
    return model


def shared() -> nn.Module:
    """The same edges in all blocks."""
    model, operator = ViT(mlp(HIDDEN)), AttentionOperator(TOKENS, HEADS)
    for block in model.blocks:
        block.attention = KArAttention(WIDTH, HEADS, qkv_bias=True, operator=operator)
    return model


def cost(shapes: Sequence[tuple[int, int, int]]) -> None:
    """Print time and memory of a forward and backward pass of both attentions, in turn."""
    print("| tokens | width | heads | attention | parameters | ms | relative |")
    print("|---|---|---|---|---|---|---|")
    for tokens, width, heads in shapes:
        torch.manual_seed(0)
        x = torch.randn(8, tokens, width, requires_grad=True)
        learned = KArAttention(width, heads, qkv_bias=True, num_tokens=tokens)
        both = {"softmax": Softmax(width, heads), "KArAttention": learned}
        times: dict[str, list[float]] = {name: [] for name in both}
        for turn in range(8):
            for name, module in both.items():
                start = time.perf_counter()
                module(x).sum().backward()
                if turn:  # kernels are compiled on their first use
                    times[name].append(1000 * (time.perf_counter() - start))
        best = {name: min(each) for name, each in times.items()}
        for name, module in both.items():
            shown = f"| {tokens} | {width} | {heads} | {name} | {equal_tuning.size(module):,} | {best[name]:.1f} "
            print(f"{shown}| {best[name] / best['softmax']:.2f} |", flush=True)
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main(arguments: list[str] | None = None) -> None:
    """Tune, train and print the table, or that of the cost."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=5, tuning_seeds=2, rates=[3e-3, 1e-2, 3e-2])
    made.add_argument("--epochs", type=int, default=10)
    made.add_argument("--cost", action="store_true", help="measure time instead of accuracy")
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    if options.cost:
        cost(SHAPES)
        return
    parts = load_parts()
    wide = equal_tuning.widest(lambda hidden: softmax(hidden)(), equal_tuning.size(blockwise()))
    kinds: dict[str, MakeViT] = {
        "softmax": softmax(HIDDEN),
        "softmax, wider MLPs": softmax(wide),
        "KArAttention, blockwise": blockwise,
        "KArAttention, shared": shared,
    }
    print("| attention | parameters | rate | test accuracy, median (range) | test loss, median (range) | ms per step |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, make in kinds.items():

        def train(rate: float, seed: int, make: MakeViT = make) -> Result:
            return run(make, parts, seed=seed, rate=rate, epochs=options.epochs)

        tuned = equal_tuning.tune(train, options.rates, options.tuning_seeds, options.seeds)
        print(
            f"| {name} | {equal_tuning.size(make()):,} | {tuned.choice:g} | {tuned.spread('accuracy', '.2%')} "
            f"| {tuned.spread('test_loss', '.4f')} | {tuned.median('step_ms'):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
