"""Pruned edges of a layer: exactly 0 on every route, without gradients, kept by whatever copies or saves a layer."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import qkan
from qkan import HQKANLSTM, QKAN, QKANLSTM, Ansatz, PennyLane, QKANLayer, QKANLSTMCell

PRUNED = [(0, 1), (3, 0), (2, 1), (3, 2)]
FULL: dict[str, Any] = {
    "preact_trainable": True,
    "postact_weight_trainable": True,
    "postact_bias_trainable": True,
    "dtype": torch.float64,
}
LAYERS: dict[str, dict[str, Any]] = {
    "plain": {"dtype": torch.float64},
    "fixed": FULL | {"preact_trainable": False},
    "full": FULL,
    "input": FULL | {"preact_trainable": "input"},
    "group": FULL | {"group": 2},
    "group-fixed": FULL | {"group": "input", "preact_trainable": False},
    "mix": FULL | {"ansatz": "mix", "base_activation": None},
    "real": FULL | {"ansatz": "real", "postact_weight_trainable": False},
    "px": FULL | {"ansatz": "px", "preact_trainable": False},
    "amplitude": FULL | {"readout": "amplitude", "reps": 2},
    "own": FULL | {"ansatz": Ansatz("own", ("ry", "rz"), "rx", ("ry", "rz"), initial=(0.0, 0.0, 1.0))},
    "callable": FULL | {"base_activation": torch.sin},
}


def layer_of(name: str, seed: int = 0, **options: Any) -> QKANLayer:
    """A layer from 3 inputs to 4 outputs, every parameter random."""
    generator = torch.Generator().manual_seed(seed)
    layer = QKANLayer(3, 4, generator=generator, **LAYERS[name] | options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return layer


def inputs() -> Tensor:
    return torch.rand(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.6 - 0.8


def by_hand(layer: QKANLayer, x: Tensor) -> Tensor:
    """The sum over the edges of the layer with all its edges, the pruned ones left out one by one."""
    values = layer.edge_outputs(x)
    rows = [
        sum((values[..., o, i] for i in range(3) if (o, i) not in PRUNED), torch.zeros_like(x[..., 0]))
        for o in range(4)
    ]
    return torch.stack(rows, -1)


def gradients(layer: QKANLayer, y: Tensor, x: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*layer.named_parameters(), strict=True)
    found = torch.autograd.grad((y * torch.arange(1.0, 5, dtype=y.dtype)).sum(), [x, *parameters])
    return dict(zip(("x", *names), found, strict=True))


@pytest.mark.parametrize("backend", ["auto", "bloch", "spectral", "reference"])
@pytest.mark.parametrize("name", LAYERS)
def test_pruned_edges_are_out_of_outputs_and_gradients(name: str, backend: str) -> None:
    if backend == "spectral" and name in ("px", "amplitude"):
        backend = "bloch"  # not band-limited; refused by name
    layer = layer_of(name, backend=backend)
    x = inputs().requires_grad_()
    expected = by_hand(layer, x)
    of_expected = gradients(layer, expected, x)
    assert layer.prune(PRUNED) == 4
    for training in (True, False):
        layer.train(training)
        y = layer(x)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        for key, found in gradients(layer, y, x).items():
            torch.testing.assert_close(
                found, of_expected[key], rtol=1e-9, atol=1e-11, msg=lambda m, key=key: f"{key}: {m}"
            )


@pytest.mark.parametrize("name", LAYERS)
def test_a_pruned_edge_is_exactly_zero_and_its_parameters_get_none(name: str) -> None:
    layer = layer_of(name)
    layer.prune(PRUNED)
    x = inputs().requires_grad_()
    edges = layer.edge_outputs(x)
    for output, input in PRUNED:
        assert (edges[:, output, input] == 0).all()
    torch.testing.assert_close(edges.sum(-1), layer(x), rtol=0, atol=1e-12)
    for key, found in gradients(layer, layer(x), x).items():
        if found.shape[:2] == (4, 3):
            for edge in PRUNED:
                assert (found[edge] == 0).all(), key
        assert found.abs().max() > 0, key


@pytest.mark.parametrize("backend", ["triton", "pennylane", PennyLane(diff_method="backprop")])
def test_backends_asked_for_by_name_leave_pruned_edges_out(backend: Any) -> None:
    exact = layer_of("fixed")
    exact.prune(PRUNED)
    layer = layer_of("fixed", backend=backend, dtype=torch.float32)
    layer.load_state_dict(exact.state_dict())
    torch.testing.assert_close(layer(inputs().float()).double(), exact(inputs()), rtol=0, atol=3e-6)


def test_circuits_per_sample_leave_pruned_edges_out() -> None:
    layer = layer_of("full")
    theta = torch.randn(7, 4, 3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rows = [by_hand(_with_theta(layer, theta[n]), inputs()[n]) for n in range(7)]
    layer.prune(PRUNED)
    torch.testing.assert_close(layer(inputs(), theta), torch.stack(rows), rtol=0, atol=1e-12)


def _with_theta(layer: QKANLayer, theta: Tensor) -> QKANLayer:
    layer = copy.deepcopy(layer)
    layer.theta.data.copy_(theta)
    return layer


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("domain", [2.0, math.inf])
def test_frozen_layers_leave_pruned_edges_out(name: str, domain: float) -> None:
    layer = layer_of(name)
    layer.prune(PRUNED)
    torch.testing.assert_close(layer.compile_spectral(domain=domain)(inputs()), layer(inputs()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_an_input_without_edges_is_not_read(name: str) -> None:
    layer = layer_of(name)
    layer.prune([(output, 1) for output in range(4)])
    x = inputs()
    expected = layer(x)
    for value in (math.nan, math.inf, 1e30):
        x[:, 1] = value
        x.requires_grad_()
        for run in (layer, layer.prepare(1.0), layer.compile_spectral(domain=1.0)):
            torch.testing.assert_close(run(x), expected, rtol=0, atol=1e-12)
        assert (layer.edge_outputs(x)[:, :, 1] == 0).all()
        (grad,) = torch.autograd.grad(layer(x).sum(), x)
        assert (grad[:, 1] == 0).all()
        x = x.detach()


def test_gates_of_a_recurrent_module_honour_the_masks_of_both_parts() -> None:
    x = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    for pruned in (("input",), ("hidden",), ("input", "hidden")):
        for options in ({}, {"group": "input", "postact_weight_trainable": True}, {"preact_trainable": True}):
            torch.manual_seed(0)
            lstm = QKANLSTM(2, 3, batch_first=True, **options)  # type: ignore[arg-type]
            layers = {name: layer for name, layer in lstm.named_modules() if isinstance(layer, QKANLayer)}
            before = lstm(x)[0]
            for name, layer in layers.items():
                if name.rsplit(".", 1)[-1] in pruned:
                    layer.prune([(o, 1) for o in range(layer.out_features)] + [(0, 0)])
            outputs = lstm(x)[0]
            assert (outputs - before).abs().max() > 1e-3
            lstm.backend = "bloch"
            torch.testing.assert_close(lstm(x)[0], outputs, rtol=0, atol=1e-6)
            torch.testing.assert_close(qkan.compile(lstm, x)(x)[0], outputs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"preact_trainable": True}], ids=str)
def test_a_recurrent_module_does_not_read_an_input_without_edges(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    lstm, cell = QKANLSTM(2, 3, batch_first=True, **options), QKANLSTMCell(2, 3, **options)
    x = torch.randn(3, 5, 2)
    frozen = []
    for module in (lstm, cell):
        layer = next(layer for name, layer in module.named_modules() if name.endswith("input"))
        layer.prune([(o, 1) for o in range(12)])  # type: ignore[operator]
        frozen.append(qkan.compile(module, x if module is lstm else x[:, 0]))
    gone = torch.where(torch.tensor([True, False]), x, math.nan)
    for module in (lstm, frozen[0]):
        torch.testing.assert_close(module(gone)[0], module(x)[0], rtol=0, atol=1e-6)
    for module in (cell, frozen[1]):
        with torch.no_grad():
            torch.testing.assert_close(module(gone[:, 0])[0], module(x[:, 0])[0], rtol=0, atol=1e-6)


def test_gates_of_layers_with_other_repetitions_run_one_by_one() -> None:
    torch.manual_seed(0)
    lstm = QKANLSTM(2, 3, batch_first=True)
    x = torch.randn(3, 5, 2)
    before = lstm(x)[0]
    next(layer for name, layer in lstm.named_modules() if name.endswith("hidden")).refine(3)  # type: ignore[operator]
    torch.testing.assert_close(lstm(x)[0], before, rtol=0, atol=1e-6)


def test_unpruned_state_has_no_mask() -> None:
    assert QKANLayer(3, 4).edge_mask is None
    assert sorted(QKANLayer(3, 4).state_dict()) == ["base_weight", "theta"]


@pytest.mark.parametrize("assign", [False, True])
def test_a_pruned_state_makes_the_mask_of_a_layer_in_a_parent(assign: bool) -> None:
    pruned, other = (nn.Sequential(nn.Linear(3, 3), QKAN([3, 4, 2])) for _ in range(2))
    layer = pruned[1].layers[0]
    layer.prune(PRUNED)
    other.load_state_dict(copy.deepcopy(pruned.state_dict()), assign=assign)
    loaded = other[1].layers[0]
    assert loaded.edge_mask.dtype == torch.bool
    assert torch.equal(loaded.edge_mask, layer.edge_mask)
    assert other[1].layers[1].edge_mask is None
    x = torch.randn(5, 3)
    assert torch.equal(other(x), pruned(x))


@pytest.mark.parametrize("assign", [False, True])
def test_a_mask_of_numbers_is_loaded_as_bool(assign: bool) -> None:
    layer = QKANLayer(3, 4)
    layer.prune(PRUNED)
    state = layer.state_dict()
    state["edge_mask"] = state["edge_mask"].double()
    other = QKANLayer(3, 4)
    other.load_state_dict(state, assign=assign)
    assert other.edge_mask is not None
    assert other.edge_mask.dtype == torch.bool
    assert torch.equal(other.edge_mask, layer.edge_mask)  # type: ignore[arg-type]


def test_states_that_do_not_fit_are_refused_and_leave_the_mask_alone() -> None:
    pruned, layer = QKANLayer(3, 4), QKANLayer(3, 4)
    pruned.prune(PRUNED)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "edge_mask"'):
        pruned.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="size mismatch for edge_mask"):
        layer.load_state_dict(layer.state_dict() | {"edge_mask": torch.ones(3, 4, dtype=torch.bool)})
    assert layer.edge_mask is None


def test_copies_calls_and_dtypes_keep_the_mask() -> None:
    layer = layer_of("full")
    layer.prune(PRUNED)
    expected = layer(inputs())
    assert torch.equal(copy.deepcopy(layer)(inputs()), expected)
    assert torch.equal(functional_call(layer, dict(layer.named_parameters()), (inputs(),)), expected)
    assert torch.equal(functional_call(layer_of("full"), layer.state_dict(), (inputs(),)), expected)
    single = copy.deepcopy(layer).float()
    torch.testing.assert_close(single(inputs().float()).double(), expected, rtol=0, atol=3e-6)
    assert single.edge_mask is not None
    assert single.edge_mask.dtype == torch.bool
    every = torch.func.vmap(layer)(inputs().unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(every, expected, rtol=0, atol=1e-12)


def test_compiled_layers_see_a_later_prune() -> None:
    layer = layer_of("fixed")
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    compiled(inputs())
    for edge in PRUNED[:2]:  # the first brings a mask, the second changes it
        layer.prune([edge])
        torch.testing.assert_close(compiled(inputs()), layer(inputs()), rtol=0, atol=1e-12)


def test_training_leaves_pruned_edges_out() -> None:
    layer = layer_of("full")
    layer.prune(PRUNED)
    kept = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        layer(inputs()).square().sum().backward()
        optimizer.step()
    edges = layer.edge_outputs(inputs())
    for edge in PRUNED:
        assert (edges[(slice(None), *edge)] == 0).all()
        for name, p in layer.named_parameters():
            assert torch.equal(p[edge], kept[name][edge]), name
    assert (layer.theta - kept["theta"]).abs().max() > 0.01


def test_a_later_prune_revives_nothing_and_restore_does() -> None:
    layer = layer_of("full")
    before = layer(inputs())
    assert layer.prune(PRUNED[:2]) == 2
    assert layer.prune([PRUNED[0], PRUNED[2]]) == 1
    assert layer.edge_mask is not None
    assert layer.edge_mask.tolist() == [
        [True, False, True], [True, True, True], [True, False, True], [False, True, True]
    ]  # fmt: skip
    assert layer.restore([(0, 1), (1, 1)]) == 1
    assert layer.edge_mask.sum() == 10
    assert layer.restore() == 2
    assert layer.edge_mask is None
    assert torch.equal(layer(inputs()), before)
    assert layer.restore() == 0


def test_edges_as_a_tensor() -> None:
    layer = QKANLayer(3, 4)
    assert layer.prune(torch.zeros(4, 3, dtype=torch.bool)) == 0
    assert layer.edge_mask is None
    edges = torch.arange(12).reshape(4, 3) > 9
    assert layer.prune(edges) == 2
    assert torch.equal(layer.edge_mask, ~edges)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edges", "error", "message"),
    [
        ([(4, 0)], ValueError, r"edge \(4, 0\) is outside the layer: outputs are 0 to 3, inputs 0 to 2"),
        ([(0, -1)], ValueError, r"edge \(0, -1\) is outside the layer: outputs are 0 to 3, inputs 0 to 2"),
        ([3], TypeError, r"edge 3 must be a pair of ints \(output, input\)"),
        ([(0, 1, 2)], TypeError, r"edge \(0, 1, 2\) must be a pair of ints"),
        ([(0.0, 1)], TypeError, r"edge \(0.0, 1\) must be a pair of ints"),
        (torch.ones(4, 3) > 0, ValueError, "pruning would leave none of the 12 edges of the layer; keep one at least"),
        (torch.ones(4, 3), TypeError, r"edges as a tensor must be bool, got torch.float32; compare it"),
        (torch.ones(3, 4) > 0, ValueError, r"edges of shape \(3, 4\) do not fit; they must be \(out, in\) = \(4, 3\)"),
    ],
)
def test_bad_edges(edges: Any, error: type[Exception], message: str) -> None:
    layer = QKANLayer(3, 4)
    with pytest.raises(error, match=message):
        layer.prune(edges)
    assert layer.edge_mask is None


def test_hybrid_gates_with_a_pruned_latent() -> None:
    torch.manual_seed(0)
    lstm = HQKANLSTM(2, 4)
    latent = next(layer for layer in lstm.modules() if isinstance(layer, QKANLayer))
    x = torch.randn(5, 2)
    before = lstm(x)[0]
    latent.prune([(0, 0)])
    outputs = lstm(x)[0]
    assert (outputs - before).abs().max() > 1e-4
    lstm.backend = "bloch"
    torch.testing.assert_close(lstm(x)[0], outputs, rtol=0, atol=1e-6)
