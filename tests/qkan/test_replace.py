"""replace_mlp, replace_linear and replace_recurrent in plain PyTorch models."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import GRKAN, HQKAN, HQKANLSTM, QKANGRU, QKANLSTM, QKANLayer, replace_linear, replace_mlp, replace_recurrent
from qkan.blocks import Block


class MLP(nn.Module):
    """As most write it; ``form`` says how."""

    def __init__(self, form: str = "plain", d: int = 6, h: int = 14, out: int = 6) -> None:
        super().__init__()
        self.form = form
        first = {"packed": 2 * h}.get(form, h)
        self.down = nn.Linear(h, out)  # not in the order of the forward pass
        self.drop_out = nn.Dropout(0.2)
        self.up = nn.Linear(d, first, bias=form != "no bias")
        if form == "gated":
            self.gate = nn.Linear(d, h)
        self.drop = nn.Dropout(0.3)
        self.act = nn.SiLU()
        self.norm = nn.LayerNorm(h) if form == "norm" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "gated":
            hidden = self.act(self.gate(x)) * self.up(x)
        elif self.form == "packed":
            a, b = self.up(x).chunk(2, -1)
            hidden = self.act(a) * b
        else:
            hidden = F.gelu(self.up(x)) if self.form == "function" else self.act(self.up(x))
        return self.drop_out(self.down(self.norm(self.drop(hidden))))


class Residual(nn.Module):
    """An MLP with a residual and a norm around it."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(6), mlp

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


def twin(block: Block) -> nn.Module:
    """A copy of what a block computes, to be put in its place."""
    module = block.module
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        act = {F.relu: nn.ReLU(), F.gelu: nn.GELU()}[module.activation]
        return copy.deepcopy(nn.Sequential(module.linear1, act, module.dropout, module.linear2))
    if isinstance(module, nn.Sequential):
        return copy.deepcopy(nn.Sequential(*block.parts))
    return copy.deepcopy(module)


def outputs(model: nn.Module, *inputs: Tensor, **options: Tensor) -> Tensor:
    torch.manual_seed(5)  # of dropouts
    return model(*inputs, **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


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
    replace_mlp(model, "grkan", engine="torch")
    block, drop = model["mlp"]
    assert isinstance(block, GRKAN)
    assert (block.hidden_features, block.act2.init, block.act1.init) == (16, "silu", "identity")
    assert (block.drop1.p, block.drop2.p, drop.p) == (0.0, 0.3, 0.2)
    assert model["mlp"](torch.randn(2, 8)).shape == (2, 8)


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


def transformer(activation: str, norm_first: bool, decoder: bool = False) -> nn.Module:
    torch.manual_seed(3)
    options = {"dropout": 0.2, "activation": activation, "batch_first": True, "norm_first": norm_first}
    if decoder:
        return nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 20, **options), 2)
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 20, **options), 2, enable_nested_tensor=not norm_first
    )


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_transformer_encoder_layers_keep_all_around_the_mlp(activation: str, norm_first: bool) -> None:
    model, x = transformer(activation, norm_first), torch.randn(3, 5, 8)
    padded = torch.arange(5) >= torch.tensor([[5], [3], [2]])
    want = outputs(model, x, src_key_padding_mask=padded)
    with torch.no_grad():
        fused = model.eval()(x, src_key_padding_mask=padded)
        plain = model(x)
    model.train()
    found = replace_mlp(model, twin)
    assert [each.name for each in found.replaced] == ["layers.0.linear1", "layers.1.linear1"]
    torch.testing.assert_close(outputs(model, x, src_key_padding_mask=padded), want, rtol=0, atol=1e-6)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain, rtol=0, atol=2e-6)
        got = model(x, src_key_padding_mask=padded)
    torch.testing.assert_close(got[~padded], fused[~padded], rtol=0, atol=2e-6)


def test_the_fused_evaluation_does_not_bypass_a_replacement() -> None:
    model, x = transformer("relu", False).eval(), torch.randn(3, 5, 8)
    padded = torch.arange(5) >= torch.tensor([[5], [3], [2]])
    # Of the second layer alone: the encoder looks at the first one when it chooses nested tensors.
    found = replace_mlp(model, reps=1, select=lambda name, module: name == "layers.1.linear1")
    by_autograd = model(x, src_key_padding_mask=padded).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(x, src_key_padding_mask=padded), by_autograd, rtol=0, atol=2e-6)
        found.modules[0].decoder.weight.zero_()
        assert float((model(x, src_key_padding_mask=padded) - by_autograd).abs().max()) > 0.01
    found.undo()
    assert (model.use_nested_tensor, model.layers[1].activation_relu_or_gelu) == (True, 1)


def test_decoder_layers_and_their_dropouts() -> None:
    model, x, memory = transformer("gelu", True, decoder=True), torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    want = outputs(model, x, memory)
    with replace_mlp(model, twin):
        torch.testing.assert_close(outputs(model, x, memory), want, rtol=0, atol=1e-6)
    with replace_mlp(model) as found:
        assert all((new.drop.p, new.out_drop.p) == (0.2, 0.0) for new in found.modules)
        assert model(x, memory).shape == (2, 4, 8)


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


def trained_step(model: nn.Module, x: Tensor) -> list[Tensor]:
    model.zero_grad()
    model(x).square().mean().backward()
    return [parameter.grad for parameter in model.parameters()]


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


def test_a_replaced_block_compiles() -> None:
    model, x = Residual(MLP()).eval(), torch.randn(3, 6)
    replace_mlp(model, reps=1)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-6)


def test_the_report_is_a_table() -> None:
    model = nn.Sequential(Residual(MLP()))
    found = replace_mlp(model, latent_features=3, reps=1)
    assert str(found).splitlines() == [
        "block        was  is     parameters before  after",
        "0.mlp        MLP  HQKAN                188     81",
        "whole model                            200     93",
    ]


def test_meta_models_are_replaced_without_numbers() -> None:
    model = nn.Sequential(Residual(MLP())).to("meta")
    replace_mlp(model, parameters=1.0)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model[0].mlp.drop.p == 0.3


@pytest.mark.parametrize(
    ("replacement", "kind"), [("qkan", QKANLayer), ("hqkan", HQKAN), (lambda block: nn.Linear(6, 3), nn.Linear)]
)
def test_linear_maps_are_swapped_by_a_predicate(replacement: str | Callable[[Block], nn.Module], kind: type) -> None:
    model = nn.ModuleDict({"body": Residual(MLP()), "head": nn.Linear(6, 3).double()}).eval()
    old = model["head"]
    found = replace_linear(model, replacement, select=lambda name, module: name == "head")
    assert type(model["head"]) is kind
    assert model["head"](torch.randn(2, 6).double()).shape == (2, 3)
    assert [(each.name, each.kind, each.old_parameters) for each in found.replaced] == [("head", "Linear", 21)]
    assert not model["head"].training
    found.undo()
    assert model["head"] is old


def test_a_swapped_linear1_is_not_bypassed() -> None:
    model, x = transformer("gelu", False).eval(), torch.randn(2, 3, 8)
    replace_linear(model, reps=1, select=lambda name, module: name.endswith("linear1"))
    want = model(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(x), want, rtol=0, atol=2e-6)


class Forecaster(nn.Module):
    """A recurrent net with a head."""

    def __init__(self, kind: type[nn.Module], **options: int | bool | float) -> None:
        super().__init__()
        self.rnn = kind(3, 4, batch_first=True, **options)
        width = (2 if options.get("bidirectional") else 1) * (options.get("proj_size") or 4)
        self.head = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x)
        return self.head(output[:, -1])


@pytest.mark.parametrize(
    ("kind", "replacement", "ours", "options"),
    [
        (nn.LSTM, "qkan", QKANLSTM, {"num_layers": 2, "bidirectional": True, "dropout": 0.1}),
        (nn.LSTM, "hqkan", HQKANLSTM, {"proj_size": 3, "bias": False}),
        (nn.GRU, "qkan", QKANGRU, {"num_layers": 2}),
    ],
)
def test_recurrent_nets_and_their_heads(
    kind: type[nn.Module], replacement: str, ours: type, options: dict[str, int | bool | float]
) -> None:
    model, x = Forecaster(kind, **options).double(), torch.randn(2, 5, 3).double()
    plain = copy.deepcopy(model)
    recurrent, head = replace_recurrent(model, replacement), replace_mlp(model)
    new = model.rnn
    assert type(new) is ours
    for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"):
        assert getattr(new, name) == getattr(plain.rnn, name)
    assert (head.replaced[0].name, recurrent.replaced[0].kind) == ("head.0", kind.__name__)
    assert model(x).shape == (2, 2)
    assert all(float(grad.abs().max()) > 0 for grad in trained_step(model, x))
    head.undo()
    recurrent.undo()
    assert torch.equal(outputs(model, x), outputs(plain, x))
