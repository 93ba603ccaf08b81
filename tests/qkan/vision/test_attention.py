"""KArAttention against its formula, softmax-free, in blockwise and shared modes."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qkan import AttentionOperator, KArAttention

TOKENS, DIM, HEADS = 5, 8, 2


def attention(**options: Any) -> KArAttention:
    torch.manual_seed(0)
    made = KArAttention(DIM, HEADS, num_tokens=TOKENS, rank=3, frequencies=2, dtype=torch.float64, **options)
    for parameter in made.operator.parameters():
        nn.init.normal_(parameter)
    return made


def tokens(batch: int = 3) -> Tensor:
    return torch.randn(batch, TOKENS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def naive(layer: KArAttention, x: Tensor) -> Tensor:
    """The formula of the paper, one number after the other: token k of a head takes (W phi(A_k))_n from token n."""
    q, k, v = layer.qkv(x).view(len(x), TOKENS, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    rows = []
    for sample in range(len(x)):
        heads = []
        for head in range(HEADS):
            scores = q[sample, head] @ k[sample, head].T / (DIM // HEADS) ** 0.5
            a, b = layer.operator.edges[head].coefficients.view(2, 2, TOKENS, 3)  # cos and sin, of x and 2 x
            w = layer.operator.mixing[head].T
            phi = sum(
                a[m, p] * torch.cos((m + 1) * scores[:, p, None]) + b[m, p] * torch.sin((m + 1) * scores[:, p, None])
                for m in range(2)
                for p in range(TOKENS)
            )
            heads.append((phi @ w.T) @ v[sample, head])
        rows.append(torch.cat(heads, -1))
    return layer.proj(torch.stack(rows))


def test_outputs_and_all_gradients_are_those_of_the_formula() -> None:
    layer, x, other = attention(qkv_bias=True), tokens().requires_grad_(), tokens().requires_grad_()
    y, want = layer(x), naive(layer, other)
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    trained = list(layer.parameters())
    found = torch.autograd.grad(y.sin().sum(), [x, *trained])
    for one, expected in zip(found, torch.autograd.grad(want.sin().sum(), [other, *trained]), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-11)


def test_weights_and_dropout_go_with_the_form_that_never_makes_them() -> None:
    layer, x = attention(), tokens()
    v = layer.qkv(x).view(3, TOKENS, 3, HEADS, -1)[:, :, 2]
    want = torch.einsum("bhkn,bnhd->bkhd", layer.weights(x), v).flatten(2)
    torch.testing.assert_close(layer(x), layer.proj(want), rtol=1e-12, atol=1e-12)
    dropped = attention(attn_drop=1e-12)
    torch.testing.assert_close(dropped.train()(x), layer(x), rtol=1e-9, atol=1e-11)
    assert attention(attn_drop=1 - 1e-12).train()(x).std(0).max() < 1e-6


def test_no_output_depends_on_the_rest_of_the_batch() -> None:
    layer, x = attention(qk_norm=True, scale_norm=True), tokens()
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]), rtol=1e-12, atol=1e-13)


def test_float32_and_bfloat16_follow_float64() -> None:
    layer, x = attention(), tokens()
    for dtype, slack in ((torch.float32, 1e-5), (torch.bfloat16, 0.2)):
        y = attention().to(dtype)(x.to(dtype))
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), layer(x), rtol=0, atol=slack * float(layer(x).detach().abs().max()))


def test_blocks_that_share_an_operator_learn_it_together() -> None:
    operator = AttentionOperator(TOKENS, HEADS, dtype=torch.float64)
    make = partial(KArAttention, DIM, HEADS, operator=operator, dtype=torch.float64)
    shared = nn.Sequential(make(), make())
    shared(tokens()).sum().backward()
    assert shared[0].operator is shared[1].operator
    blockwise = nn.Sequential(*(KArAttention(DIM, HEADS, num_tokens=TOKENS) for _ in range(2)))
    size = HEADS * (6 * TOKENS * 12 + 12 * TOKENS)
    counts = [sum(p.numel() for p in model.parameters()) for model in (blockwise, shared)]
    assert counts[0] - counts[1] == size == sum(p.numel() for p in operator.parameters())


def test_a_seed_draws_the_same_operator() -> None:
    one, other = (AttentionOperator(4, 2, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            (3, 7, 8),
            {},
            r"built for 5 tokens, so it needs \(batch, 5, 8\), got \(3, 7, 8\); build it with the num_tokens",
        ),
        ((5, 8), {}, r"needs \(batch, 5, 8\), got \(5, 8\)"),
        ((3, 5, 7), {}, r"needs an input of shape \(..., 8\), got \(3, 5, 7\)"),
        ((3, 5, 8), {"is_causal": True}, "takes no mask: .* leave masked tokens out"),
        ((3, 5, 8), {"attn_mask": torch.ones(5, 5)}, "takes no mask"),
    ],
)
def test_inputs_it_was_not_built_for(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention()(torch.zeros(shape, dtype=torch.float64), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3, "num_tokens": 5}, "num_heads 3 does not divide dim 8"),
        ({}, r"give either num_tokens \(got None\), .* or operator"),
        ({"num_tokens": 5, "operator": AttentionOperator(5, 2)}, r"give either num_tokens \(got 5\)"),
        ({"num_heads": 2, "operator": AttentionOperator(5, 4)}, "the operator has 4 heads, but num_heads is 2"),
        ({"num_tokens": 0}, r"num_tokens 0 is outside \[1, "),
        ({"num_tokens": 5.0}, "num_tokens must be an int, got float"),
        ({"operator": nn.Identity()}, r"operator must be a qkan\.AttentionOperator, got Identity"),
        ({"num_tokens": 5, "rank": 0}, r"rank 0 is outside \[1, "),
        ({"num_tokens": 5, "frequencies": 1000}, r"frequencies 1000 is outside \[1, 256\]"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        KArAttention(8, **options)


def test_a_configured_class_builds_the_attention_itself() -> None:
    made = KArAttention.configured(num_tokens=TOKENS, rank=3)
    assert issubclass(made, KArAttention)
    attention = made(DIM, num_heads=HEADS)
    assert (type(attention), attention.operator.rank, attention.operator.num_tokens) == (KArAttention, 3, TOKENS)
