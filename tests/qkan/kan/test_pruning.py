"""Pruning of networks on data and by name, and what is left of them."""

import math
from typing import Any

import pytest
import torch
from plain import PLAIN
from torch import Tensor

from qkan import QKAN, QKANLayer


def network(width: tuple[int, ...] = (3, 4, 2), **options: Any) -> QKAN:
    return QKAN(list(width), generator=torch.Generator().manual_seed(0), dtype=torch.float64, **(PLAIN | options))


def data(features: int = 3, samples: int = 11) -> Tensor:
    return torch.randn(samples, features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def quiet(layer: QKANLayer, *edges: tuple[int, int], scale: float = 1e-3) -> None:
    """Make edges of a layer with trained post-activation weights small."""
    with torch.no_grad():
        for edge in edges:
            layer.postact_weight[edge] = scale  # type: ignore[index]
            layer.base_weight[edge] = scale  # type: ignore[index]


def loud(**options: Any) -> QKAN:
    """A network all of whose edges are far above every threshold."""
    model = network(postact_weight_trainable=True, **options)
    with torch.no_grad():
        for layer in model.layers:
            layer.postact_weight.fill_(0.5)
            layer.base_weight.fill_(0.7)
    return model


def test_prune_removes_quiet_edges_and_says_what_that_did() -> None:
    model = loud()
    quiet(model.layers[0], (1, 2), (3, 0))
    quiet(model.layers[1], (0, 3))
    before = model(data())
    summary = model.prune(data())
    assert summary.edges == ((0, 1, 2), (0, 3, 0), (1, 0, 3))
    assert (summary.nodes, summary.inputs, summary.kept, summary.total) == ((), (), 17, 20)
    torch.testing.assert_close(summary.change, (model(data()) - before).abs().mean().item(), rtol=0, atol=1e-15)
    assert 0 < summary.change < 3e-3
    assert str(summary) == (
        "removed 3 edges, 0 hidden nodes [] and 0 inputs []; 17 of 20 edges are left; "
        f"outputs moved by {summary.change:.3g} in the mean"
    )
    again = model.prune(data())
    assert (again.edges, again.kept, again.change) == ((), 17, 0.0)


def test_a_node_goes_if_its_way_in_or_out_is_quiet() -> None:
    model = loud()
    quiet(model.layers[0], *((1, i) for i in range(3)))
    quiet(model.layers[1], (0, 2), (1, 2))
    summary = model.prune(data(), edge_threshold=None)
    assert summary.nodes == ((1, 1), (1, 2))
    assert len(summary.edges) == 10
    kept = torch.tensor([True, False, False, True])
    assert torch.equal(model.layers[0].edge_mask, kept.unsqueeze(1).expand(4, 3))
    assert torch.equal(model.layers[1].edge_mask, kept.expand(2, 4))


def test_a_node_that_loses_its_edges_takes_its_neighbours_with_it() -> None:
    model = network((2, 2, 2, 1))
    with torch.no_grad():
        for layer in model.layers:
            layer.base_weight.fill_(1.0)
    model.layers[2].prune([(0, 1)])
    model.layers[1].prune([(0, 0)])
    # Node (2, 1) leads nowhere; without it node (1, 0) does not either.
    summary = model.prune(data(2), edge_threshold=None, node_threshold=0.0)
    assert summary.edges == ((0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1))
    assert summary.change == 0.0
    assert all(layer.postact_bias is None for layer in model.layers)


def test_inputs_go_where_asked_for() -> None:
    model = loud()
    quiet(model.layers[0], *((o, 1) for o in range(4)), scale=1e-2)
    assert model.prune(data(), edge_threshold=None).edges == ()
    summary = model.prune(data(), edge_threshold=None, node_threshold=None, input_threshold=0.1)
    assert summary.inputs == (1,)
    assert summary.edges == tuple((0, o, 1) for o in range(4))
    x = data()
    x[:, 1] = math.nan
    assert model(x).isfinite().all()


@pytest.mark.parametrize(
    "options",
    [{}, {"postact_weight_trainable": True}, {"postact_bias_trainable": True, "base_activation": None}],
    ids=str,
)
def test_outputs_keep_the_means_of_edges_removed_on_data(options: dict[str, Any]) -> None:
    model = network((3, 2), **options)
    before, edges = model(data()), model.layers[0].edge_outputs(data())
    summary = model.prune_edges([(0, 0, 1), (0, 1, 0), (0, 1, 2)], data())
    deviation = torch.stack((edges[:, 0, 1], edges[:, 1, 0] + edges[:, 1, 2]), -1)
    deviation = deviation - deviation.mean(0)
    torch.testing.assert_close(model(data()), before - deviation, rtol=0, atol=1e-12)
    torch.testing.assert_close(summary.change, deviation.abs().mean().item(), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.layers[0].edge_outputs(data()).sum(-1), model(data()), rtol=0, atol=1e-12)
    other = network((3, 2), **options)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(data()), model(data()))
    torch.testing.assert_close(model.compact()(data()), model(data()), rtol=0, atol=1e-13)


def test_constants_do_not_count_and_are_kept() -> None:
    model = loud(postact_bias_trainable=True)
    quiet(model.layers[0], (1, 2), *((2, i) for i in range(3)), scale=1e-4)
    quiet(model.layers[1], (0, 3), scale=1e-4)
    with torch.no_grad():
        for layer, edge in ((0, (1, 2)), (0, (2, 0)), (1, (0, 3))):
            model.layers[layer].postact_bias[edge] = 4e3  # times 1e-4: a constant 0.4
    before = model(data())
    summary = model.prune(data())
    assert summary.nodes == ((1, 2),)  # a constant node
    assert {(0, 1, 2), (0, 2, 0), (1, 0, 3), (1, 1, 2)} <= set(summary.edges)
    assert (model(data()) - before).abs().max() < 1e-3
    assert model.prune_edges([(0, 1, 0)]).change is None


def test_prune_by_name() -> None:
    model = network()
    assert model.prune_edges([(1, 0, 3), (0, 2, 1)]).edges == ((0, 2, 1), (1, 0, 3))
    assert model.prune_nodes([(1, 3)]).edges == ((0, 3, 0), (0, 3, 1), (0, 3, 2), (1, 1, 3))
    summary = model.prune_inputs([1])
    assert (summary.edges, summary.inputs, summary.change) == (((0, 0, 1), (0, 1, 1)), (1,), None)
    assert str(summary).endswith("; 12 of 20 edges are left")
    masks = [torch.zeros(4, 3, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.bool)]
    masks[1][1, 0] = True
    assert model.prune_edges(masks).edges == ((1, 1, 0),)
    assert model.restore() == 9
    assert all(layer.edge_mask is None for layer in model.layers)


def test_nothing_is_left_out_in_silence() -> None:
    model = network()
    calls: list[tuple[Any, str]] = [
        (lambda: model.prune(data(), edge_threshold=1e9), r"outputs \[0, 1\] of the network without any input"),
        (lambda: model.prune_edges([(1, 1, i) for i in range(4)]), r"leave outputs \[1\] of the network without"),
        (lambda: model.prune_nodes([(1, i) for i in range(4)]), r"outputs \[0, 1\] .*nothing was removed"),
        (lambda: model.prune_inputs([0, 1, 2]), r"outputs \[0, 1\]"),
    ]
    for call, message in calls:
        with pytest.raises(ValueError, match=message):
            call()
        assert all(layer.edge_mask is None for layer in model.layers)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: m.prune(data(), edge_threshold=-1.0),
            ValueError,
            "edge_threshold -1.0 must be a finite number",
        ),
        (lambda m: m.prune(data(), node_threshold=math.nan), ValueError, "node_threshold nan must be a finite number"),
        (lambda m: m.prune(data()[:1]), ValueError, r"x of shape \(1, 3\) must hold two or more samples"),
        (lambda m: m.prune(data()[0]), ValueError, r"x of shape \(3,\) must hold two or more samples"),
        (lambda m: m.prune(data().numpy()), TypeError, "QKAN needs a torch.Tensor, got ndarray"),
        (
            lambda m: m.prune(data(), input_threshold="a"),
            TypeError,
            "input_threshold must be a number, got str; None keeps every input",
        ),
        (lambda m: m.prune(data() * math.nan), ValueError, "x has 33 of 33 values that are NaN or infinite"),
        (lambda m: network(ansatz="px").prune(2 * data()), ValueError, "edges of layer 0 are NaN or infinite on these"),
        (lambda m: m.prune_edges([(2, 0, 0)]), ValueError, "layer 2 is outside the network: 0 to 1"),
        (lambda m: m.prune_edges([(1, 2, 0)]), ValueError, r"edge \(2, 0\) is outside the layer: outputs are 0 to 1"),
        (lambda m: m.prune_edges([(1, 2)]), TypeError, r"edge \(1, 2\) must be three ints \(layer, output, input\)"),
        (lambda m: m.prune_edges([torch.ones(4, 3) > 0]), ValueError, "1 masks do not fit; give one for each of the 2"),
        (lambda m: m.prune_nodes([(0, 1)]), ValueError, "level 0 is outside the network: 1 to 1"),
        (lambda m: m.prune_nodes([(1, 4)]), ValueError, "node of level 1 4 is outside the network: 0 to 3"),
        (lambda m: m.prune_nodes([1]), TypeError, r"node 1 must be two ints \(level, node\)"),
        (lambda m: network((2, 1)).prune_nodes([(1, 0)]), ValueError, "a network of one layer has no hidden nodes"),
        (lambda m: m.prune_inputs([3]), ValueError, "input 3 is outside the network: 0 to 2"),
        (lambda m: m.prune_inputs(["a"]), TypeError, "input 'a' must be an int"),
    ],
)
def test_bad_calls(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(network())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"group": 2, "postact_weight_trainable": True, "preact_trainable": True},
        {"group": "input", "postact_weight_trainable": True, "postact_bias_trainable": True},
        {"preact_trainable": "input", "base_activation": None},
        {"ansatz": "rpz", "base_trainable": False, "readout": "amplitude"},
        {"base_activation": torch.nn.PReLU(dtype=torch.float64)},
    ],
    ids=str,
)
def test_compact_is_a_smaller_network_with_the_same_function(options: dict[str, Any]) -> None:
    model = network((3, 5, 4, 2), **options).eval()
    model.prune_nodes([(1, 2), (2, 3)])
    model.prune_edges([(0, 0, 1), (1, 1, 4), (0, 4, 2)])
    model.layers[2].prune([(0, 0), (1, 0)])  # node (2, 0) leads nowhere
    model.layers[0].prune([(3, 0), (3, 1), (3, 2)])  # node (1, 3) is a constant
    before, generator_state = model(data()), torch.get_rng_state()
    small = model.compact()
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert (small.width, small.training) == ([3, 4, 2, 2], False)
    torch.testing.assert_close(small(data()), before, rtol=0, atol=1e-13)
    assert small.layers[2].edge_mask is None
    assert torch.equal(model(data()), before)
    for mine, others in zip(model.parameters(), small.parameters(), strict=True):
        assert mine.requires_grad == others.requires_grad


def test_compact_refuses_a_network_that_layers_cut_apart() -> None:
    model = network()
    model.layers[1].prune([(1, i) for i in range(4)])
    with pytest.raises(ValueError, match=r"outputs \[1\] of the network without any input"):
        model.compact()


def test_layers_of_other_sizes_are_no_network() -> None:
    with pytest.raises(ValueError, match="layer 1 takes 3 inputs, but layer 0 has 2 outputs; they must be equal"):
        QKAN.from_layers([QKANLayer(3, 2), QKANLayer(3, 1)])
    with pytest.raises(ValueError, match="a network needs at least one layer, got none"):
        QKAN.from_layers([])
