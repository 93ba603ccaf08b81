"""Initial frequencies (``preact_init``): their values, what kernels make of whole ones, what data ask for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from qkan import DARUAN, HQKAN, HQKANLSTM, QKAN, QKANGRU, QKANLSTM, QKANLayer
from qkan._util.periodogram import wanted_frequencies

F64 = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def results(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs and the gradients of the input and of every trained parameter."""
    x = x.clone().requires_grad_()
    y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in module.parameters() if p.requires_grad)]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("preact_init", "expected"),
    [("ones", (1, 1, 1)), ("binary", (1, 2, 4)), ("ternary", (1, 3, 9)), ("auto", (1, 1, 1)), ((0.5, -2, 7), None)],
)
@pytest.mark.parametrize(("trained", "shape"), [(True, (2, 4, 3)), (False, (2, 4, 3)), ("input", (1, 4, 3))])
def test_frequencies_at_the_start(preact_init: Any, expected: Any, trained: Any, shape: tuple[int, ...]) -> None:
    layer = QKANLayer(4, 2, 3, preact_init=preact_init, preact_trainable=trained)
    if preact_init == "ones" and trained is False:
        assert layer.preact_weight is None
        return
    weight = layer.preact_weight
    assert weight.shape == shape
    assert weight.requires_grad is bool(trained)
    assert weight[0, 0].tolist() == list(expected or preact_init)
    with torch.no_grad():
        weight.fill_(5.0)
    layer.reset_parameters()
    assert weight[-1, -1].tolist() == list(expected or preact_init)
    assert QKANLayer(**layer.config).config == layer.config


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "real", "mix"])
@pytest.mark.parametrize("group", [None, "input", 2])
@pytest.mark.parametrize("preact_init", ["binary", "ternary", (2.0, 0.0, -5.0)], ids=str)
def test_every_backend_agrees_on_whole_frequencies_that_are_kept(ansatz: str, group: Any, preact_init: Any) -> None:
    def layer(backend: str) -> QKANLayer:
        options = {"group": group, "ansatz": ansatz, "preact_init": preact_init, "backend": backend, "dtype": F64}
        return QKANLayer(3, 2, 3, postact_weight_trainable=True, generator=seeded(), **options)

    x = torch.linspace(-9, 9, 21, dtype=F64).reshape(7, 3)
    truth = results(layer("reference"), x)
    for backend in ("bloch", "spectral", "auto"):
        torch.testing.assert_close(results(layer(backend), x), truth, rtol=0, atol=1e-11)


def test_pennylane_runs_the_same_circuit() -> None:
    pytest.importorskip("pennylane")
    fast, circuit = (
        QKANLayer(2, 1, 2, preact_init="ternary", backend=backend, generator=seeded(), dtype=F64)
        for backend in ("spectral", "pennylane")
    )
    x = torch.linspace(-3, 3, 6, dtype=F64).reshape(3, 2)
    torch.testing.assert_close(results(fast, x), results(circuit, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (QKANLSTM, {}),
        (QKANLSTM, {"group": "input", "postact_weight_trainable": True}),
        (QKANLSTM, {"base_activation": "silu", "proj_size": 2}),
        (QKANGRU, {}),
        (HQKANLSTM, {}),
    ],
)
def test_every_backend_of_a_recurrence_agrees(kind: Any, options: dict[str, Any]) -> None:
    def cell(backend: str) -> nn.Module:
        return kind(2, 3, reps=3, preact_init="ternary", backend=backend, generator=seeded(), dtype=F64, **options)

    x = 3 * torch.randn(4, 5, 2, dtype=F64, generator=seeded(1))
    truth = results(cell("reference"), x)
    for backend in ("auto", "numba", "torch", "bloch", "spectral"):
        torch.testing.assert_close(results(cell(backend), x), truth, rtol=0, atol=1e-9)


def test_whole_frequencies_are_one_exact_product_for_inputs_of_any_size() -> None:
    layer, truth = (
        QKANLayer(1, 2, 3, preact_init="ternary", base_activation=None, backend=b, generator=seeded(), dtype=F64)
        for b in ("auto", "reference")
    )
    x = torch.linspace(-1e4, 1e4, 5000, dtype=F64).unsqueeze(1)
    choice = layer.explain_backend(x)
    assert (choice.backend, str(choice.plan)) == ("spectral", "27 points per circuit, Fourier, exact")
    assert layer.harmonics == 13
    torch.testing.assert_close(layer(x), truth(x), rtol=0, atol=1e-10)
    # (3^R - 1) / 2 harmonics and the constant, from 2 (R + 1) trained numbers.
    assert layer.spectrum(0, 0).distinct() == 14
    assert sum(p.numel() for p in layer.parameters() if p.requires_grad) == 2 * 2 * 4


def test_what_is_trained_or_not_whole_is_no_fourier_polynomial() -> None:
    assert QKANLayer(1, 1, 2, preact_init="binary", preact_trainable=True).harmonics is None
    assert QKANLayer(1, 1, 2, preact_init=(1.0, 2.5)).harmonics is None
    assert QKANLayer(1, 1, 4).harmonics == 4
    layer = QKANLayer(1, 1, 2, preact_init=(1.0, 2.5), backend="spectral", dtype=F64)
    truth = QKANLayer(1, 1, 2, preact_init=(1.0, 2.5), backend="reference", dtype=F64)
    truth.load_state_dict(layer.state_dict())
    x = torch.linspace(-2, 2, 9, dtype=F64).unsqueeze(1)
    torch.testing.assert_close(layer(x), truth(x), rtol=0, atol=1e-12)


def test_a_write_to_kept_frequencies_is_seen() -> None:
    layer, truth = (QKANLayer(1, 1, 2, preact_init="binary", backend=b, dtype=F64) for b in ("auto", "reference"))
    layer.preact_weight.data.fill_(2.5)  # which no version counts
    truth.load_state_dict(layer.state_dict())
    x = torch.linspace(-2, 2, 30, dtype=F64).unsqueeze(1)
    torch.testing.assert_close(layer(x), truth(x), rtol=0, atol=1e-12)


def test_more_frequencies_than_an_expansion_has_terms_run_another_way() -> None:
    layer = QKANLayer(1, 1, 6, preact_init="ternary", base_activation=None, dtype=F64)  # 364 harmonics
    truth = QKANLayer(1, 1, 6, preact_init="ternary", base_activation=None, backend="reference", dtype=F64)
    truth.load_state_dict(layer.state_dict())
    x = torch.linspace(-9, 9, 50, dtype=F64).unsqueeze(1)
    torch.testing.assert_close(layer(x), truth(x), rtol=0, atol=1e-10)


def test_frozen_layers_need_no_domain_for_whole_frequencies() -> None:
    x = 100 * torch.randn(20, 2, dtype=F64, generator=seeded())
    for module in (QKANLayer(2, 3, 2, preact_init="binary", dtype=F64), DARUAN(2, 2, preact_init="ternary", dtype=F64)):
        torch.testing.assert_close(module.compile_spectral()(x), module(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("trained", [False, True])
def test_an_added_repetition_has_the_next_frequency_and_changes_nothing(trained: bool) -> None:
    layer = QKANLayer(2, 2, 2, preact_init="ternary", preact_trainable=trained, dtype=F64)
    x = torch.randn(5, 2, dtype=F64)
    before = layer(x)
    layer.refine(3)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=1e-12)
    assert layer.preact_weight[0, 0].tolist() == [1, 3, 9]


def test_frequencies_survive_files_and_parts_of_networks(tmp_path: Any) -> None:
    network = QKAN([3, 2, 1], reps=2, preact_init=(1.0, 5.0), preact_trainable=False, dtype=F64)
    x = torch.randn(4, 3, dtype=F64)
    network.save(tmp_path / "network")
    loaded = QKAN.load(tmp_path / "network")
    torch.testing.assert_close(loaded(x), network(x), rtol=0, atol=0)
    assert [layer.harmonics for layer in loaded.layers] == [6, 6]
    network.layers[0].prune([(1, 0)])
    torch.testing.assert_close(network.compact()(x), network(x), rtol=0, atol=1e-14)


def test_compiled_recurrences_know_how_far_frequencies_may_move() -> None:
    # Where no value can be read, the number of terms comes from the start.
    assert QKANLayer(1, 1, 3, preact_trainable=True).start_bandwidth == 3
    assert QKANLayer(1, 1, 3, preact_trainable=True, preact_init="ternary").start_bandwidth == 13
    layer = QKANLayer(1, 1, 2, preact_trainable=True, preact_init="auto")
    layer.set_frequencies(torch.tensor([3.0, 8.0]))
    other = QKANLayer(1, 1, 2, preact_trainable=True, preact_init="auto")
    other.load_state_dict(layer.state_dict())
    assert (other.start_bandwidth, other.awaits_data) == (11, False)


def r2(preact_init: str, target: torch.Tensor, x: torch.Tensor, seed: int) -> float:
    """Of one circuit of three repetitions with trained frequencies."""
    options = {"postact_weight_trainable": True, "postact_bias_trainable": True, "base_activation": None}
    network = QKAN([1, 1], reps=3, preact_init=preact_init, generator=seeded(seed), **options)
    history = network.fit(x, target, optimizer="adam", steps=250, lr=5e-2, entropy=0.0)
    return 1 - history.rows[-1]["train_loss"] / float(target.var(correction=0))


def test_a_fast_sine_needs_the_frequency_from_the_start() -> None:
    x = torch.linspace(-math.pi, math.pi, 200).unsqueeze(1)
    found = {name: r2(name, torch.sin(9 * x), x, seed=0) for name in ("ones", "binary", "ternary", "auto")}
    assert found["ones"] < 0.1
    assert found["ternary"] > 0.99
    assert found["auto"] > 0.99


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (lambda x: torch.sin(9 * x), [9, 1, 1]),
        (lambda x: torch.sin(7.2 * x) + torch.cos(10.3 * x), [7.2, 10.3, 1]),
        (lambda x: torch.sin(x) + torch.cos(2 * x), [1, 2, 1]),
        (lambda x: 3 * x - 1, [1, 1, 1]),
    ],
)
def test_frequencies_are_found_in_data(wave: Any, expected: list[float]) -> None:
    x = torch.linspace(-math.pi, math.pi, 200, dtype=F64).unsqueeze(1)
    torch.testing.assert_close(wanted_frequencies(x, wave(x), 3), torch.tensor(expected, dtype=F64), rtol=0, atol=1e-6)


def test_frequencies_of_several_inputs_are_told_apart_and_noise_has_none() -> None:
    x = 2 * torch.rand(500, 2, generator=seeded(), dtype=F64) - 1
    y = torch.sin(9 * x[:, 0]) + 0.5 * torch.cos(5 * x[:, 1])
    torch.testing.assert_close(wanted_frequencies(x, y, 2), torch.tensor([5.0, 9.0], dtype=F64), rtol=0, atol=1e-6)
    assert wanted_frequencies(x, torch.randn(500, generator=seeded(1)), 2).tolist() == [1, 1]
    network = QKAN([2, 1], reps=2, preact_init="auto", dtype=F64)
    network.fit(x, y.unsqueeze(1), steps=1)
    weight = network.layers[0].preact_weight.detach()[0].sort(-1).values
    torch.testing.assert_close(weight[:, -1], torch.tensor([9.0, 5.0], dtype=F64), rtol=0, atol=0.2)


def test_a_second_fit_keeps_the_frequencies_of_the_first() -> None:
    x = torch.linspace(-3, 3, 100).unsqueeze(1)
    network = QKAN([1, 1], reps=1, preact_init="auto", preact_trainable=False)
    network.fit(x, torch.sin(6 * x), steps=1)
    found = network.layers[0].preact_weight.item()
    network.fit(x, torch.sin(2 * x), steps=1)
    assert network.layers[0].preact_weight.item() == found == pytest.approx(6, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"preact_init": "quaternary"},
            ValueError,
            "unknown preact_init 'quaternary'; use one of ones, binary, ternary, ",
        ),
        ({"preact_init": [1.0, math.nan, 2.0]}, ValueError, r"preact_init \[1.0, nan, 2.0\] must be finite numbers"),
        ({"preact_init": torch.tensor([1.0, math.inf, 2.0])}, ValueError, "must be finite numbers"),
        (
            {"preact_init": torch.ones(2)},
            ValueError,
            r"preact_init of shape \(2,\) does not fit reps=3; give shape \(3,\)",
        ),
        ({"preact_init": torch.ones(3, 3)}, ValueError, r"preact_init of shape \(3, 3\) does not fit reps=3"),
        ({"preact_init": 3.0}, ValueError, r"preact_init of shape \(\) does not fit reps=3"),
        ({"preact_init": None}, TypeError, "preact_init must be one of ones, .* or numbers, got None"),
        ({"preact_init": ["1", "two", "3"]}, TypeError, r"or numbers, got \['1', 'two', '3'\]"),
        ({"preact_init": "ternary", "reps": 17}, ValueError, r"up to 3\^16, which single precision cannot tell apart"),
        ({"preact_init": "binary", "reps": 25}, ValueError, "use reps of at most 24"),
        ({"preact_init": "binary", "ansatz": "px"}, ValueError, r"ansatz 'px' encodes acos\(w x\), .* must be 'ones'"),
        (
            {"preact_init": [1.0, 2.0, 1e39]},
            ValueError,
            r"frequencies in float32 must be at most 3.4e\+38, got 1e\+39; use smaller ones, fewer",
        ),
        (
            {"preact_init": "ternary", "reps": 12, "dtype": torch.float16},
            ValueError,
            r"at most 6.55e\+04, got 1.77e\+05",
        ),
        (
            {"init": "near_linear", "ansatz": "real"},
            ValueError,
            "no near-linear point; use init='normal' or init='auto'",
        ),
        ({"init": "broad"}, ValueError, "unknown init 'broad'; use one of auto, near_linear, normal, wide"),
    ],
)
@pytest.mark.parametrize("kind", [QKANLayer, HQKAN])
def test_bad_frequencies_are_refused_with_one_sentence(kind: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        kind(2, 2, **{"reps": 3, **options})


def test_data_without_frequencies_are_refused_with_one_sentence() -> None:
    x = torch.linspace(-1, 1, 40).unsqueeze(1)
    network = QKAN([1, 1], reps=3, preact_init="auto")
    with pytest.raises(
        ValueError, match="looks for frequencies in the targets, but they are constant; use preact_init="
    ):
        network.fit(x, torch.ones(40, 1))
    with pytest.raises(ValueError, match="finds 3 frequencies in at least 11 samples, got 10; give more, or"):
        network.fit(x[:10], x[:10])
    with pytest.raises(ValueError, match="needs finite inputs and targets"):
        wanted_frequencies(x, x / 0, 3)
