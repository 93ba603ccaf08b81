"""replace_mlp in plain PyTorch modules: what is found, sizes, undoing, the report."""

import copy

import pytest
import torch
from replacing import MLP, Residual, count, outputs, trained_step, transformer, twin
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import GRKAN, HQKAN, replace_mlp

FORMS = ["plain", "no bias", "gated", "packed", "function", "norm"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_an_equal_mlp_in_its_place_changes_nothing(form: str, training: bool) -> None:
    model = nn.Sequential(Residual(MLP(form)), Residual(MLP(form))).train(training)
    x = torch.randn(3, 5, 6)
    want, state = outputs(model, x), model.state_dict()
    found = replace_mlp(model, twin)
    assert [each.name for each in found.replaced] == ["0.mlp", "1.mlp"]
    assert torch.equal(outputs(model, x), want)
    assert list(model.state_dict()) == list(state)
    assert model[0].mlp is found.modules[0]


@pytest.mark.parametrize("form", FORMS)
def test_hqkan_takes_over_sizes_bias_and_dropout(form: str) -> None:
    model = nn.ModuleDict({"mlp": MLP(form, 6, 14, 5)}).double().eval()
    before = count(model)
    found = replace_mlp(model, reps=2, latent_features=4)
    new = model["mlp"]
    assert isinstance(new, HQKAN)
    assert (new.in_features, new.latent_features, new.out_features) == (6, 4, 5)
    # Of the form without bias the second linear map has one.
    assert new.encoder.bias is not None
    assert (new.drop.p, new.out_drop.p) == (0.3, 0.2)
    assert not new.training
    assert new.encoder.weight.dtype == torch.float64
    assert new.latent.layers[0].reps == 2
    numbers = 6 * 4 + 4 + 4 * 4 * 2 * 3 + 4 * 5 + 5
    assert (found.model_before, found.model_after, found.change) == (before, numbers, numbers - before)
    assert (found.replaced[0].old_parameters, found.replaced[0].new_parameters) == (before, numbers)


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("replacement", ["hqkan", "grkan"])
def test_a_share_of_the_parameters_is_reached_from_below(replacement: str, share: float) -> None:
    model = nn.Sequential(Residual(nn.Sequential(nn.Linear(6, 150), nn.GELU(), nn.Linear(150, 6))))
    room = share * count(model[0].mlp)
    options = {} if replacement == "hqkan" else {"num_groups": 3}
    found = replace_mlp(model, replacement, parameters=share, **options)
    new = found.modules[0]
    assert count(new) <= room
    wider = (
        HQKAN(6, new.latent_features + 1) if replacement == "hqkan" else GRKAN(6, new.hidden_features + 3, num_groups=3)
    )
    assert count(wider) > room


def test_grkan_starts_as_the_activation_and_keeps_dropouts() -> None:
    model = nn.ModuleDict({"mlp": MLP("plain", 8, 16, 8)})
    replace_mlp(model, "grkan", backend="torch")
    block, drop = model["mlp"]
    assert isinstance(block, GRKAN)
    assert (block.hidden_features, block.act2.init, block.act1.init) == (16, "silu", "identity")
    assert (block.drop1.p, block.drop2.p, drop.p) == (0.0, 0.3, 0.2)
    assert model["mlp"](torch.randn(2, 8)).shape == (2, 8)


def test_options_win_over_what_is_taken_over() -> None:
    model = nn.ModuleDict({"mlp": MLP()})
    new = replace_mlp(model, bias=False, drop=0.4).modules[0]
    assert (new.encoder.bias, new.drop.p, new.out_drop.p) == (None, 0.4, 0.4)


class Adding(MLP):
    """Adds its input within."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Mixer(MLP):
    """Mixes rows."""

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)).cumsum(-2))


class Attention(nn.Module):
    """Two linear maps, but no MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(F.scaled_dot_product_attention(q, k, v))


class Twice(MLP):
    """Drops its input, too."""

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(self.drop(x))))


@pytest.mark.parametrize("kind", [Adding, Mixer, Attention, Twice])
def test_what_only_looks_like_an_mlp_stays(kind: type[nn.Module]) -> None:
    model = nn.ModuleDict({"a": kind(), "b": MLP()})
    found = replace_mlp(model)
    assert [each.name for each in found.replaced] == ["b"]
    assert type(model["a"]) is kind


def test_the_search_leaves_no_trace() -> None:
    model = nn.ModuleDict({"a": Adding(), "b": MLP()})
    model["b"].drop.eval()
    modes, random = [each.training for each in model.modules()], torch.get_rng_state()
    with pytest.raises(ValueError, match="wants none"):
        replace_mlp(model, select=lambda name, module: False)
    assert [each.training for each in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(each._forward_hooks for each in model.modules())


def test_a_sequential_keeps_its_length_and_its_ends() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 9), nn.Tanh(),
        nn.Linear(9, 4), nn.LogSoftmax(-1), nn.Linear(4, 4), nn.Linear(4, 3),
    )  # fmt: skip
    x, old = torch.randn(5, 2, 3), list(model)
    want = outputs(model.eval(), x)
    with replace_mlp(model, twin) as found:
        assert [(each.name, each.kind) for each in found.replaced] == [("1", "Sequential")]
        assert len(model) == 11
        assert torch.equal(outputs(model, x), want)
        assert all(model[index] is old[index] for index in (0, 8, 9, 10))
        assert all(isinstance(model[index], nn.Identity) for index in range(2, 8))
    assert all(new is each for new, each in zip(model, old, strict=True))
    model[1].requires_grad_(False)
    new = replace_mlp(model).modules[0]
    assert (new.in_features, new.out_features, new.latent_features, new.drop.p) == (6, 4, 3, 0.1)
    assert all(parameter.requires_grad for parameter in new.parameters())


class Squaring(nn.Module):
    """An activation of one's own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


class Pooling(nn.Module):
    """Halves the width, so it stands between no linear maps of an MLP."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2]


def test_activations_of_ones_own_belong_to_an_mlp_and_poolings_do_not() -> None:
    model = nn.Sequential(
        nn.Linear(6, 8), Squaring(), nn.Linear(8, 6), Pooling(), nn.Linear(3, 8), nn.Unflatten(-1, (2, 4))
    )
    found = replace_mlp(model, "grkan", num_groups=2)
    assert [each.name for each in found.replaced] == ["0"]
    assert found.modules[0].act2.init == "gelu"
    assert [type(each) for each in model[1:]] == [nn.Identity, nn.Identity, Pooling, nn.Linear, nn.Unflatten]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_undo_is_exact(activation: str) -> None:
    model, x = nn.Sequential(transformer(activation, False), Residual(MLP("norm", 8, 14, 8))), torch.randn(2, 5, 8)
    model[1].norm = nn.LayerNorm(8)
    names, modules = [name for name, _ in model.named_parameters()], list(model.modules())
    plain = [dict(each.__dict__) for each in modules]
    want = outputs(model, x)
    found = replace_mlp(model)
    assert not torch.equal(outputs(model, x), want)
    found.undo()
    assert torch.equal(outputs(model, x), want)
    assert [name for name, _ in model.named_parameters()] == names
    assert all(new is old for new, old in zip(model.modules(), modules, strict=True))
    assert [each.__dict__ for each in modules] == plain
    with pytest.raises(RuntimeError, match="undone already"):
        found.undo()


def test_undo_in_the_wrong_order_and_after_a_change_of_mode() -> None:
    model = nn.ModuleDict({"a": MLP(), "b": MLP()})
    old = model["a"]
    old.norm.eval()
    first = replace_mlp(model, lambda block: MLP(), select=lambda name, module: name == "a")
    second = replace_mlp(model, select=lambda name, module: name == "a")
    with pytest.raises(RuntimeError, match=r"a of ModuleDict holds something else by now.*later replacements first"):
        first.undo()
    second.undo()
    first.undo()
    assert model["a"] is old
    assert (old.training, old.norm.training) == (True, False)
    with replace_mlp(model):
        model.eval()
    assert not any(each.training for each in model.modules())


def test_shared_modules_get_one_shared_replacement() -> None:
    shared = MLP()
    model = nn.Sequential(Residual(shared), Residual(MLP()), Residual(shared))
    found = replace_mlp(model)
    assert [each.name for each in found.replaced] == ["0.mlp", "1.mlp"]
    assert model[0].mlp is model[2].mlp is found.modules[0]
    assert model[1].mlp is not model[0].mlp
    found.undo()
    assert model[0].mlp is model[2].mlp is shared


def test_frozen_blocks_get_frozen_replacements() -> None:
    model = nn.ModuleDict({"a": MLP(), "b": MLP()})
    model["a"].requires_grad_(False)
    replace_mlp(model)
    assert not any(parameter.requires_grad for parameter in model["a"].parameters())
    assert all(parameter.requires_grad for parameter in model["b"].parameters())


def test_replacements_are_found_no_second_time() -> None:
    model = nn.ModuleDict({"a": MLP(), "b": MLP("plain", 8, 16, 8)})
    replace_mlp(model, "grkan", select=lambda name, module: name == "b")
    found = replace_mlp(model)
    assert [each.name for each in found.replaced] == ["a"]
    with pytest.raises(ValueError, match="found no MLP blocks in ModuleDict"):
        replace_mlp(model)


def test_gradients_deepcopy_and_state_dict() -> None:
    model, x = transformer("relu", False), torch.randn(3, 5, 8)
    replace_mlp(model, latent_features=3)
    assert all(grad is not None and float(grad.abs().max()) > 0 for grad in trained_step(model.eval(), x))
    again = copy.deepcopy(model)
    assert torch.equal(again(x), model(x))
    fresh = transformer("relu", False).eval()
    replace_mlp(fresh, latent_features=3)
    assert fresh.load_state_dict(model.state_dict()) == ([], [])
    assert torch.equal(fresh(x), model(x))


def test_the_report_is_a_table() -> None:
    model = nn.Sequential(Residual(MLP()))
    found = replace_mlp(model, latent_features=3, reps=1)
    assert str(found).splitlines() == [
        "block        was    is       parameters before    after",
        "0.mlp        MLP    HQKAN                  188       81",
        "whole model                                200       93",
    ]


def test_meta_models_are_replaced_without_numbers() -> None:
    model = nn.Sequential(Residual(MLP())).to("meta")
    replace_mlp(model, parameters=1.0)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model[0].mlp.drop.p == 0.3
