"""Recurrent modules on every engine: what they run on, long sequences, compilers, derivatives of derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from qkan import HQKANLSTM, QKANGRU, QKANLSTM, PennyLane, QKANLayer, QKANLSTMCell
from qkan.kernels.recurrence import api as recurrence

MAKERS: dict[str, Callable[..., nn.Module]] = {
    "edge": partial(QKANLSTM, reps=2),
    "trained": partial(QKANLSTM, reps=2, preact_trainable=True, base_activation="silu"),
    "input": partial(QKANLSTM, reps=2, group="input", postact_weight_trainable=True, base_activation="gelu"),
    "input trained": partial(QKANLSTM, group="input", postact_weight_trainable=True, preact_trainable=True),
    "two circuits": partial(QKANLSTM, group=2, postact_weight_trainable=True, postact_bias_trainable=True),
    "hqkan": partial(HQKANLSTM, reps=2),
    "hqkan trained": partial(HQKANLSTM, preact_trainable=True, bias=False),
    "linear": partial(HQKANLSTM, latent="linear"),
    "tanh": partial(HQKANLSTM, latent="tanh"),
    "gru": partial(QKANGRU, reps=2),
    "gru trained": partial(QKANGRU, reps=2, preact_trainable=True),
}


def everything(module: nn.Module, x: Any, hx: Any = None) -> list[Tensor]:
    """Output, final states and the gradient of a weighted sum of them in every parameter and in the input."""
    data = x.data if isinstance(x, nn.utils.rnn.PackedSequence) else x
    leaf = data.detach().clone().requires_grad_()
    given = x._replace(data=leaf) if isinstance(x, nn.utils.rnn.PackedSequence) else leaf
    output, states = module(given, hx)
    output = output.data if isinstance(x, nn.utils.rnn.PackedSequence) else output
    values = [output, *([states] if isinstance(states, Tensor) else states)]
    loss = sum((value * torch.linspace(-1, 2, value.numel()).view_as(value).to(value)).sum() for value in values)
    return [value.detach() for value in values] + list(torch.autograd.grad(loss, [leaf, *module.parameters()]))


def assert_same(got: list[Tensor], expected: list[Tensor], atol: float) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("backend", ["auto", "numba", "torch", "reference"])
@pytest.mark.parametrize("packed", [False, True])
def test_backends_agree_with_the_gates_step_by_step(name: str, backend: str, packed: bool) -> None:
    torch.manual_seed(0)
    module = MAKERS[name](2, 3, 2, bidirectional=True, dtype=torch.float64)
    x: Any = torch.randn(5, 4, 2, dtype=torch.float64)
    if packed:
        x = pack_sequence([torch.randn(n, 2, dtype=torch.float64) for n in (3, 5, 1, 5)], enforce_sorted=False)
    module.backend = "spectral"
    expected = everything(module, x)
    module.backend = backend
    assert_same(everything(module, x), expected, 2e-11)


@pytest.mark.parametrize("name", MAKERS)
def test_auto_takes_whole_sequences(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = MAKERS[name](2, 3, 2, bidirectional=True)
    text = module.explain_backend(torch.randn(5, 4, 2))
    assert text.splitlines()[3] == "layer 1, reverse: numba: the first backend that can run"
    assert capsys.readouterr().out == text + "\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ansatz": "px"}, "step by step: ansatz 'px' encodes acos(x), which is not band-limited in x"),
        ({"readout": "amplitude"}, "step by step: readout 'amplitude' is not band-limited"),
        (
            {"base_activation": torch.sin},
            "step by step: its base activation is a function that kernels do not know",
        ),
    ],
)
def test_gates_that_are_no_product_run_step_by_step(options: dict[str, Any], reason: str) -> None:
    module = QKANLSTM(1, 2, **options)
    assert reason in module.explain_backend(torch.rand(3, 2, 1))
    module.backend = "numba"
    with pytest.raises(ValueError, match=r"backend 'numba' cannot run this module: .*; use 'auto'"):
        module(torch.rand(3, 2, 1))


def test_an_engine_by_name_that_cannot_run_says_why() -> None:
    module = QKANLSTM(1, 2, dtype=torch.bfloat16, backend="numba")
    with pytest.raises(ValueError, match=r"backend 'numba' cannot run this recurrence: its products .* 'auto'"):
        module(torch.rand(3, 2, 1, dtype=torch.bfloat16))
    assert "torch: the first backend that can run; " in QKANLSTM(1, 2, dtype=torch.bfloat16).explain_backend(
        torch.rand(3, 2, 1, dtype=torch.bfloat16)
    )


@pytest.mark.parametrize("make", [QKANLSTM, HQKANLSTM, QKANGRU, QKANLSTMCell])
def test_unknown_backends_are_refused_with_what_there_is(make: Callable[..., nn.Module]) -> None:
    module = make(1, 2)
    known = "auto, numba, triton, torch, reference, spectral, bloch, pennylane"
    with pytest.raises(ValueError, match=rf"^unknown backend 'cuda'; use one of {known}$"):
        make(1, 2, backend="cuda")
    with pytest.raises(ValueError, match=rf"^unknown backend 'cuda'; use one of {known}$"):
        module.backend = "cuda"
    with pytest.raises(TypeError, match=r"^backend must be a name or a simulator such as PennyLane\(\), got int$"):
        module.backend = 3
    with pytest.raises(ValueError, match="backend 'spectral' cannot run this layer: readout 'amplitude'"):
        make(1, 2, readout="amplitude", backend="spectral")
    assert module.backend == "auto"


@pytest.mark.parametrize("backend", ["bloch", "spectral", "reference", "pennylane", PennyLane()])
def test_backends_of_layers_run_step_by_step(backend: Any) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(1, 2, 2, dtype=torch.float64)
    x = torch.randn(3, 2, 1, dtype=torch.float64)
    expected = everything(module, x)
    module.backend = backend
    assert {layer.backend for layer in module.modules() if isinstance(layer, QKANLayer)} == {backend}
    asked = f"step by step: backend {str(backend)!r} was asked for by name"
    assert module.explain_backend(x) == f"layer 0: {asked}\nlayer 1: {asked}"
    assert_same(everything(module, x), expected, 1e-12)
    module.backend = "torch"
    assert {layer.backend for layer in module.modules() if isinstance(layer, QKANLayer)} == {"auto"}
    assert_same(everything(module, x), expected, 1e-12)


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 8])
@pytest.mark.parametrize("name", ["edge", "hqkan trained", "gru"])
@pytest.mark.parametrize("packed", [False, True])
def test_checkpoints_change_nothing(name: str, steps: int, packed: bool) -> None:
    torch.manual_seed(0)
    module = MAKERS[name](2, 3, bidirectional=True, dtype=torch.float64)
    x: Any = torch.randn(7, 4, 2, dtype=torch.float64)
    if packed:
        x = pack_sequence([torch.randn(n, 2, dtype=torch.float64) for n in (3, 7, 1, 7)], enforce_sorted=False)
    expected = everything(module, x)
    module.checkpoint_steps = steps
    assert_same(everything(module, x), expected, 1e-12)


@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_wrong_checkpoint_steps(value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="checkpoint_steps"):
        QKANLSTM(1, 2, checkpoint_steps=value)


@pytest.mark.parametrize("name", ["edge", "input", "hqkan trained", "gru trained"])
def test_a_compiler_sees_one_operation(name: str) -> None:
    torch.manual_seed(0)
    # A compiler takes seconds to see a layer: one kind shows how layers follow each other, one what it sees without
    # gradients, which it takes as another program.
    module = MAKERS[name](2, 3, 2 if name == "edge" else 1, bidirectional=name == "input")
    x = torch.randn(5, 4, 2)
    expected = everything(module, x)
    torch.compiler.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert_same(everything(compiled, x), expected, 2e-5)
    if name == "gru trained":
        with torch.no_grad():
            torch.testing.assert_close(compiled(x)[0], expected[0], rtol=0, atol=1e-5)


def test_a_compiled_expansion_gives_nan_beyond_its_bound_not_a_wrong_number() -> None:
    module = QKANLSTM(1, 2, reps=2, preact_trainable=True)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.randn(3, 2, 1)
    with torch.no_grad():
        for weight, fine in ((2.9, True), (3.1, False)):  # the limit is 3 per repetition
            module.directions[0].gates.hidden.preact_weight.fill_(weight)
            assert bool(compiled(x)[0].isfinite().all()) is fine
            assert module(x)[0].isfinite().all()
        module.directions[0].gates.hidden.preact_weight.fill_(1.0)
        for state, fine in ((0.9, True), (1.1, False)):
            hx = (torch.full((1, 2, 2), state), torch.zeros(1, 2, 2))
            assert bool(compiled(x, hx)[0].isfinite().all()) is fine
            assert module(x, hx)[0].isfinite().all()


@pytest.mark.parametrize("name", ["edge", "input", "hqkan", "gru"])
def test_operations_pass_the_checks_of_torch(name: str) -> None:
    seen: list[tuple[Any, ...]] = []
    module = MAKERS[name](2, 3, dtype=torch.float64)
    call = recurrence._OPERATION

    def note(*arguments: Any) -> Any:
        seen.append(arguments)
        return call(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrence, "_OPERATION", note)
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        patch.setattr("qkan.rnn.unidirectional.exporting", lambda: False)
        module(torch.randn(3, 2, 2, dtype=torch.float64))
    (spec, layout, engine, keep, tensors), *_ = seen
    from qkan.kernels.recurrence.custom_op import _described

    leaves = [None if t is None else t.detach().requires_grad_() for t in tensors]
    arguments = (*_described(spec, layout, engine), keep, *leaves)
    checks = ("test_schema", "test_faketensor")
    found = torch.library.opcheck(torch.ops.qkan.recurrence.default, arguments, test_utils=checks)
    assert found == dict.fromkeys(checks, "SUCCESS")


@pytest.mark.parametrize("name", ["edge", "input", "hqkan", "gru"])
def test_second_derivatives(name: str) -> None:
    torch.manual_seed(0)
    module = MAKERS[name](1, 2, dtype=torch.float64)
    names = list(dict(module.named_parameters()))

    def run(leaf: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (leaf,))[0]

    x = torch.randn(3, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(run, (x, *module.parameters()))


def test_gradients_per_sample() -> None:
    """vmap over grad, as in torch.func's recipe, gives the gradient of every sequence alone."""
    torch.manual_seed(0)
    module = QKANLSTM(1, 2, reps=2, dtype=torch.float64)
    parameters = dict(module.named_parameters())
    x = torch.randn(4, 3, 1, dtype=torch.float64)

    def loss(values: dict[str, Tensor], sequence: Tensor) -> Tensor:
        return torch.func.functional_call(module, values, (sequence,))[0].square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for k, sequence in enumerate(x):
        alone = torch.autograd.grad(loss(parameters, sequence), list(parameters.values()))
        for got, expected in zip(found.values(), alone, strict=True):
            torch.testing.assert_close(got[k], expected, rtol=0, atol=1e-12)


def test_jacobian_over_batched_upstream_gradients() -> None:
    torch.manual_seed(0)
    module = QKANGRU(1, 2, dtype=torch.float64)
    x = torch.randn(3, 1, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda leaf: module(leaf)[0])(x)
    expected = torch.autograd.functional.jacobian(lambda leaf: module(leaf)[0], x)
    torch.testing.assert_close(jacobian, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["edge", "trained", "hqkan trained", "gru"])
def test_states_beyond_what_a_cell_can_make_are_walked_from_exactly(name: str) -> None:
    torch.manual_seed(0)
    module = MAKERS[name](1, 3, dtype=torch.float64)
    x, big = torch.randn(4, 2, 1, dtype=torch.float64), 40 * torch.randn(1, 2, 3, dtype=torch.float64)
    hx: Any = big if name == "gru" else (big, torch.randn(1, 2, 3, dtype=torch.float64))
    got = everything(module, x, hx)
    module.backend = "reference"
    assert_same(got, everything(module, x, hx), 1e-9)  # gradients reach some hundreds


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("name", ["edge", "trained", "hqkan trained", "gru"])
def test_what_is_not_finite_stays_in_its_sequence(name: str, value: float) -> None:
    module = MAKERS[name](1, 3)
    x = torch.randn(4, 2, 1)
    x[1, 0] = value
    output = module(x)[0]
    assert output[1:, 0].isnan().all()
    if name != "hqkan trained":  # there infinite inputs leave no expansion, and no bound either
        assert output[:, 1].isfinite().all()
    assert output[0].isfinite().all()


@pytest.mark.parametrize("length", [1, 2000])
def test_long_and_short_sequences_stay_bounded(length: int) -> None:
    module = QKANLSTM(1, 4, reps=2, group="input", postact_weight_trainable=True)
    output, (h_n, c_n) = module(100 * torch.randn(length, 2, 1))
    assert output.shape == (length, 2, 4)
    assert output.abs().max() <= 1
    assert c_n.isfinite().all()
    assert torch.equal(output[-1], h_n[0])


def test_no_sequences_at_all() -> None:
    for name in ("edge", "input", "hqkan", "gru"):
        module = MAKERS[name](2, 3)
        output = module(torch.randn(5, 0, 2))[0]
        assert output.shape == (5, 0, 3)
        output.sum().backward()
        assert all(p.grad is None or not p.grad.any() for p in module.parameters())
