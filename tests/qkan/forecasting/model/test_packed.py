"""A forecaster as arrays: computed in NumPy, in the order that the description gives, it says what the model says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qkan.datasets.windows import phases_of_steps
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.model.cell_maps import Layer
from qkan.forecasting.model.forecaster import RecurrentForecaster
from qkan.forecasting.model.packed import Packed, pack


def made(cell: str = "qkan", **options: Any) -> tuple[RecurrentForecaster, TrainConfig]:
    """A forecaster with all parameters drawn at random, so that nothing is zero."""
    given: dict[str, Any] = {"window": 10, "horizon": 5, "season": (4, 12), "future_cols": ("price",), **options}
    config = TrainConfig(data="frame", cell=cell, **given)
    generator = torch.Generator().manual_seed(3)
    model = build_forecaster(config, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        model.reads_in.factor.fill_(1.7)
        model.says_in.factor.fill_(0.6)
    return model, config


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def step(layer: Layer, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h', c') of one step of a layer; float64 (rows, ...)."""
    size = layer.hidden
    a, b = layer.of_input(x), layer.of_state(h)
    if layer.kind == "gru":
        r, q = (_sigmoid(a[:, own] + b[:, own]) for own in (slice(size), slice(size, 2 * size)))
        n = np.tanh(a[:, 2 * size :] + r * b[:, 2 * size :])
        return (1 - q) * n + q * h, c
    gates = a + b
    for one in layer.chain:
        gates = one(gates)
    i, f, g, o = np.split(gates, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


States = list[tuple[np.ndarray, np.ndarray]]


def walk(layers: tuple[Layer, ...], x: np.ndarray, states: States) -> States:
    """The states of all layers behind a step."""
    moved = []
    for layer, (h, c) in zip(layers, states, strict=True):
        moved.append(step(layer, x, h, c))
        x = moved[-1][0]
    return moved


def forecast(packed: Packed, past: np.ndarray, covariates: np.ndarray, number: int) -> np.ndarray:
    """Scaled forecasts, not sorted, (1, horizon, quantiles), of one context that begins with step ``number``.

    ``covariates`` are those of all steps, (1, context + horizon, covariates).
    """
    window, horizon, context = packed.window, packed.horizon, packed.context
    rows = [table[(number + np.arange(context + horizon)) % len(table)] for table in packed.season_tables]
    table = sum(rows) if rows else np.zeros((context + horizon, 1))
    mean, features = table[:, -1], table[None, :, :-1]
    values = past[:, :, 0] - (mean[:context] if packed.level == "season" else 0)
    own = values[:, -window:]
    offset, scale = 0.0, 1.0
    if packed.level == "last":
        offset = own[:, -1:]
    elif packed.level in ("mean", "window"):
        offset = own.mean(axis=1, keepdims=True)
    if packed.level == "window":
        scale = np.sqrt(own.var(axis=1, keepdims=True) + packed.smallest_scale**2)
    w = (values - offset) / scale
    known = [covariates, features]

    def known_of(steps: np.ndarray, lag_places: list[np.ndarray], position: np.ndarray) -> np.ndarray:
        parts = [part[:, steps] for part in known]
        parts += [packed.reads_in * w[:, places, None] for places in lag_places]
        if packed.counts_steps:
            parts.append(np.broadcast_to(position[None, :, None], (1, len(steps), 1)))
        return np.concatenate(parts, axis=2)

    places, ahead = np.arange(context - window, context), np.arange(horizon)
    lags = [places + 1 - season for season in packed.seasons] if packed.lags else []
    of_window = known_of(places + 1, lags, np.zeros(window))
    lags = [context - season + ahead % season for season in packed.seasons] if packed.lags else []
    of_targets = known_of(context + ahead, lags, ahead / max(1, horizon - 1))
    read = np.concatenate([packed.reads_in * w[:, places, None], past[:, places, 1:]], axis=2)
    states = [(np.zeros((1, packed.hidden)),) * 2 for _ in packed.layers]
    for at in range(window - packed.decodes_steps):
        states = walk(packed.layers, np.concatenate([read[:, at], of_window[:, at]], axis=1), states)
    if packed.decodes_steps:
        said = []
        for target in range(horizon):
            moved = walk(packed.layers, np.concatenate([read[:, -1], of_targets[:, target]], axis=1), states)
            said.append(moved[-1][0] @ packed.head_weight.T + packed.head_bias)
        predicted = np.stack(said, axis=1)
    else:
        predicted = (states[-1][0] @ packed.head_weight.T + packed.head_bias).reshape(1, horizon, packed.quantiles)
    if packed.skip is not None:
        predicted = predicted + (w[:, -window:] @ packed.skip.T)[:, :, None]
    if packed.known is not None:
        predicted = predicted + of_targets @ packed.known.T
    predicted = predicted * np.asarray(scale)[..., None] + np.asarray(offset)[..., None]
    if packed.level == "season":
        predicted = predicted + mean[context:][None, :, None]
    if packed.repeats_last:
        middle = packed.quantiles // 2
        predicted = predicted + (past[:, -1:, :1] - predicted[:, :, middle : middle + 1])
    return predicted


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "lags and the mean season": {"level": "season", "seasonal_lags": True},
    "scaled by the window, quantiles": {"level": "window", "loss": "quantile", "levels": (80,)},
    "one look at the window, sines": {"decoder": "last", "level": "mean", "season_encoding": "sincos"},
    "a table of the season, past covariates": {"season_encoding": "table", "past_cols": ("rain",), "level": "none"},
    "a whole skip, gaps": {"skip": 10, "missing": "mask"},
    "no season, no skip": {"season": "none", "skip": 0, "level": "none", "horizon": 1},
}


def _check(cell: str, options: dict[str, Any], *, closed: bool = False) -> None:
    model, config = made(cell, **options)
    if closed:
        assert model.gate is not None
        model.gate.fill_(0.0)
    packed, decided = pack(model), config.decided()
    rng, number = np.random.default_rng(5), 1_000_003
    steps = packed.context + packed.horizon
    past = rng.normal(size=(1, packed.context, packed.past)).astype(np.float32)
    covariates = rng.normal(size=(1, steps, packed.covariates)).astype(np.float32)
    phases = [phases_of_steps(number + np.arange(steps), season) for season in decided.seasons]
    channels = np.concatenate([covariates, *(own[None, :, None] for own in phases)], axis=2)
    inputs = np.concatenate([past, channels[:, 1 : packed.context + 1]], axis=2)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(inputs), torch.from_numpy(channels[:, packed.context :])).numpy()
    found = forecast(packed, past.astype(np.float64), covariates, number)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("options", CASES.values(), ids=list(CASES))
def test_arrays_forecast_what_the_model_does(options):
    _check("qkan", options)


@pytest.mark.parametrize(
    "cell", ["hqkan", "lowrank", "lstm", "gru", "fourier", "rff", "spline", "chebyshev", "mlp", "gr-kan"]
)
def test_arrays_of_every_cell_forecast_what_the_model_does(cell):
    _check(cell, {})


@pytest.mark.parametrize(
    "options",
    [
        {"group": "edge"}, {"base_activation": "silu"}, {"ansatz": "real"}, {"reps": 3}, {"bias": False},
        {"preact_trainable": True, "reps": 2}, {"num_layers": 2},
    ],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_arrays_of_other_circuits_forecast_what_the_model_does(options):
    _check("qkan", options)


def test_a_closed_gate_repeats_the_last_value():
    _check("gru", {}, closed=True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cell": "linear"}, "no cell"),
        ({"order": "segments", "segment": 5}, "read in segments"),
        ({"cell": "qlstm"}, "no sum over functions"),
        ({"cell": "fwp"}, "its state are the weights of a layer"),
        ({"per_series": 2}, "parts of their own"),
    ],
)
def test_what_arrays_do_not_cover_is_said(options, reason):
    options = {"cell": "qkan", **options}
    with pytest.raises(ValueError, match=reason):
        pack(made(options.pop("cell"), **options)[0])
