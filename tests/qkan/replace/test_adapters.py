"""add_adapters, merge_adapters, remove_adapters and the files of adapters."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from qkan import (
    CircuitLoRA,
    NonlinearLoRA,
    add_adapters,
    load_adapters,
    merge_adapters,
    remove_adapters,
    replace_linear,
    save_adapters,
)
from qkan.adapters import Adapter


def net() -> nn.Sequential:
    torch.manual_seed(0)
    attention = nn.ModuleDict({"q_proj": nn.Linear(8, 8), "v_proj": nn.Linear(8, 8, bias=False)})
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Sequential(*attention.values()), nn.Linear(8, 3))


def images() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(3))


def train(model: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        model(images()).square().sum().backward()
        optimizer.step()


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("0", ["0"]),
        ("*", ["0", "2.0", "2.1", "3"]),
        ("2.*", ["2.0", "2.1"]),
        (["1", "3"], ["2.1", "3"]),  # no linear layer is called 1, so it is the end of a name, as peft has it
        (lambda name, module: module.out_features == 3, ["3"]),
    ],
)
def test_targets_are_names_ends_patterns_or_a_function(target: object, names: list[str]) -> None:
    model = net()
    report = add_adapters(model, 2, target)  # type: ignore[arg-type]
    assert [each.name for each in report.replaced] == names
    assert [name for name, module in model.named_modules() if isinstance(module, Adapter)] == names


def test_adding_changes_no_output_and_leaves_the_adapters_alone_to_be_trained() -> None:
    model, x = net(), images()
    before, y = state(model), model(x)
    add_adapters(model, 2, "*", reps=2, circuit_trainable=True)
    assert torch.equal(model(x), y)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"{at}.{key}" for at in ("0", "2.0", "2.1", "3") for key in ("lora_a", "lora_b", "phi.theta")}
    train(model)
    assert not torch.equal(model(x), y)
    assert all(torch.equal(tensor, state(model)[_moved(name)]) for name, tensor in before.items())


def _moved(name: str) -> str:
    owner, _, last = name.rpartition(".")
    return f"{owner}.base.{last}"


def test_removing_gives_back_the_very_layers_bit_for_bit_and_what_was_trained() -> None:
    model, x = net(), images()
    model[0].weight.requires_grad_(False)
    before, y, layers = state(model), model(x), list(model)
    add_adapters(model, 2, "*")
    train(model)
    remove_adapters(model)
    assert list(model) == layers
    assert same(state(model), before)
    assert torch.equal(model(x), y)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["0.weight"]


@pytest.mark.parametrize(
    "options", [{}, {"reps": 3, "circuit_trainable": True}, {"reps": 0}, {"dropout": 0.2}], ids=str
)
def test_merged_model_gives_the_same_outputs_exactly(options: dict[str, object]) -> None:
    model, x = net(), images()
    kinds = [type(module) for module in model.modules()]
    add_adapters(model, 2, "*", **options)
    train(model)
    y = model.eval()(x)
    merge_adapters(model)
    assert [type(module) for module in model.modules()] == kinds
    assert torch.equal(model(x), y)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_two_calls_add_up_and_one_takes_both_back() -> None:
    model = net()
    before = state(model)
    add_adapters(model, 2, "0")
    add_adapters(model, 3, "3", "nonlinear", latent="spline")
    assert [type(model[0]), type(model[3])] == [CircuitLoRA, NonlinearLoRA]
    trained = {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"0", "3"}
    remove_adapters(nn.ModuleDict({"around": model}))
    assert same(state(model), before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_adapters_of_a_frozen_model_are_trained_and_copies_can_be_merged() -> None:
    model, x = net().requires_grad_(False), images()
    add_adapters(model, 2, "*")
    train(model)
    again = copy.deepcopy(model)
    merge_adapters(again)
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    assert isinstance(model[0], CircuitLoRA)


def test_transformer_layers_are_right_in_eval_mode_where_torch_reads_their_weights() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    tokens, fused = torch.randn(2, 4, 8), model.layers[0].activation_relu_or_gelu
    for adapter in ("circuit", "nonlinear"):
        add_adapters(model, 2, ["linear1", "linear2"], adapter)
        for module in model.modules():
            if isinstance(module, Adapter):
                nn.init.normal_(module.lora_b)  # type: ignore[arg-type]
        expected = model.train()(tokens)
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(tokens), expected)
        remove_adapters(model)
        assert model.layers[0].activation_relu_or_gelu == fused


def test_adapters_that_stand_in_a_model_by_hand_are_merged_and_removed_too() -> None:
    model, x = net(), images()
    model[0] = CircuitLoRA(model[0], 2)
    nn.init.ones_(model[0].lora_b)
    y = model(x)
    merge_adapters(model)
    assert type(model[0]) is nn.Linear
    assert torch.equal(model(x), y)
    alone = CircuitLoRA(nn.Linear(4, 4), 2)
    for work, verb in ((merge_adapters, "merge"), (remove_adapters, "remove")):
        with pytest.raises(
            ValueError, match=rf"cannot {verb} a model that is an adapter itself, .*, or take its \.base"
        ):
            work(alone)


def test_a_report_that_was_undone_leaves_nothing_behind() -> None:
    model = net()
    with add_adapters(model, 2, "0"):
        assert type(model[0]) is CircuitLoRA
    assert type(model[0]) is nn.Linear
    add_adapters(model, 2, "3")
    remove_adapters(model)
    assert type(model[3]) is nn.Linear
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_models_with_adapters_are_pickled(tmp_path: Path) -> None:
    model, x = net(), images()
    add_adapters(model, 2, "*")
    train(model)
    torch.save(model, tmp_path / "model.pt")
    again = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(again(x), model(x))
    remove_adapters(again)
    assert torch.equal(again(x), net()(x))


def tied() -> nn.Module:
    model = nn.ModuleDict({"embed": nn.Embedding(8, 6), "head": nn.Linear(6, 8)})
    model["head"].weight = model["embed"].weight
    return model


def quantised() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6))
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)


def packed() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6, bias=False))
    model[0].weight = nn.Parameter(torch.zeros(6, 6, dtype=torch.uint8), requires_grad=False)
    return model


def with_adapters() -> nn.Module:
    model = net()
    add_adapters(model, 2, "0")
    return model


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (tied, {}, r"cannot adapt head \(Linear\): its parameter head.weight is tied to embed.weight; untie them"),
        (quantised, {}, r"cannot adapt 0 \(Linear\): Linear is quantised; do this before quantising the model"),
        (packed, {}, r"cannot adapt 0 \(Linear\): Linear is quantised"),
        (lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4))), {}, "cannot adapt 0 .*parametrizations"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), {}, "LazyLinear is not initialised yet"),
        (lambda: nn.MultiheadAttention(4, 2), {}, "cannot adapt out_proj .*reads the weight of its out_proj itself"),
        (lambda: nn.Linear(4, 4), {}, r"it is the whole model .*; build qkan.CircuitLoRA\(model, rank\) around it"),
        (nn.Tanh, {}, "found no linear layers in Tanh; it has no linear maps either"),
        (with_adapters, {}, "cannot adapt 0: it has an adapter already; leave it out of target, or call"),
        (net, {"target": "k_proj"}, r"target wants none of the linear layers found: 0 \(Linear\), .*; change target"),
        (net, {"rank": 4}, r"rank 4 is outside \[1, 3\] of 3 \(3 x 8\); lower it, or leave that layer out of target"),
        (net, {"rank": 0}, "rank 0 is outside"),
        (
            net,
            {"target": 3},
            "target must be a name or pattern, several of them, or a function of name and module, got 3",
        ),
        (net, {"target": []}, "target must be a name or pattern"),
        (net, {"adapter": "lora"}, "unknown adapter 'lora'; use 'circuit', 'nonlinear' or a function"),
        (net, {"adapter": 3}, "adapter must be 'circuit', 'nonlinear' or a function of a layer and the rank, got int"),
        (
            net,
            {"adapter": lambda layer, rank: layer},
            "adapter must return a qkan.adapters.Adapter of the layer, got L",
        ),
        (net, {"adapter": CircuitLoRA, "reps": 2}, "reps has no effect on a function as adapter"),
        (net, {"frequency": -1.0}, "frequency -1.0 must be"),
        (net, {"reps": 2, "latent": "qkan"}, "unexpected keyword argument 'latent'"),
    ],
)
def test_what_is_refused_leaves_the_model_as_it_was(
    make: Callable[[], nn.Module], arguments: dict[str, object], message: str
) -> None:
    model = make()
    kinds = [type(module) for module in model.modules()]
    trained = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises((ValueError, TypeError), match=message):
        add_adapters(model, **({"rank": 1, "target": "*"} | arguments))  # type: ignore[arg-type]
    assert [type(module) for module in model.modules()] == kinds
    assert [parameter.requires_grad for parameter in model.parameters()] == trained


def test_merging_twice_and_merging_what_does_not_merge() -> None:
    model = net()
    add_adapters(model, 2, "0")
    merge_adapters(model)
    for work, verb in ((merge_adapters, "merge"), (remove_adapters, "remove")):
        with pytest.raises(
            ValueError, match=f"Sequential has no adapters to {verb}: none were added, or they are merged"
        ):
            work(model)
    add_adapters(model, 2, "0")
    add_adapters(model, 2, "3", "nonlinear")
    before = state(model)
    with pytest.raises(ValueError, match=r"cannot merge 3: NonlinearLoRA changes outputs by a nonlinear function"):
        merge_adapters(model)
    assert same(state(model), before)


def test_linear_layers_within_adapters_are_no_layers_of_the_model() -> None:
    model = with_adapters()
    report = replace_linear(model, "hqkan", latent_features=2, select=lambda name, module: True)
    assert [each.name for each in report.replaced] == ["2.0", "2.1", "3"]


def saved(path: Path, **options: object) -> nn.Module:
    model = net()
    add_adapters(model, 2, ["0", "3"], reps=2, circuit_trainable=True, **options)
    train(model)
    save_adapters(model, path)
    return model


def test_file_holds_adapters_alone_and_gives_them_back(tmp_path: Path) -> None:
    path, x = tmp_path / "adapters.safetensors", images()
    model = saved(path)
    names = {f"{at}.{key}" for at in ("0", "3") for key in ("lora_a", "lora_b", "phi.theta")}
    assert safetensors.torch.load_file(path).keys() == names
    fresh = net()
    load_adapters(fresh, path)
    assert torch.equal(fresh(x), model(x))
    trained = {name for name, parameter in fresh.named_parameters() if parameter.requires_grad}
    assert trained == names
    train(fresh)
    load_adapters(fresh, path)  # into adapters that are there
    assert torch.equal(fresh(x), model(x))
    merge_adapters(fresh)
    assert torch.equal(fresh(x), model(x))


def test_nonlinear_adapters_are_read_with_their_latent(tmp_path: Path) -> None:
    path, x, model = tmp_path / "adapters.safetensors", images(), net()
    add_adapters(model, 2, "0", "nonlinear", latent="spline", dropout=0.1)
    train(model)
    save_adapters(model, path)
    fresh = net()
    load_adapters(fresh, path)
    assert torch.equal(fresh.eval()(x), model.eval()(x))


def test_files_are_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "adapters.safetensors"
    model, content = saved(path), path.read_bytes()
    train(model)
    with pytest.raises(FileExistsError, match=r"exists; give another path, or overwrite=True to replace it"):
        save_adapters(model, path)
    assert path.read_bytes() == content
    save_adapters(model, path, overwrite=True)
    assert path.read_bytes() != content


def edited(change: Callable[[dict[str, object], dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with safetensors.safe_open(path, framework="pt") as file:
            entry = json.loads(file.metadata()["qkan-adapters"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        change(entry, tensors)
        safetensors.torch.save_file(tensors, path, {"qkan-adapters": json.dumps(entry)})

    return edit


@pytest.mark.parametrize(
    ("edit", "make", "message"),
    [
        (None, lambda: nn.Sequential(nn.Linear(6, 8)), "Sequential has no layer 3; load it into the model"),
        (None, lambda: nn.Sequential(*net()[:3], nn.Linear(8, 4)), "3 is 4 x 8 here, but 3 x 8 in the file"),
        (None, with_adapters, "0 is .*'reps': 2.*, but here .*'reps': 1"),
        (edited(lambda entry, t: t.pop("0.lora_a")), net, "do not fit .*: 0.lora_a is missing"),
        (edited(lambda entry, t: t.update(more=torch.ones(1))), net, "more is unknown"),
        (
            edited(lambda entry, t: t.update({"0.lora_a": torch.ones(3)})),
            net,
            r"0.lora_a is .* \(3,\) instead of \(2, 6\)",
        ),
        (edited(lambda entry, t: t["0.lora_a"].fill_(torch.nan)), net, "0.lora_a has values that are not finite"),
        (edited(lambda entry, t: entry.update(format=9)), net, "format 9 is not 1"),
        (edited(lambda entry, t: entry["layers"]["0"].update(kind="os.system")), net, "or one that is unknown"),
        (edited(lambda entry, t: entry["layers"]["0"].update(rank=10**9)), net, r"rank 1000000000 is outside \[1, 6\]"),
        (edited(lambda entry, t: entry["layers"]["0"].update(more=1)), net, "unexpected keyword argument 'more'"),
        (edited(lambda entry, t: entry.pop("layers")), net, "cannot be used: KeyError"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), net, "is damaged or no safetensors file"),
        (
            lambda path: safetensors.torch.save_file({"a": torch.ones(1)}, path),
            net,
            "holds no adapters of this package",
        ),
    ],
)
def test_files_that_do_not_fit_leave_the_model_as_it_was(
    edit: Callable[[Path], None] | None, make: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "adapters.safetensors"
    saved(path)
    if edit is not None:
        edit(path)
    model = make()
    before, trained = state(model), [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ValueError, match=message) as error:
        load_adapters(model, path)
    assert str(path) in str(error.value)
    assert same(state(model), before)
    assert [parameter.requires_grad for parameter in model.parameters()] == trained


def test_adapters_of_another_class_are_not_saved(tmp_path: Path) -> None:
    class Own(CircuitLoRA):
        pass

    model = net()
    add_adapters(model, 2, "0", Own)
    with pytest.raises(ValueError, match="0 has a Own, which a file cannot describe"):
        save_adapters(model, tmp_path / "adapters.safetensors")
    with pytest.raises(FileNotFoundError, match="is no file; give the path that save_adapters wrote"):
        load_adapters(model, tmp_path / "adapters.safetensors")
