"""Replacements within layers that keep the rest: transformer layers, BERT, recurrent nets; single linear maps."""

import copy
from collections.abc import Callable

import pytest
import torch
from replacing import MLP, Residual, outputs, trained_step, transformer, twin
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import HQKAN, HQKANLSTM, QKANGRU, QKANLSTM, QKANLayer, replace_linear, replace_mlp, replace_recurrent
from qkan.replace.find_layers import Block


class Conv1D(nn.Module):
    """A linear map as Hugging Face's GPT-2 has it, its weight (inputs, outputs)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Intermediate(nn.Module):
    """The first half of BERT's MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.drop = Conv1D(14, 6), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(F.gelu(self.dense(x)))


class Output(nn.Module):
    """The second half, with the residual within; ``swapped`` takes the input in the place of the hidden layer."""

    def __init__(self, swapped: bool) -> None:
        super().__init__()
        self.dense, self.norm, self.swapped = nn.Linear(14, 6), nn.LayerNorm(6), swapped

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        return self.norm(self.dense(F.relu(hidden) if self.swapped else hidden) + x)


class Halves(nn.Module):
    """A layer of BERT without its attention."""

    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        self.intermediate, self.output = Intermediate(), Output(swapped)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(x), x)


def test_the_two_halves_of_bert() -> None:
    model, x = nn.Sequential(Halves(), Halves(swapped=True)), torch.randn(3, 5, 6)
    want = outputs(model, x)
    with replace_mlp(model, lambda block: copy.deepcopy(nn.Sequential(*block.parts))) as found:
        # The second one does something else with the hidden layer.
        assert [(each.name, each.old_parameters) for each in found.replaced] == [("0.intermediate", 2 * 6 * 14 + 20)]
        assert isinstance(model[0].output.dense, nn.Identity)
        assert torch.equal(outputs(model, x), want)
    new = replace_mlp(model).modules[0]
    assert (new.in_features, new.out_features, new.drop.p, new.out_drop.p) == (6, 6, 0.3, 0.0)
    model[1].intermediate.dense.register_forward_hook(lambda *args: None)
    with pytest.raises(ValueError, match=r"cannot replace 1\.intermediate \(Halves\): Conv1D has hooks"):
        replace_mlp(model)


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


def test_encoders_of_old_pickles_come_back_as_they_were() -> None:
    model = transformer("relu", False)
    del model.use_nested_tensor
    with replace_mlp(model):
        assert model.use_nested_tensor is False
    assert not hasattr(model, "use_nested_tensor")


def test_decoder_layers_and_their_dropouts() -> None:
    model, x, memory = transformer("gelu", True, decoder=True), torch.randn(2, 4, 8), torch.randn(2, 3, 8)
    want = outputs(model, x, memory)
    with replace_mlp(model, twin):
        torch.testing.assert_close(outputs(model, x, memory), want, rtol=0, atol=1e-6)
    with replace_mlp(model) as found:
        assert all((new.drop.p, new.out_drop.p) == (0.2, 0.0) for new in found.modules)
        assert model(x, memory).shape == (2, 4, 8)


def test_a_swapped_linear1_is_not_bypassed() -> None:
    model, x = transformer("gelu", False).eval(), torch.randn(2, 3, 8)
    replace_linear(model, reps=1, select=lambda name, module: name.endswith("linear1"))
    want = model(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(x), want, rtol=0, atol=2e-6)


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
