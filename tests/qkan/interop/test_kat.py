"""Checkpoints of the published KAT: synthetic ones of the same layout, and what their tensors mean."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qkan import GRKAN, GroupRational
from qkan.interop.kat import load_kat_state_dict

WIDTH, HIDDEN, BLOCKS, GROUPS = 16, 24, 2, 8


class Block(nn.Module):
    def __init__(self, **options: object) -> None:
        super().__init__()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = GRKAN(WIDTH, HIDDEN, **options)


class Transformer(nn.Module):
    def __init__(self, **options: object) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(**options) for _ in range(BLOCKS)))
        self.head = nn.Linear(WIDTH, 3)


def checkpoint(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Names and shapes of KAT; numbers that are all different."""
    make = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (0.5 * torch.randn(*shape, generator=make)).to(dtype)

    tensors = {}
    for block in range(BLOCKS):
        at = f"blocks.{block}."
        tensors |= {f"{at}norm2.weight": draw(WIDTH), f"{at}norm2.bias": draw(WIDTH)}
        for number, (into, out) in enumerate(((WIDTH, HIDDEN), (HIDDEN, WIDTH)), start=1):
            tensors[f"{at}mlp.fc{number}.weight"] = draw(out, into)
            tensors[f"{at}mlp.fc{number}.bias"] = draw(out)
            tensors[f"{at}mlp.act{number}.weight_numerator"] = draw(1, 6)
            tensors[f"{at}mlp.act{number}.weight_denominator"] = draw(GROUPS, 4)
    return tensors | {"head.weight": draw(3, WIDTH), "head.bias": draw(3)}


def kat_activation(x: list[float], numerator: Tensor, denominator: Tensor) -> list[float]:
    """Channel by channel in the words of the paper: P(x) / (1 + sum_j |b_j x^j|)."""
    out = []
    for channel, value in enumerate(x):
        group = channel // (len(x) // GROUPS)
        p = sum(float(a) * value**k for k, a in enumerate(numerator[0]))
        q = 1 + sum(abs(float(b) * value**j) for j, b in enumerate(denominator[group], start=1))
        out.append(p / q)
    return out


def kat_mlp(x: list[float], tensors: dict[str, Tensor], at: str) -> list[float]:
    """Rational, linear, rational, linear, with a checkpoint's tensors."""
    for number in (1, 2):
        act, fc = f"{at}.act{number}", f"{at}.fc{number}"
        x = kat_activation(x, tensors[f"{act}.weight_numerator"], tensors[f"{act}.weight_denominator"])
        weight, bias = tensors[f"{fc}.weight"].tolist(), tensors[f"{fc}.bias"].tolist()
        x = [math.fsum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
    return x


@pytest.mark.parametrize("options", [{}, {"share_numerator": False}], ids=str)
def test_mlps_compute_what_the_checkpoint_means(options: dict[str, object]) -> None:
    tensors = checkpoint()
    model = Transformer(**options, dtype=torch.float64)
    assert load_kat_state_dict(model, tensors) == ([], [])
    x = torch.randn(3, WIDTH, dtype=torch.float64)
    for block in range(BLOCKS):
        want = torch.tensor([kat_mlp(row, tensors, f"blocks.{block}.mlp") for row in x.tolist()], dtype=torch.float64)
        torch.testing.assert_close(model.blocks[block].mlp(x), want, rtol=0, atol=1e-12)


def test_everything_else_is_loaded_as_it_is() -> None:
    tensors, model = checkpoint(), Transformer()
    load_kat_state_dict(model, tensors)
    assert torch.equal(model.head.weight, tensors["head.weight"])
    assert torch.equal(model.blocks[1].norm2.bias, tensors["blocks.1.norm2.bias"])


@pytest.mark.parametrize(
    "around",
    [
        lambda tensors: {"epoch": 3, "state_dict": tensors, "optimizer": {"lr": 0.1}},
        lambda tensors: {"model": tensors},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}},
    ],
    ids=["state_dict", "model", "parallel", "parallel-state_dict"],
)
def test_what_training_scripts_put_around_the_tensors(around: Callable[[dict[str, Tensor]], dict]) -> None:
    plain, wrapped, tensors = Transformer(), Transformer(), checkpoint()
    load_kat_state_dict(plain, tensors)
    load_kat_state_dict(wrapped, around(tensors))
    for (name, ours), theirs in zip(wrapped.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_checkpoint_in_half_precision_is_widened_and_not_changed() -> None:
    tensors, model = checkpoint(torch.float16), Transformer()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    load_kat_state_dict(model, tensors)
    assert model.blocks[0].mlp.act1.numerator.dtype == torch.float32
    assert torch.equal(model.blocks[0].mlp.act1.numerator, tensors["blocks.0.mlp.act1.weight_numerator"].float())
    assert tensors.keys() == before.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in before.items())


def test_single_blocks_and_activations() -> None:
    tensors = checkpoint()
    block, activation = GRKAN(WIDTH, HIDDEN), GroupRational(WIDTH)
    at = "blocks.1.mlp."
    load_kat_state_dict(block, {name.removeprefix(at): t for name, t in tensors.items() if name.startswith(at)})
    at += "act2."
    load_kat_state_dict(activation, {name.removeprefix(at): t for name, t in tensors.items() if name.startswith(at)})
    assert torch.equal(block.act2.denominator, activation.denominator)
    assert torch.equal(activation.denominator, tensors["blocks.1.mlp.act2.weight_denominator"])


def test_parts_are_loaded_only_when_asked_for() -> None:
    tensors = checkpoint()
    del tensors["blocks.0.mlp.act1.weight_numerator"]
    tensors["extra.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r'(?s)"blocks\.0\.mlp\.act1\.numerator".*"extra\.weight"'):
        load_kat_state_dict(Transformer(), tensors)
    found = load_kat_state_dict(Transformer(), tensors, strict=False)
    assert found == (["blocks.0.mlp.act1.numerator"], ["extra.weight"])


def set_to(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: tensors | {name: tensor}


NAN_LAST = torch.cat([torch.zeros(1, 5), torch.full((1, 1), math.nan)], 1)


@pytest.mark.parametrize(
    ("options", "change", "error", "message"),
    [
        (
            {"denominator": "abs_sum"},
            dict,
            ValueError,
            r"mlp\.act1 computes the denominator 'abs_sum', but KAT's checkpoints are trained with 'abs_terms'; build",
        ),
        (
            {"num_groups": 4},
            dict,
            ValueError,
            r"blocks\.0\.mlp\.act1\.weight_denominator has the shape \(8, 4\), but \(4, 4\) is needed for num_groups=4",
        ),
        (
            {"order": (4, 4)},
            dict,
            ValueError,
            r"act1\.weight_numerator has the shape \(1, 6\), but \(1, 5\) is needed for .* and order=\(4, 4\)",
        ),
        (
            {},
            set_to("blocks.1.mlp.act2.weight_numerator", NAN_LAST),
            ValueError,
            r"blocks\.1\.mlp\.act2 in the checkpoint: numerator\[0, 5\] is nan, which puts a pole",
        ),
        (
            {},
            set_to("blocks.1.mlp.act2.weight_denominator", torch.full((8, 4), math.inf)),
            ValueError,
            r"blocks\.1\.mlp\.act2 in the checkpoint: denominator\[0, 0\] is inf",
        ),
        (
            {},
            lambda tensors: {"head.weight": tensors["head.weight"]},
            ValueError,
            "so it is none of a KAT; load it with",
        ),
        ({}, lambda tensors: [*tensors], TypeError, "must be a mapping of names to tensors, got list"),
        ({}, lambda tensors: {"net": tensors}, TypeError, "has dict under 'net'; pass the weights themselves"),
    ],
)
def test_what_is_refused_and_leaves_the_module_as_it_was(
    options: dict[str, object], change: Callable, error: type[Exception], message: str
) -> None:
    model = Transformer(**options)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(error, match=message):
        load_kat_state_dict(model, change(checkpoint()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_module_without_rational_activations_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no GroupRational; build it with GRKAN as its MLP"):
        load_kat_state_dict(nn.Linear(2, 2), checkpoint())
