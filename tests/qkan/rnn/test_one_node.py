"""QKAN-LSTMs on the CPU, whose circuits and walk are one node of the autograd graph: numbers, and no stale circuits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.nn.utils import parametrize, prune
from torch.nn.utils.rnn import pack_sequence

from qkan import QKANGRU, QKANLSTM, QKANLayer, QKANLSTMCell
from qkan.kernels.recurrence import circuits_cpu
from qkan.rnn.gates import QKANGates

F64 = torch.float64
OPTIONS: dict[str, dict[str, Any]] = {
    "fixed": {"reps": 2},
    "no bias": {"reps": 3, "bias": False},
    "trained": {"reps": 2, "preact_trainable": True},
    "projection": {"reps": 1, "proj_size": 2},
    "phases": {"ansatz": "rpz", "reps": 2},
    "real": {"ansatz": "real"},
    "mix, all": {"ansatz": "mix", "reps": 2, "preact_trainable": True, "proj_size": 1, "bias": False},
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of basis with which the one node has run."""
    seen: list[str] = []
    run = circuits_cpu.run

    def noted(circuits: Any, spec: Any, *others: Any) -> Any:
        seen.append(spec.basis.kind)
        return run(circuits, spec, *others)

    monkeypatch.setattr(circuits_cpu, "run", noted)
    return seen


def values(module: QKANLSTM, x: Any, hx: Any = None) -> list[Tensor]:
    """Output, final states, and gradients of a weighted sum of them in the input, the states and every parameter."""
    data = x if isinstance(x, Tensor) else x.data
    leaf = data.detach().clone().requires_grad_()
    states = () if hx is None else tuple(state.detach().clone().requires_grad_() for state in hx)
    output, finals = module(leaf if isinstance(x, Tensor) else x._replace(data=leaf), states or None)
    found = [output if isinstance(x, Tensor) else output.data, *finals]
    loss = sum((v * torch.linspace(-1, 2, v.numel()).view_as(v).to(v)).sum() for v in found)
    return [v.detach() for v in found] + list(torch.autograd.grad(loss, [leaf, *states, *module.parameters()]))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_number_is_that_of_the_gates_step_by_step(name: str, dtype: torch.dtype, ran: list[str]) -> None:
    torch.manual_seed(0)
    options = OPTIONS[name]
    module = QKANLSTM(2, 3, 2, bidirectional=True, dtype=dtype, **options)
    x, width = 2 * torch.rand(5, 4, 2, dtype=dtype) - 1, options.get("proj_size") or 3
    hx = (torch.rand(4, 4, width, dtype=dtype), torch.randn(4, 4, 3, dtype=dtype))
    got = values(module, x, hx)
    assert ran == ["chebyshev" if "preact_trainable" in options else "fourier"] * 4
    exact = copy.deepcopy(module).double()
    exact.backend = "reference"
    expected = values(exact, x.double(), tuple(state.double() for state in hx))
    for one, other in zip(got, expected, strict=True):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(
            one.double(), other, rtol=0, atol=(2e-5 if dtype == torch.float32 else 1e-11) * scale
        )


@pytest.mark.parametrize(
    ("inputs", "hidden", "steps", "batch"), [(1, 1, 1, 1), (3, 5, 7, 2), (1, 33, 2, 9), (5, 17, 3, 65)]
)
def test_odd_sizes(inputs: int, hidden: int, steps: int, batch: int, ran: list[str]) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(inputs, hidden, reps=2, dtype=F64)
    x = torch.randn(steps, batch, inputs, dtype=F64)
    got = values(module, x)
    assert ran == ["fourier"]
    module.backend = "torch"
    for one, other in zip(got, values(module, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_packed_unbatched_empty(name: str, ran: list[str]) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(2, 3, bidirectional=True, dtype=F64, **OPTIONS[name])
    packed = pack_sequence([torch.rand(n, 2, dtype=F64) for n in (3, 5, 1, 5)], enforce_sorted=False)
    for x in (packed, torch.rand(5, 2, dtype=F64), torch.rand(5, 0, 2, dtype=F64)):
        module.backend = "auto"
        got, before = values(module, x), len(ran)
        module.backend = "spectral"
        for one, other in zip(got, values(module, x), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
        assert before == len(ran)
    assert len(ran) == 6


CHANGES: dict[str, Callable[[QKANLSTM], Any]] = {
    "data": lambda module: [p.data.mul_(0.5) for p in module.parameters()],
    "set data": lambda module: [setattr(p, "data", 0.5 * p.data) for p in module.parameters()],
    "in place": lambda module: [p.detach().mul_(0.5) for p in module.parameters()],
    "numpy": lambda module: [p.detach().numpy().__imul__(0.5) for p in module.parameters()],
    "load": lambda module: module.load_state_dict({k: 0.5 * v for k, v in module.state_dict().items()}),
    "assign": lambda module: module.load_state_dict({k: 0.5 * v for k, v in module.state_dict().items()}, assign=True),
    "weight decay": lambda module: torch.optim.SGD(module.parameters(), lr=0.5, weight_decay=1.0).step(),
    "reset": lambda module: module.reset_parameters(torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_result_is_of_parameters_before_a_change(change: str, ran: list[str]) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(2, 3, reps=2, preact_trainable=True, dtype=F64)
    x = 2 * torch.rand(5, 4, 2, dtype=F64) - 1
    before = values(module, x)
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    CHANGES[change](module)
    got = values(module, x)
    assert len(ran) == 2
    fresh = QKANLSTM(2, 3, reps=2, preact_trainable=True, dtype=F64, backend="torch")
    fresh.load_state_dict(module.state_dict())
    assert (got[0] - before[0]).abs().max() > 1e-3
    for one, other in zip(got, values(fresh, x), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_copies_and_functional_calls_have_their_own_circuits(ran: list[str]) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(2, 3, reps=2, dtype=F64)
    x = torch.randn(5, 4, 2, dtype=F64)
    first = module(x)[0]
    other = copy.deepcopy(module)
    for p in other.parameters():
        p.data.mul_(0.5)
    halved = other(x)[0]
    assert torch.equal(module(x)[0], first)
    assert (halved - first).abs().max() > 1e-3
    called = torch.func.functional_call(module, dict(other.named_parameters()), (x,))[0]
    assert torch.equal(called, halved)
    assert torch.equal(module(x)[0], first)
    assert len(ran) == 5


@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_derivatives_of_every_kind(name: str, ran: list[str]) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(1, 2, dtype=F64, **OPTIONS[name])
    x = torch.rand(3, 2, 1, dtype=F64, requires_grad=True)
    names = list(dict(module.named_parameters()))

    def run(leaf: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (leaf,))[0]

    # In random directions where the parameters are many: entry by entry takes seconds and finds the same.
    assert torch.autograd.gradgradcheck(run, (x, *module.parameters()), fast_mode=name == "trained")
    assert ran


@pytest.mark.parametrize(
    "options",
    [
        {"group": "input", "postact_weight_trainable": True},
        {"postact_weight_trainable": True},
        {"postact_bias_trainable": True},
        {"base_activation": "silu"},
        {"preact_trainable": "input"},
        {"readout": "amplitude"},
        {"ansatz": "px"},
        {"backend": "torch"},
    ],
    ids=str,
)
def test_other_gates_take_another_way(options: dict[str, Any], ran: list[str]) -> None:
    QKANLSTM(2, 3, **options)(torch.rand(5, 4, 2))
    assert ran == []


def test_masks_mixed_dtypes_and_layers_of_other_kinds_take_another_way(ran: list[str]) -> None:
    x = torch.rand(5, 4, 2)
    pruned, other, narrow = QKANLSTM(2, 3), QKANLSTM(2, 3), QKANLSTM(2, 3, dtype=torch.bfloat16)
    gates = pruned.directions[0].gates
    gates.hidden.prune([(0, 0)])
    other.directions[0].gates.hidden.refine(2)
    for module in (pruned, other):
        module(x)
    narrow(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        QKANLSTM(2, 3)(x)
    assert ran == []
    assert isinstance(gates.hidden, QKANLayer)


def test_a_cell_is_one_step_of_it(ran: list[str]) -> None:
    torch.manual_seed(0)
    module, cell = QKANLSTM(2, 3, reps=2), QKANLSTMCell(2, 3, reps=2)
    cell.load_state_dict({k.replace("directions.0", "cell"): v for k, v in module.state_dict().items()})
    x = torch.randn(4, 2)
    h, c = cell(x)
    output, (h_n, c_n) = module(x.unsqueeze(0))
    assert ran == ["fourier", "fourier"]
    for one, other in ((h, output[0]), (h, h_n[0]), (c, c_n[0])):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert cell(x[:0])[0].shape == (0, 3)
    assert cell(x[0])[0].shape == (3,)
    assert cell.explain_backend(x) == "numba: the first backend that can run"
    cell.backend = "reference"
    torch.testing.assert_close(cell(x)[0], h, rtol=0, atol=1e-6)
    assert cell.explain_backend(x[0]) == "step by step: backend 'reference' was asked for by name"


class Doubled(torch.nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        """Twice the weight."""
        return 2 * weight


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bias", {}),
        ("theta", {}),
        ("preact_weight", {"preact_trainable": True}),
        ("preact_bias", {"preact_trainable": True}),
        ("postact_weight", {"postact_weight_trainable": True}),
        ("postact_bias", {"postact_bias_trainable": True}),
    ],
)
def test_parameters_that_torch_rewrites_are_not_left_out(name: str, options: dict[str, Any], ran: list[str]) -> None:
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    for rewrite in (
        lambda owner: prune.random_unstructured(owner, name, amount=0.5),
        lambda owner: parametrize.register_parametrization(owner, name, Doubled()),
    ):
        module = QKANLSTM(2, 3, dtype=F64, **options, generator=torch.Generator().manual_seed(2))
        gates: Any = next(part for part in module.modules() if isinstance(part, QKANGates))
        for owner in [gates] if name == "bias" else [gates.input, gates.hidden]:
            rewrite(owner)
        found = module(x)[0]
        module.backend = "reference"
        torch.testing.assert_close(found, module(x)[0], atol=1e-12, rtol=0)
    assert ran == []


def test_weights_of_one_part_alone_are_read(ran: list[str]) -> None:
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(1), dtype=F64)
    module = QKANLSTM(2, 3, dtype=F64)
    gates: Any = next(part for part in module.modules() if isinstance(part, QKANGates))
    gates.hidden.preact_weight = torch.nn.Parameter(torch.full((12, 3, 1), 1.7, dtype=F64))
    found = module(x)[0]
    module.backend = "reference"
    torch.testing.assert_close(found, module(x)[0], atol=1e-12, rtol=0)
    assert ran == []


@pytest.mark.parametrize("cell", [QKANLSTM, QKANGRU])
def test_a_missing_state_does_not_hide_a_large_one(cell: Any) -> None:
    make = torch.Generator().manual_seed(3)
    x = torch.randn(3, 2, 2, generator=make, dtype=F64)
    module = cell(2, 3, preact_trainable=True, dtype=F64, generator=make)
    h_0 = torch.zeros(1, 2, 3, dtype=F64)
    h_0[0, 0, 0], h_0[0, 1] = float("nan"), 3.0
    hx = h_0 if cell is QKANGRU else (h_0, torch.zeros_like(h_0))
    found = module(x, hx)[0]
    module.backend = "reference"
    expected = module(x, hx)[0]
    assert expected[:, 1].isfinite().all()
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("hidden.theta", (12, 2, 1, 2)),
        ("input.theta", (12, 5, 2, 2)),
        ("hidden.theta", (8, 2, 2, 2)),
        ("hidden.preact_weight", (12, 2, 2)),
        ("input.preact_bias", (12, 1, 1)),
        ("gates.bias", (4,)),
        ("projection.weight", (1, 3)),
    ],
)
def test_parameters_of_another_size_are_refused(name: str, shape: tuple[int, ...]) -> None:
    module = QKANLSTM(2, 3, proj_size=2, preact_trainable=True)
    full = next(n for n, _ in module.named_parameters() if n.endswith(name))
    with pytest.raises(ValueError, match="does not fit"):
        torch.func.functional_call(module, {full: torch.zeros(shape)}, (torch.zeros(4, 3, 2),))


def test_forward_derivatives(ran: list[str]) -> None:
    make = torch.Generator().manual_seed(4)
    x, v = torch.randn(2, 4, 3, 2, generator=make, dtype=F64)
    module = QKANLSTM(2, 3, dtype=F64, generator=make)
    step = 1e-6
    with torch.no_grad():
        expected = (module(x + step * v)[0] - module(x - step * v)[0]) / (2 * step)
    for grad in (True, False):
        with torch.set_grad_enabled(grad), forward_ad.dual_level():
            found = forward_ad.unpack_dual(module(forward_ad.make_dual(x, v))[0]).tangent
        assert found is not None
        torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


def test_fake_tensors_have_shapes() -> None:
    with FakeTensorMode():
        output, (h, _) = QKANLSTM(2, 3)(torch.randn(4, 5, 2))
    assert (output.shape, h.shape) == ((4, 5, 3), (1, 5, 3))
