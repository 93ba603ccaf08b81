"""What other code reads of nn.LSTM and nn.GRU: their mode, their weights, their cells."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import qkan
from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM, QKANGRUCell, QKANLSTMCell


def test_mode_tells_the_number_of_states() -> None:
    assert [cls(2, 3).mode for cls in (QKANLSTM, HQKANLSTM, QLSTM, QKANGRU)] == ["LSTM", "LSTM", "LSTM", "GRU"]
    assert (nn.LSTM(2, 3).mode, nn.GRU(2, 3).mode) == ("LSTM", "GRU")


@pytest.mark.parametrize("bidirectional", [False, True])
def test_all_weights_are_the_parameters_by_layer_and_direction(bidirectional: bool) -> None:
    module = QKANLSTM(2, 3, 2, bidirectional=bidirectional)
    assert len(module.all_weights) == len(nn.LSTM(2, 3, 2, bidirectional=bidirectional).all_weights)
    flat = [parameter for weights in module.all_weights for parameter in weights]
    assert list(map(id, flat)) == list(map(id, module.parameters()))


def test_names_of_weights_that_circuits_do_not_have() -> None:
    module = QKANLSTM(2, 3, 2, bidirectional=True)
    for name, index in (("weight_ih_l0", 0), ("bias_hh_l1", 2), ("weight_hr_l1_reverse", 3)):
        assert not hasattr(module, name)
        with pytest.raises(AttributeError, match=rf"QKANLSTM has no {name}, because its .* directions\[{index}\]"):
            getattr(module, name)
    with pytest.raises(AttributeError, match="'QKANLSTM' object has no attribute 'weights'"):
        module.weights  # noqa: B018


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"preact_trainable": True, "base_activation": "silu"}])
@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_a_gru_cell_is_a_step_of_the_gru(options: dict, backend: str) -> None:
    torch.manual_seed(0)
    cell = QKANGRUCell(2, 3, backend=backend, dtype=torch.float64, **options)
    whole = QKANGRU(2, 3, dtype=torch.float64, **options)
    whole.load_state_dict({f"directions.0{name[4:]}": value for name, value in cell.state_dict().items()})
    x, h = torch.randn(4, 5, 2, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    expected, _ = whole(x, h.unsqueeze(0))
    for rows, y in zip(x, expected, strict=True):
        h = cell(rows, h)
        torch.testing.assert_close(h, y, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(h.sum(), [cell.cell.gates.hidden.theta])
    (reference,) = torch.autograd.grad(expected[-1].sum(), [whole.directions[0].gates.hidden.theta])
    torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("freeze", [False, True])
def test_a_gru_cell_has_the_contract_of_nn_gru_cell(freeze: bool) -> None:
    torch.manual_seed(0)
    cell: nn.Module = QKANGRUCell(2, 3)
    cell = qkan.compile(cell) if freeze else cell
    peer, x = nn.GRUCell(2, 3), torch.randn(5, 2)
    assert cell(x).shape == peer(x).shape
    assert cell(x[0]).shape == peer(x[0]).shape
    torch.testing.assert_close(cell(x), cell(x, torch.zeros(5, 3)), rtol=0, atol=0)
    torch.testing.assert_close(cell(x[0]), cell(x)[0], rtol=0, atol=1e-6)
    for copied in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        torch.testing.assert_close(copied(x), cell(x), rtol=0, atol=0)
    for wrong in ((torch.randn(1, 5, 2),), (torch.randn(5, 3),), (x, torch.randn(4, 3)), (x, torch.randn(1, 5, 3))):
        with pytest.raises((ValueError, RuntimeError)) as error:
            peer(*wrong)
        with pytest.raises(error.type):
            cell(*wrong)
    with pytest.raises(RuntimeError, match=r"dtype torch\.float64 does not match weight dtype"):
        cell(x.double())


def test_cells_say_what_they_are_and_what_runs() -> None:
    for kind in (QKANGRUCell, QKANLSTMCell):
        cell, name = kind(2, 3, bias=False), kind.__name__
        assert repr(cell).startswith(f"{name}(\n  2, 3, bias=False")
        assert cell.explain_backend(torch.rand(4, 2)).startswith("numba")
        with pytest.raises(ValueError, match=rf"{name}: Expected input to be 1D or 2D, got 3D instead"):
            cell(torch.rand(1, 1, 2))
