"""Trained forecasters against PennyLane."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from qkan import Noise, PennyLane
from qkan.forecasting import Run
from qkan.forecasting.baselines.simple import naive
from qkan.forecasting.data.batches import predict_windows
from qkan.forecasting.data.load import some_windows, tensors
from qkan.forecasting.runs.inference import windows_for
from qkan.forecasting.runs.plots import save_noise_plot
from qkan.quantum import runtime_estimate as workload
from qkan.validation import demand, noise_curve, shot_errors, validate_run, with_backend
from qkan.validation.runs import circuit_layers, execute_edges


def test_forecast_and_all_gradients_agree(circuit_run: Run) -> None:
    differences = validate_run(circuit_run, backends=["auto", "bloch", "reference"], windows=3)
    names = {f"d {name}" for name, _ in circuit_run.model.named_parameters()}
    assert {d.quantity for d in differences} == {"output", *names}
    assert {d.case for d in differences} == {"circuits, float32", "circuits, float64"}
    assert [d for d in differences if not d.passed] == []
    assert all(layer.backend == "auto" for layer in circuit_layers(circuit_run.model).values())


def test_edge_by_edge_reproduces_the_forecast(circuit_run: Run) -> None:
    edges, model = execute_edges(circuit_run, windows=2)
    assert edges.shape == (2, 1)
    assert torch.allclose(edges, model, rtol=0, atol=1e-6)
    assert float((edges[0] - edges[1]).abs()) > 1e-3
    noisy, _ = execute_edges(circuit_run, settings=PennyLane(noise="depolarizing=0.1"), windows=2)
    assert float((noisy - model).abs().max()) > 1e-3


def test_a_cell_without_circuits_is_refused(classical_run: Run) -> None:
    for use in (validate_run, lambda run: noise_curve(run, Noise(readout=0.1)), lambda run: demand(run.model)):
        with pytest.raises(
            ValueError, match="the model has no layer of single-qubit circuits; use a run of --cell qkan or hqkan"
        ):
            use(classical_run)


def test_shot_errors_follow_the_prediction() -> None:
    errors = shot_errors(1024, seed=3)
    assert [error.shots for error in errors] == [64, 256, 1024]
    assert {error.circuits for error in errors} == {16 * 64}
    for error in errors:
        assert 0.8 * error.predicted < error.measured < 1.2 * error.predicted < 1.2 * error.bound
        assert error.bound == pytest.approx(1 / math.sqrt(error.shots))
    with pytest.raises(ValueError, match="shots 15 is too few to show how the error falls; use 16 or more"):
        shot_errors(15)


def test_shot_errors_of_a_run_measure_its_circuits(circuit_run: Run) -> None:
    layers = list(circuit_layers(circuit_run.model).values())
    (first, *_) = shot_errors(64, layers=layers, settings=PennyLane(noise="readout=0.5"))
    assert first.circuits == 16 * (8 * 1 + 8 * 2)
    assert first.predicted == pytest.approx(first.bound)  # readout errors of a half leave no expectation at all


def test_noise_degrades_the_forecast_as_far_as_it_goes(circuit_run: Run) -> None:
    forecasts, naive_error = noise_curve(circuit_run, Noise(readout=0.5), windows=10, strengths=(0.0, 0.5, 1.0))
    data = some_windows(windows_for(circuit_run), 10)
    assert naive_error == pytest.approx(float(np.abs(naive(data) - data.target_values("test")).mean()))
    exact = predict_windows(circuit_run.model, tensors(data.test))[:, :, 0].numpy()
    errors = np.abs(data.inverse(exact, data.test.series) - data.target_values("test"))
    assert forecasts[0].metrics["mae"] == pytest.approx(float(errors.mean()), rel=1e-5)
    assert [forecast.noise.readout for forecast in forecasts] == [0.0, 0.25, 0.5]
    # At 0.5 every <Z> is 0, so the forecast is the same for all windows.
    blind = with_backend(circuit_run.model, PennyLane(noise=Noise(readout=0.5)))
    try:
        values = predict_windows(blind, tensors(data.test))[:, :, 0]
    finally:
        with_backend(circuit_run.model, "auto")
    assert float(values.std()) < 1e-6
    constant = data.inverse(values.numpy(), data.test.series)
    assert forecasts[2].metrics["mae"] == pytest.approx(float(np.abs(constant - data.target_values("test")).mean()))


def test_forecasts_that_would_take_too_long_are_refused(circuit_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "LIMIT", 0.01)
    with pytest.raises(ValueError, match=r"this call would run 768 circuits, about 0 s in PennyLane, above the limit"):
        noise_curve(circuit_run, Noise(readout=0.1), windows=2)
    with pytest.raises(ValueError, match=r"this call would run 32 circuits, about 0 s in PennyLane, above the limit"):
        execute_edges(circuit_run)
    edges, model = execute_edges(circuit_run, settings=PennyLane(force=True))
    assert torch.allclose(edges, model, rtol=0, atol=1e-6)


def test_some_windows_are_spread_over_the_whole_part(circuit_run: Run) -> None:
    data = windows_for(circuit_run)
    few = some_windows(data, 3)
    middle = round((len(data.test) - 1) / 2)
    assert few.test.target_index.tolist() == data.test.target_index[[0, middle, -1]].tolist()
    assert len(some_windows(data, 10**6).test) == len(data.test)


def test_demand_counts_every_edge_and_step(circuit_run: Run) -> None:
    needed = demand(circuit_run.model, precision=0.02)
    assert needed.circuits == 4 * (8 * 1 + 8 * 2)
    assert needed.gates == needed.circuits * (1 + 3 * 2 + 2)
    assert needed.shots_per_circuit == 2500
    assert needed.shots == 2500 * needed.circuits
    assert needed.parameters == sum(p.numel() for p in circuit_run.model.parameters())
    for precision in (0.0, 1.5):
        with pytest.raises(ValueError, match=rf"precision {precision} must be a standard error in \(0, 1\]"):
            demand(circuit_run.model, precision=precision)


def test_the_noise_plot_shows_model_and_naive(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kw: (figures.append(self), save(self, *args, **kw)))
    save_noise_plot(tmp_path / "n.png", [0, 0.5, 1], [1.0, 2.0, 4.0], naive=3.0, noise="readout=0.1", unit="calls")
    (axes,) = figures[0].axes
    model, baseline = axes.lines
    assert model.get_ydata().tolist() == [1.0, 2.0, 4.0]
    assert baseline.get_ydata() == [3.0, 3.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "strength of the noise (1 is readout=0.1)",
        "mean absolute error (calls)",
    )
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")


def test_settings_can_be_replaced_field_by_field() -> None:
    assert replace(PennyLane(seed=1), shots=10, diff_method=None) == PennyLane(shots=10, seed=1)
