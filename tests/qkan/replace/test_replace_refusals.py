"""What replace_mlp and its like refuse, each in one sentence, leaving the model as it was."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from qkan import HQKAN, replace_linear, replace_mlp, replace_recurrent


def mlp(inputs: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 14), nn.GELU(), nn.Linear(14, inputs))


class Written(nn.Module):
    """An MLP in a class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(6, 14), nn.GELU(), nn.Linear(14, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


def tied() -> nn.Module:
    model = nn.ModuleDict({"a": Written(), "b": Written()})
    model["b"].fc1.weight = model["a"].fc1.weight
    return model


def shared_in_part() -> nn.Module:
    first = nn.Linear(6, 14)
    return nn.ModuleDict({"a": nn.Sequential(first, nn.GELU(), nn.Linear(14, 6)), "b": first})


def hooked(method: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = nn.ModuleDict({"a": Written()})
        getattr(model["a"].fc2, method)(lambda *args: None)
        return model

    return make


def weight_norm(norm: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = nn.ModuleDict({"a": Written()})
        norm(model["a"].fc1)
        return model

    return make


def lazy() -> nn.Module:
    return nn.ModuleDict({"a": nn.Sequential(nn.LazyLinear(14), nn.ReLU(), nn.LazyLinear(6))})


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.ModuleDict({"a": mlp()}), {nn.Linear})


def mixed() -> nn.Module:
    model = nn.ModuleDict({"a": mlp()})
    model["a"][2].double()
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated", "ignore:torch.ao.quantization is deprecated")
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (tied, r"cannot replace a \(Written\): its parameter a\.fc1\.weight is tied to b\.fc1\.weight; untie them"),
        (
            shared_in_part,
            r"a\.0 \(Sequential\): its part Linear also stands in ModuleDict as 'b'; give each its own",
        ),
        (hooked("register_forward_hook"), r"cannot replace a \(Written\): Linear has hooks.*remove them first"),
        (hooked("register_forward_pre_hook"), r"Linear has hooks"),
        (hooked("register_full_backward_hook"), r"Linear has hooks"),
        (
            weight_norm(parametrizations.weight_norm),
            r"parametrizations; remove them with .*remove_parametrizations",
        ),
        (weight_norm(nn.utils.weight_norm), r"has a weight norm; remove it with torch\.nn\.utils\.remove_weight_norm"),
        (
            lazy,
            r"a\.0 \(Sequential\): LazyLinear is not initialised yet; run the model on one batch first",
        ),
        (quantised, r"Linear is quantised; do this before quantising the model"),
        (mixed, r"its parameters are of several dtypes or on several devices"),
        (Written, r"cannot replace the model \(Written\): it is the whole model.*build qkan\.HQKAN"),
        (lambda: nn.Linear(2, 3), r"found no MLP blocks in Linear; its linear maps are the model itself \(Linear\)"),
        (lambda: nn.Conv2d(2, 3, 1), r"found no MLP blocks in Conv2d; it has no linear maps either"),
    ],
)
def test_models_that_cannot_be_replaced(make: Callable[[], nn.Module], message: str) -> None:
    model = make()
    before = list(model.modules())
    with pytest.raises(ValueError, match=message):
        replace_mlp(model)
    assert all(new is old for new, old in zip(model.modules(), before, strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"replacement": "mlp"}, ValueError, "unknown replacement 'mlp'; use 'hqkan', 'grkan' or a function"),
        ({"replacement": nn.Tanh()}, TypeError, "so that every place gets its own, got Tanh"),
        ({"replacement": lambda block: 3}, TypeError, "replacement must return a torch.nn.Module, got int"),
        ({"replacement": lambda block: nn.Tanh(), "reps": 2}, TypeError, "reps has no effect on a function"),
        (
            {"replacement": lambda block: nn.Linear(6, 5)},
            ValueError,
            r"must map \(3, 6\) to \(3, 6\), but gives",
        ),
        ({"select": "mlp"}, TypeError, "select must be a function of a name and a module, got str"),
        ({"latent_features": 0}, ValueError, r"latent_features 0 is outside \[1, "),
        ({"latent_features": 2, "parameters": 1.0}, ValueError, "both set the size; give one"),
        ({"parameters": 0.0}, ValueError, "parameters 0.0 must be a positive share"),
        ({"parameters": True}, ValueError, "parameters True must be a positive share"),
        ({"parameters": float("nan")}, ValueError, "parameters nan must be a positive share"),
        (
            {"parameters": 0.1},
            ValueError,
            "have 18 parameters, but the smallest hqkan there, of inner width 1, has 27",
        ),
        ({"rep": 2}, TypeError, "rep"),
        (
            {"select": lambda name, module: name == "a"},
            ValueError,
            r"none.*found: a\.0 \(Sequential\), b\.0 \(Seq",
        ),
    ],
)
def test_arguments_that_are_refused(arguments: dict, error: type[Exception], message: str) -> None:
    model = nn.ModuleDict({"a": mlp(), "b": mlp()})
    before = list(model.modules())
    with pytest.raises(error, match=message):
        replace_mlp(model, **arguments)
    assert all(new is old for new, old in zip(model.modules(), before, strict=True))


def test_one_block_that_cannot_be_replaced_leaves_all() -> None:
    model = nn.ModuleDict({"a": mlp(), "b": mlp(5)})
    calls = []

    def make(block: object) -> nn.Module:
        calls.append(block)
        return HQKAN(6)

    with pytest.raises(ValueError, match="needs an input of shape"):
        replace_mlp(model, make)
    assert len(calls) == 2
    assert isinstance(model["a"][0], nn.Linear)
    model["b"][0].register_forward_hook(lambda *args: None)
    replace_mlp(model, select=lambda name, module: name.startswith("a"))
    assert isinstance(model["a"][0], HQKAN)


def test_many_candidates_are_counted() -> None:
    model = nn.Sequential(*(nn.ModuleDict({"mlp": mlp()}) for _ in range(15)))
    with pytest.raises(ValueError, match=r"11\.mlp\.0 \(Sequential\) and 3 more; change select"):
        replace_mlp(model, select=lambda name, module: False)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got list"):
        replace_mlp([model])  # type: ignore[arg-type]


def test_linear_maps_that_are_refused() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    with pytest.raises(ValueError, match=r"replace self_attn\.out_proj .*nn\.MultiheadAttention reads the weight"):
        replace_linear(layer, select=lambda name, module: True)
    net = nn.ModuleDict({"embedding": nn.Embedding(9, 6), "head": nn.Linear(6, 9, bias=False)})
    net["head"].weight = net["embedding"].weight
    with pytest.raises(ValueError, match=r"its parameter head\.weight is tied to embedding\.weight"):
        replace_linear(net, select=lambda name, module: name == "head")
    with pytest.raises(ValueError, match=r"parameters is for replacements with an inner width; a QKANLayer has none"):
        replace_linear(net, parameters=1.0, select=lambda name, module: True)


def test_recurrent_layers_that_are_refused() -> None:
    net = nn.ModuleDict({"a": nn.RNN(3, 4), "b": nn.GRU(3, 4)})
    with pytest.raises(ValueError, match=r"cannot replace a \(RNN\): there is no QKAN counterpart of nn\.RNN"):
        replace_recurrent(net)
    with pytest.raises(ValueError, match=r"b is an nn\.GRU, which has no HQKAN form; use 'qkan'"):
        replace_recurrent(net, "hqkan", select=lambda name, module: name == "b")
    with pytest.raises(ValueError, match="found no recurrent layers in Sequential; its linear maps are 0 "):
        replace_recurrent(mlp())
