"""A trained forecaster against PennyLane: agreement, the error of shots, and how noise degrades its forecasts."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qkan.forecasting.baselines.simple import naive
from qkan.forecasting.data.batches import predict_windows
from qkan.forecasting.data.load import some_windows, tensors
from qkan.forecasting.evaluation.intervals import median
from qkan.forecasting.evaluation.metrics import forecast_metrics
from qkan.forecasting.runs.evaluation import forecast_windows
from qkan.forecasting.runs.inference import windows_for
from qkan.layers.qkan_layer import QKANLayer
from qkan.quantum import Noise, PennyLane
from qkan.quantum import runtime_estimate as workload
from qkan.quantum.edge_circuit import EdgeByEdge
from qkan.validation.circuit_layers import circuit_layers, with_backend
from qkan.validation.hardware_demand import demand
from qkan.validation.layers import (
    TOLERANCES,
    Case,
    Difference,
    checked_backends,
    distance,
    exact,
    random_layer,
    tolerance,
)

if TYPE_CHECKING:
    from qkan.forecasting.runs.run import Run

#: Parts of the noise that was asked for, at which :func:`noise_curve` evaluates.
STRENGTHS = (0.0, 0.25, 0.5, 1.0)


def validate_run(
    run: Run, *, backends: Sequence[str] | None = None, settings: PennyLane | None = None, windows: int = 4
) -> list[Difference]:
    """Compare forecasts and the gradients of all trained numbers with PennyLane, in both precisions.

    Args:
        run: a run of a cell with circuits.
        backends, settings: as of :func:`qkan.validation.validate_layers`.
        windows: of the test part, evenly spread.

    Raises:
        ValueError: a cell without circuits, settings with shots or noise, a backend that cannot run this model.
        ModuleNotFoundError: PennyLane is not installed.

    Examples:
        >>> from qkan.forecasting import load_run
        >>> from qkan.validation import validate_run
        >>> found = validate_run(load_run("runs/demo"), backends=["spectral"], windows=1)
        >>> all(difference.passed for difference in found)
        True
    """
    settings, names = exact(settings), checked_backends(backends)
    arguments = _arguments(run, windows)
    model = with_backend(copy.deepcopy(run.model).double(), settings)
    trained = any(layer.preact_weight is not None for layer in circuit_layers(model).values())
    expected = _results(model, arguments, torch.float64)
    differences = []
    for dtype in (torch.float32, torch.float64):
        # The rounding of time steps adds up. Double precision has digits to spare for that.
        steps = run.config.window * TOLERANCES[dtype] if dtype == torch.float32 else 0.0
        for name in names:
            found = _results(with_backend(copy.deepcopy(run.model).to(dtype), name), arguments, dtype)
            case = f"{run.path.name}, {str(dtype).removeprefix('torch.')}"
            differences += [
                Difference(
                    name, what, distance(found[what], value), max(steps, tolerance(name, what, dtype, trained)), case
                )
                for what, value in expected.items()
            ]
    return differences


def _arguments(run: Run, windows: int) -> tuple[Tensor, ...]:
    """What the model of a run takes for a few windows of the test part."""
    part = tensors(some_windows(windows_for(run), windows).test)
    inputs, *futr_exog = part.batch(torch.arange(len(part))).arguments
    return inputs, *(exog[:, : run.model.horizon] for exog in futr_exog)


def _results(model: nn.Module, arguments: tuple[Tensor, ...], dtype: torch.dtype) -> dict[str, Tensor]:
    y = model(*(argument.to(dtype) for argument in arguments))
    y.square().sum().backward()
    gradients = {f"d {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"output": y.detach(), **gradients}


@dataclass(frozen=True)
class ShotError:
    """How far estimates from shots are from exact expectations, as root mean square over circuits.

    Attributes:
        shots: measurements of every circuit.
        circuits: how many were measured.
        measured: the error.
        predicted: sqrt(mean(1 - <Z>^2) / shots), what statistics expect.
        bound: 1 / sqrt(shots), what they expect at most.
    """

    shots: int
    circuits: int
    measured: float
    predicted: float
    bound: float


def shot_errors(
    shots: int, *, layers: Sequence[QKANLayer] | None = None, settings: PennyLane | None = None, seed: int = 0
) -> list[ShotError]:
    """Measure circuits with a sixteenth, a quarter and all of ``shots``.

    Args:
        shots: the most measurements of a circuit, at least 16.
        layers: whose circuits; None takes a fresh layer, 8 to 8 with three repetitions. Inputs are uniform in [-1, 1].
        settings: device and noise; their shots and seed are replaced.
        seed: of inputs and measurements.

    Raises:
        ValueError: fewer than 16 shots, or a device that cannot run them.
        ModuleNotFoundError: PennyLane is not installed.

    Examples:
        >>> from qkan.validation import shot_errors
        >>> for found in shot_errors(1000):
        ...     print(found.shots, found.measured < 3 * found.predicted)
        62 True
        250 True
        1000 True
    """
    if shots < 16:
        raise ValueError(f"shots {shots} is too few to show how the error falls; use 16 or more")
    settings = PennyLane() if settings is None else settings
    if layers is None:
        layers = [random_layer(Case("pz", 3, 8, 8), seed)[0]]
    generator = torch.Generator().manual_seed(seed)
    inputs = [2 * torch.rand(16, layer.in_features, generator=generator, dtype=torch.float64) - 1 for layer in layers]
    errors = []
    exact_settings = replace(settings, shots=None, diff_method=None)
    truth = _expectations(layers, inputs, exact_settings)
    for number in (shots // 16, shots // 4, shots):
        found = _expectations(layers, inputs, replace(settings, shots=number, diff_method=None, seed=seed))
        measured = float((found - truth).square().mean().sqrt())
        predicted = math.sqrt(float((1 - truth.square()).mean()) / number)
        errors.append(ShotError(number, truth.numel(), measured, predicted, number**-0.5))
    return errors


def _expectations(layers: Sequence[QKANLayer], inputs: Sequence[Tensor], settings: PennyLane) -> Tensor:
    """<Z> of all circuits of the layers, flat."""
    found = []
    with torch.no_grad():
        for layer, x in zip(layers, inputs, strict=True):
            parameters = layer.circuit_parameters()
            found.append(settings.phi(x.unsqueeze(-2), *parameters, ansatz=layer.ansatz, reps=layer.reps).flatten())
    return torch.cat(found)


@dataclass(frozen=True)
class NoisyForecast:
    """Metrics of a trained forecaster on noisy hardware.

    Attributes:
        strength: the part of the noise asked for.
        noise: the noise itself.
        metrics: of :func:`qkan.forecasting.evaluation.metrics.forecast_metrics`.
    """

    strength: float
    noise: Noise
    metrics: dict[str, float | None]


def noise_curve(
    run: Run, noise: Noise, *, windows: int = 100, strengths: Sequence[float] = STRENGTHS, force: bool = False
) -> tuple[list[NoisyForecast], float]:
    """Forecast with ever noisier circuits, simulated exactly as density matrices.

    Args:
        run: a run of a cell with circuits.
        noise: at strength 1.
        windows: of the test part, evenly spread.
        strengths: factors of all probabilities.
        force: run even what takes very long.

    Returns:
        forecasts by strength, and the mean absolute error of the naive forecast of the same targets.

    Raises:
        ValueError: a cell without circuits, or circuits that would take too long.
        ModuleNotFoundError: PennyLane is not installed.

    Examples:
        >>> from qkan import Noise
        >>> from qkan.forecasting import load_run
        >>> from qkan.validation import noise_curve
        >>> noise = Noise(depolarizing=0.01)
        >>> forecasts, naive = noise_curve(load_run("runs/demo"), noise, windows=2, strengths=(0, 1))
        >>> [forecast.strength for forecast in forecasts]
        [0, 1]
    """
    data = some_windows(windows_for(run), windows)
    needed = demand(run.model)
    circuits, gates = needed.circuits * len(data.test) * len(strengths), needed.gates // needed.circuits
    work = workload.estimate(circuits, gates, "default.mixed", "backprop", None, backward=False)
    workload.refuse_too_long(work, force)
    forecasts = []
    for strength in strengths:
        scaled = noise.scaled(strength)
        model = with_backend(copy.deepcopy(run.model), PennyLane(noise=scaled, force=force))
        metrics = forecast_metrics(data, forecast_windows(model, data))
        forecasts.append(NoisyForecast(strength, scaled, metrics))
    return forecasts, float(forecast_metrics(data, naive(data))["mae"] or 0.0)


def execute_edges(run: Run, *, settings: PennyLane | None = None, windows: int = 1) -> tuple[Tensor, Tensor]:
    """Forecast with every circuit run by itself in PennyLane, and as the model does.

    Args:
        run: a run of a cell with circuits.
        settings: how PennyLane runs each circuit.
        windows: of the test part, evenly spread.

    Returns:
        both forecasts, scaled, (windows, horizon).

    Raises:
        ValueError: a cell without circuits.
        ModuleNotFoundError: PennyLane is not installed.
    """
    data = some_windows(windows_for(run), windows)
    model = with_backend(copy.deepcopy(run.model), EdgeByEdge(settings))
    part = tensors(data.test)
    edges, whole = (median(predict_windows(each, part)) for each in (model, run.model))
    return edges, whole
