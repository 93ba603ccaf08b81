"""Defects of the original authors' package (qkan 0.2.3) that this one must not have, one by one.

Most of it is tested in more detail where it belongs; here every defect has a name.
"""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from qkan import QKAN, QKANLayer
from qkan.kan.importance import edge_activity

EDGES = [(0, 1), (3, 2)]


def inputs(*lead: int) -> Tensor:
    return torch.rand(*lead, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def layer(**options: object) -> QKANLayer:
    return QKANLayer(3, 4, generator=torch.Generator().manual_seed(1), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("lead", [(), (5,), (2, 0), (2, 3, 5)])
def test_defect_1_inputs_have_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    x = inputs(*lead)
    flat = torch.stack([layer()(row) for row in x.reshape(-1, 3)]) if x.numel() else torch.zeros(0, 4)
    torch.testing.assert_close(layer()(x), flat.reshape(*lead, 4), rtol=0, atol=1e-6)


def test_defect_1_inputs_need_not_be_contiguous() -> None:
    x = inputs(5).mT.contiguous().mT
    assert not x.is_contiguous()
    torch.testing.assert_close(layer()(x), layer()(x.contiguous()), rtol=0, atol=1e-6)


def test_defect_1_bad_input_is_no_failed_assertion() -> None:
    with pytest.raises(ValueError, match=r"QKANLayer needs an input of shape \(\.\.\., 3\), got \(5, 4\)"):
        layer()(torch.zeros(5, 4))


def test_defect_1_misspelt_options_are_refused() -> None:
    with pytest.raises(TypeError, match="preact_trainabel"):
        QKANLayer(3, 4, preact_trainabel=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="preact_trainabel"):
        QKAN([3, 4], preact_trainabel=True)  # type: ignore[call-arg]


def test_defect_2_regularisation_has_a_gradient() -> None:
    own = layer(preact_trainable=True, postact_weight_trainable=True)
    edge_activity(own, inputs(7)).sum().backward()
    for name, parameter in own.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-3, name


@pytest.mark.parametrize("training", [True, False])
def test_defect_2_pruning_is_honoured_in_train_and_eval(training: bool) -> None:
    own = layer().train(training)
    expected = own(inputs(7)).clone()
    edges = own.edge_outputs(inputs(7))
    for output, input in EDGES:
        expected[:, output] -= edges[:, output, input]
    own.prune(EDGES)
    torch.testing.assert_close(own(inputs(7)), expected, rtol=0, atol=1e-6)


def test_defect_2_a_later_prune_revives_no_edge() -> None:
    own = layer()
    own.prune(EDGES[:1])
    own.prune(EDGES[1:])
    assert own.edge_mask is not None
    assert (~own.edge_mask).nonzero().tolist() == [list(edge) for edge in EDGES]
    model = QKAN.from_layers([own])
    model.prune(inputs(7), edge_threshold=0.0, node_threshold=0.0)
    assert own.edge_mask.sum() == 10


def test_defect_2_a_pruned_checkpoint_keeps_its_mask_in_eval() -> None:
    own, other = layer(), QKANLayer(3, 4).eval()
    own.prune(EDGES)
    other.load_state_dict(own.state_dict())
    assert torch.equal(other(inputs(7)), own(inputs(7)))
    assert (other.edge_outputs(inputs(7))[:, 0, 1] == 0).all()


def test_defect_3_functional_call_uses_what_it_is_given() -> None:
    own = layer(preact_trainable=True)
    moved = {name: parameter.detach() + 0.1 for name, parameter in own.named_parameters()}
    other = copy.deepcopy(own)
    other.load_state_dict(moved)
    assert torch.equal(functional_call(own, moved, (inputs(7),)), other(inputs(7)))
    assert (other(inputs(7)) - own(inputs(7))).abs().max() > 1e-2


def test_defect_3_assigned_states_copies_and_dtypes_are_not_stale() -> None:
    own, other = layer(preact_trainable=True).eval(), QKANLayer(3, 4, preact_trainable=True).eval()
    other(inputs(7))
    other.load_state_dict(copy.deepcopy(own.state_dict()), assign=True)
    assert torch.equal(other(inputs(7)), own(inputs(7)))
    duplicate = copy.deepcopy(own)
    with torch.no_grad():
        duplicate.theta.add_(0.1)
    assert torch.equal(other(inputs(7)), own(inputs(7)))
    assert (duplicate(inputs(7)) - own(inputs(7))).abs().max() > 1e-2
    double = duplicate.double()(inputs(7).double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double, duplicate(inputs(7).double()), rtol=0, atol=0)


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix"])
def test_defect_4_pennylane_takes_layers_that_are_not_square(ansatz: str) -> None:
    options = {"ansatz": ansatz, "reps": 2, "preact_trainable": ansatz != "px", "dtype": torch.float64}
    x = inputs(2).double()
    torch.testing.assert_close(
        layer(**options, backend="pennylane")(x), layer(**options, backend="reference")(x), rtol=0, atol=1e-12
    )


def test_defect_5_a_backend_that_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"backend 'spectral' cannot run this layer: ansatz 'px' encodes acos\(x\)"):
        layer(ansatz="px", backend="spectral")
    with pytest.raises(ValueError, match="readout 'amplitude'"):
        layer(readout="amplitude", backend="pennylane")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="backend 'triton' cannot run this layer: its kernels run on"):
        layer(backend="triton")(inputs(7))


def test_defect_5_many_repetitions_run_on_what_was_asked_for() -> None:
    deep = {"reps": 13, "dtype": torch.float64}
    expected = layer(**deep, backend="reference")(inputs(7).double())
    for backend in ("spectral", "bloch"):
        own = layer(**deep, backend=backend)
        assert own._circuits().explain(inputs(7).double()).backend == backend
        torch.testing.assert_close(own(inputs(7).double()), expected, rtol=0, atol=1e-12)


def test_defect_6_layers_of_one_seed_differ_and_nothing_is_reseeded() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    layer()
    assert torch.equal(torch.rand(3), expected)
    first, second = QKANLayer(3, 4), QKANLayer(3, 4)
    assert (first.theta - second.theta).abs().min() > 0
    one, two = QKAN([3, 3, 3], generator=torch.Generator().manual_seed(0)).layers
    assert (one.theta - two.theta).abs().min() > 0


def test_defect_7_the_default_readout_is_what_a_device_measures() -> None:
    own = layer(base_activation=None, dtype=torch.float64)
    x = inputs(5).double()
    measured = torch.stack([torch.as_tensor(own.circuit(2, i)(x[:, i])) for i in range(3)]).sum(0)
    torch.testing.assert_close(own(x)[:, 2], measured.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", ["bloch", "spectral", "auto"])
def test_defect_8_training_keeps_nothing_of_batch_by_edges(backend: str) -> None:
    batch, size, kept = 64, 24, []
    own = QKANLayer(size, size, 5, backend=backend)
    parameters = sum(parameter.numel() for parameter in own.parameters())

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.untyped_storage().nbytes() // 4)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = own(torch.randn(batch, size, requires_grad=True))
    y.sum().backward()
    # An activation per edge and sample would be 36,864 numbers at once, parameters are 7,488.
    assert max(kept) <= parameters
    assert sum(kept) < batch * size * size


@pytest.mark.parametrize("group", [None, 2])
def test_defect_10_angles_may_differ_between_samples(group: int | None) -> None:
    own = layer(group=group, postact_weight_trainable=True, dtype=torch.float64)
    own.prune(EDGES)
    x = inputs(5).double()
    shape = (5, *own.circuit_parameters()[0].shape)
    theta = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    together = own(x, theta)
    alone = []
    for row, angles in zip(x, theta.detach(), strict=True):
        single = layer(group="input" if group else None, postact_weight_trainable=True, dtype=torch.float64)
        single.load_state_dict({**own.state_dict(), "theta": angles})
        alone.append(single(row))
    torch.testing.assert_close(together, torch.stack(alone), rtol=0, atol=1e-12)
    together.sum().backward()
    assert theta.grad is not None
    assert theta.grad.abs().amax((0, -2, -1)).min() > 1e-3 if group else (theta.grad[:, 0, 1] == 0).all()


def test_defect_9_a_saved_network_holds_its_configuration(tmp_path: Path) -> None:
    model = QKAN([3, 4, 1], reps=2, ansatz="mix", preact_trainable=True, postact_weight_trainable=True)
    model.prune_edges([(0, 1, 2)])
    model.save(tmp_path / "model.safetensors")
    other = QKAN.load(tmp_path / "model.safetensors")
    assert other.config == model.config
    assert torch.equal(other(inputs(7)), model(inputs(7)))
