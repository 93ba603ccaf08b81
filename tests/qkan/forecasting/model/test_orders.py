"""Reading a window by steps, segments or periods, and the linear forecasters."""

import math
import re

import pytest
import torch
from torch import nn

from qkan.forecasting import CELLS, TrainConfig, build_forecaster
from qkan.forecasting.config import LINEAR_CELLS, CompareConfig
from qkan.forecasting.model.build import count_parameters, largest_hidden_size
from qkan.forecasting.model.forecaster import MOST_PERIODS, RecurrentForecaster
from qkan.forecasting.model.orders import Order

EVERY_ORDER = [("steps", 1), ("segments", 3), ("periods", 3)]
EXOG = {"missing": "mask", "past_cols": ("a",), "future_cols": ("b",), "calendar": ("hour",)}


def model_of(**options: object) -> RecurrentForecaster:
    return build_forecaster(TrainConfig(data="x", **options), torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def arguments_of(model: RecurrentForecaster, batch: int = 5) -> list[torch.Tensor]:
    """Random arguments whose last channel has the phases of the longest season, as they follow each other."""
    torch.manual_seed(batch)
    found = [torch.randn(like.shape) for like in model.example(batch)]
    seasons = model.around.seasons
    for place, season in enumerate(seasons):
        steps = torch.arange(1, model.around.context + model.horizon) + torch.arange(batch)[:, None]
        phases = 2 * math.pi * (steps % season) / season
        found[0][..., place - len(seasons)] = phases[:, : model.around.context]
        found[1][..., place - len(seasons)] = phases[:, model.around.context - 1 :]
    return found


@pytest.mark.parametrize(("kind", "stride"), EVERY_ORDER)
@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 9])
def test_targets_come_back_in_their_order(kind, stride, horizon):
    order = Order(kind, stride, 12, horizon)
    features = torch.randn(4, horizon, 2)
    assert order.of_targets(features).shape == (4 * order.sequences, order.targets, order.width * 2)
    torch.testing.assert_close(order.to_targets(order.of_targets(features)), features)


def test_segments_are_steps_side_by_side():
    window = torch.arange(12.0).view(1, 6, 2)
    sequences = Order("segments", 3, 6, 4).of_window(window)
    assert sequences.tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]]


def test_periods_are_one_sequence_for_every_phase_of_the_targets():
    window = torch.arange(9.0).view(1, 9, 1)
    assert Order("periods", 3, 9, 7).of_window(window).squeeze(2).tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert Order("periods", 3, 9, 2).of_window(window).squeeze(2).tolist() == [[0, 3, 6], [1, 4, 7]]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", ["last", "steps"])
@pytest.mark.parametrize("order", ["segments", "periods"])
def test_every_cell_forecasts_in_every_order_with_every_part(cell, decoder, order):
    model = model_of(
        cell=cell, hidden_size=3, window=6, horizon=5, season=(3, 7), seasonal_lags=True, decoder=decoder,
        loss="quantile", num_layers=2, order=order, segment=3, **EXOG,
    )  # fmt: skip
    nn.init.normal_(model.head.weight)
    inputs, known = arguments_of(model)
    assert model(inputs, known).shape == (5, 5, 5)
    model(inputs, known).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("horizon", [2, 3, 8])
@pytest.mark.parametrize("decoder", ["last", "steps"])
def test_the_cell_reads_a_phase_period_by_period(horizon, decoder):
    model = model_of(
        cell="gru", window=12, horizon=horizon, skip=0, level="none", season=(3,), season_encoding="sincos",
        order="periods", decoder=decoder,
    )  # fmt: skip
    inputs, known = arguments_of(model)
    values = inputs[..., :1]
    features = model.season(torch.cat([inputs[:, :-1, 1:], known], dim=1))  # of the second step of the window and on
    wanted = torch.zeros(5, 3 * model.order.targets)
    for phase in range(min(3, horizon)):
        past = values[:, phase::3]
        of_past = features[:, phase + 2 :: 3][:, :4]  # one period on
        for period in range(model.order.targets):
            read = torch.cat([past, of_past], dim=2)
            if model.decodes_steps:
                at = period * 3 + phase
                own = features[:, 11 + min(at, horizon - 1)]
                position = torch.zeros(5, 4, 1)
                position[:, -1] = at / (horizon - 1)
                read = torch.cat([past, torch.cat([of_past[:, :-1], own[:, None]], dim=1), position], dim=2)
            said = model.head(model.cell(read)[0][:, -1])
            wanted[:, period * 3 + phase] = said[:, 0 if model.decodes_steps else period]
    torch.testing.assert_close(model(inputs, known), wanted[:, :horizon])


def test_the_cell_reads_segments_and_decodes_one_for_every_target_segment():
    model = model_of(
        cell="lstm", window=8, horizon=7, skip=0, level="none", season=(5,), season_encoding="sincos", segment=4,
        order="segments",
    )  # fmt: skip
    inputs, known = arguments_of(model)
    features = model.season(torch.cat([inputs[:, :-1, 1:], known], dim=1))  # of the second step of the window and on
    first = torch.cat([inputs[:, :4, 0], features[:, 3:7].flatten(1), torch.zeros(5, 4)], dim=1)
    parts = []
    for place, ahead in enumerate((features[:, 7:11], nn.functional.pad(features[:, 11:], (0, 0, 0, 1)))):
        last = torch.cat([inputs[:, 4:, 0], ahead.flatten(1), model.positions[place].expand(5, -1)], dim=1)
        parts.append(model.head(model.cell(torch.stack([first, last], dim=1))[0][:, -1]))
    torch.testing.assert_close(model(inputs, known), torch.cat(parts, dim=1)[:, :7])


def test_a_cell_reads_the_newest_periods_and_the_skip_all():
    model = model_of(cell="lstm", window=3 * (MOST_PERIODS + 2), horizon=6, season=(3,), order="periods", level="none")
    nn.init.normal_(model.head.weight)
    inputs, known = arguments_of(model)
    inputs.requires_grad_()
    model(inputs, known).sum().backward()
    assert not inputs.grad[:, 0, 0].any()  # training starts from the last period
    nn.init.normal_(model.skip.periods.weight)
    model(inputs, known).sum().backward()
    assert inputs.grad[:, 0, 0].all()


def test_the_season_is_encoded_where_a_cell_by_periods_reads_and_nowhere_else():
    window, shapes = 3 * (MOST_PERIODS + 2), []
    model = model_of(cell="lstm", window=window, horizon=6, season=(3,), order="periods", level="none")
    model.season.register_forward_pre_hook(lambda _, arguments: shapes.append(arguments[0].shape[1]))
    model(*arguments_of(model))
    assert shapes == [6, 3 * MOST_PERIODS]  # targets and window


@pytest.mark.parametrize("cell", ["hqkan", "sparse"])
@pytest.mark.parametrize("level", ["last", "mean", "window", "none"])
def test_training_by_periods_starts_from_the_last_period(cell, level):
    model = model_of(cell=cell, window=12, horizon=7, season=(4,), segment=4, order="auto", level=level) if (
        cell == "sparse"
    ) else model_of(cell=cell, window=12, horizon=7, season=(4,), order="periods", level=level)  # fmt: skip
    inputs, known = arguments_of(model)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs, known), inputs[:, -4:, 0].repeat(1, 2)[:, :7])


def test_sparse_is_sparse_tsf():
    model = model_of(cell="sparse", window=720, horizon=96, season=(24,), level="mean")
    assert count_parameters(model) == 25 + 30 * 4
    nn.init.normal_(model.skip.periods.weight)
    nn.init.normal_(model.smoothing.kernel)
    inputs, known = arguments_of(model)
    values = inputs[..., 0]
    mean = values.mean(dim=1, keepdim=True)
    smooth = (values - mean)[:, None]
    smooth = (
        (nn.functional.conv1d(smooth, model.smoothing.kernel.view(1, 1, -1), padding=12) + smooth)
        .reshape(-1, 30, 24)
        .transpose(1, 2)
    )
    wanted = model.skip.periods(smooth).transpose(1, 2).reshape(-1, 96) + mean
    torch.testing.assert_close(model(inputs, known), wanted)


def test_linear_is_one_whole_map_of_the_window():
    model = model_of(cell="linear", window=6, horizon=4, season=(24,))
    assert count_parameters(model) == 24
    inputs, known = arguments_of(model)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs, known), inputs[:, -1:, 0].expand(-1, 4))


def test_a_cycle_that_is_learned_is_forecast():
    model = model_of(cell="cycle", window=6, horizon=9, season=(2, 5), level="none")
    assert count_parameters(model) == 5 + 6 * 9
    inputs, known = arguments_of(model)
    with torch.no_grad():
        model.cycle.copy_(torch.tensor([3.0, -1.0, 4.0, 1.0, -5.0]))
        steps = torch.arange(15) + torch.arange(5)[:, None]
        inputs[..., 0] = model.cycle[steps[:, :6] % 5]
        torch.testing.assert_close(model(inputs, known), model.cycle[steps[:, 6:] % 5])


@pytest.mark.parametrize("cell", LINEAR_CELLS)
def test_linear_forecasters_take_covariates_and_quantiles(cell):
    model = model_of(cell=cell, window=6, horizon=4, season=(3,), loss="quantile", **EXOG)
    inputs, known = arguments_of(model)
    assert not model(inputs, known).diff(dim=2).any()
    nn.init.normal_(model.known.weight)
    assert model(inputs, known).shape == (5, 4, 5)


@pytest.mark.parametrize(
    ("options", "order", "segment", "level"),
    [
        ({"window": 168, "horizon": 24, "season": (24, 168)}, "periods", 24, "mean"),
        ({"window": 168, "horizon": 23, "season": (24, 168)}, "auto", None, "last"),
        ({"window": 144, "horizon": 24, "season": (24, 168)}, "auto", None, "last"),
        ({"window": 170, "horizon": 24, "season": (24, 168)}, "auto", None, "last"),
        ({"window": 168, "horizon": 24, "season": (24,), "segment": 12}, "segments", 12, "last"),
        ({"window": 336, "horizon": 24, "season": (24,), "segment": 168, "order": "periods"}, "periods", 168, "mean"),
        ({"window": 168, "horizon": 24, "season": "none"}, "auto", None, "last"),
        ({"window": 168, "horizon": 24, "season": (24,), "level": "window"}, "periods", 24, "window"),
        ({"cell": "cycle", "window": 168, "horizon": 24, "season": (24,)}, "auto", None, "window"),
        ({"cell": "sparse", "window": 48, "horizon": 1, "season": (24,)}, "auto", 24, "mean"),
    ],
)
def test_the_order_follows_from_season_window_and_horizon(options, order, segment, level):
    config = TrainConfig(data="x", **options).decided()
    assert (config.order, config.segment, config.level) == (order, segment, level)
    assert config.decided() == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"window": 100, "order": "segments", "segment": 24},
            "order='segments' needs a window that is a multiple of segment=24 steps, got window=100; take window=96 or "
            "window=120, or segment=25",
        ),
        (
            {"window": 12, "order": "periods", "season": (24,)},
            "order='periods' needs a window that is a multiple of segment=24 steps, got window=12; take window=24, or "
            "segment=12",
        ),
        (
            {"window": 13, "cell": "sparse", "season": (24,)},
            "order='periods' needs a window that is a multiple of segment=24 steps, got window=13; take window=24, or "
            "segment=13",
        ),
        (
            {"window": 60, "order": "periods", "season": "none"},
            "order='periods' needs the length of its periods, and the series has no season; give it: segment=6",
        ),
        ({"window": 60, "order": "steps", "segment": 6}, "segment=6 has no effect with order='steps'"),
        ({"cell": "cycle", "season": "none"}, "cell='cycle' needs a season, and the series has none"),
    ],
)
def test_a_window_that_does_not_fit_the_order_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model_of(**{"season": "none", **options})


@pytest.mark.parametrize(
    ("cell", "option"), [("sparse", {"order": "steps"}), ("linear", {"segment": 24}), ("cycle", {"skip": 4})]
)
def test_options_of_a_cell_are_refused_without_one(cell, option):
    with pytest.raises(ValueError, match=f"has no effect on cell '{cell}'"):
        model_of(cell=cell, **option)


def test_a_comparison_gives_linear_forecasters_what_they_take():
    config = CompareConfig(data="x", out="o", cells=LINEAR_CELLS, window=8, season=(4,), segment=4)
    runs = [config.train_config(cell=cell, hidden_size=1, lr=0.1, seed=0) for cell in LINEAR_CELLS]
    assert [run.segment for run in runs] == [None, None, 4]
    assert largest_hidden_size(runs[0], 10) == 1
