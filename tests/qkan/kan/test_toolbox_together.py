"""The parts of the toolbox after each other on one network, as a user meets them."""

from pathlib import Path
from typing import Any

import pytest
import sympy
import torch

import qkan
from qkan import QKAN

F64 = torch.float64


def samples() -> torch.Tensor:
    return 1.8 * torch.rand(40, 3, generator=torch.Generator().manual_seed(0), dtype=F64) - 0.9


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ansatz": "rpz", "preact_trainable": "input", "postact_bias_trainable": True},
        {"group": 2, "postact_weight_trainable": True, "preact_trainable": True},
        {"readout": "amplitude", "base_activation": None},
    ],
)
def test_fit_prune_refine_save_read_compile(options: dict[str, Any], tmp_path: Path) -> None:
    x, source = samples(), torch.Generator().manual_seed(1)
    y = torch.cat([torch.sin(3 * x[:, :1]), x[:, 1:2] ** 2], 1)
    model = QKAN([3, 3, 2], reps=1, generator=source, dtype=F64, **options)
    start = float((model(x).detach() - y).square().mean())
    model.fit(x, y, steps=(5, 5), l1=1e-3)
    model.prune_edges([(0, 0, 2), (0, 1, 2), (0, 2, 2), (1, 0, 1)], x)
    before = model(x).detach()
    torch.testing.assert_close(model.refine(2)(x).detach(), before, rtol=0, atol=1e-12)
    assert model.fit(x, y, steps=(2, 3)).best_loss < start

    out = model(x).detach()
    model.save(tmp_path / "model.safetensors")
    again = QKAN.load(tmp_path / "model.safetensors")
    assert torch.equal(again(x), out)
    small = again.compact()
    torch.testing.assert_close(small(x).detach(), out, rtol=0, atol=1e-12)
    formula = sympy.lambdify(sympy.symbols("x1 x2 x3"), small.to_sympy(), cse=True)
    values = torch.stack([torch.as_tensor(value) for value in formula(*x.T.numpy())], 1)
    torch.testing.assert_close(values, out, rtol=0, atol=1e-11)
    curves = {line.get_gid() for line in small.plot(x).axes[0].lines}
    assert "edge 0 0 0" in curves
    assert "edge 0 0 2" not in curves
    frozen = qkan.compile(small, (x,))
    torch.testing.assert_close(frozen(x), out, rtol=0, atol=1e-12)
    exported = torch.export.export(frozen, (x,)).module()
    torch.testing.assert_close(exported(x), out, rtol=0, atol=1e-12)


def test_a_frozen_layer_stays_frozen() -> None:
    model = QKAN([3, 2, 1], dtype=F64, generator=torch.Generator().manual_seed(2))
    model.layers[0].requires_grad_(False)
    model.prune_edges([(0, 0, 1), (1, 0, 1)], samples())
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters() if "postact_bias" in name}
    assert trained == {"layers.0.postact_bias": False, "layers.1.postact_bias": True}


def test_restarts_leave_what_is_not_trained_as_it_is() -> None:
    """Parts that a user froze are not drawn anew, and neither do pruned edges come back."""
    x = samples()
    y = x[:, :1] ** 2
    frozen = torch.nn.Sequential(torch.nn.Linear(3, 4, dtype=F64), torch.nn.Linear(4, 1, dtype=F64))
    frozen[0].requires_grad_(False)
    before, drawn = frozen[0].weight.clone(), frozen[1].weight.detach().clone()
    qkan.fit(frozen, x, y, steps=2, restarts=3)
    torch.testing.assert_close(frozen[0].weight, before, rtol=0, atol=0)
    assert not torch.equal(frozen[1].weight, drawn)
    network = QKAN([3, 2, 1], preact_init="auto", dtype=F64)
    network.prune_edges([(0, 0, 0), (0, 1, 2)])
    network.fit(x, y, steps=2, restarts=2)
    gone = (network.layers[0].edge_outputs(x) == 0).all(dim=0)
    assert gone.nonzero().tolist() == [[0, 0], [1, 2]]
