import math

import numpy as np
import pennylane as qml
import pytest
import torch
from tiny_runs import BARE
from torch import nn

from qkan.forecasting import CELLS, TrainConfig, build_forecaster
from qkan.forecasting.model.build import count_parameters
from qkan.forecasting.model.forecaster import RecurrentForecaster, Surroundings
from qkan.forecasting.model.parts import Level, SeasonFeatures, Skip, season_channels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(**options: object) -> RecurrentForecaster:
    return build_forecaster(TrainConfig(data="x", **options), generator())  # type: ignore[arg-type]


def arguments_of(model: RecurrentForecaster, batch: int = 5) -> list[torch.Tensor]:
    """Random arguments, phases in one turn."""
    found = [torch.randn(like.shape, generator=generator(batch)) for like in model.example(batch)]
    seasons = len(model.around.seasons)
    if seasons:
        for tensor in found:
            tensor[..., -seasons:] = 2 * math.pi * torch.rand(tensor[..., -seasons:].shape, generator=generator())
    return found


@pytest.mark.parametrize(
    ("kind", "offset", "scale"),
    [("last", [4.0, 7.0], None), ("mean", [2.0, 7.0], None), ("window", [2.0, 7.0], [math.sqrt(14 / 3), 0.0])],
)
def test_levels_are_taken_away_and_put_back(kind, offset, scale):
    values = torch.tensor([[-1.0, 3.0, 4.0], [7.0, 7.0, 7.0]])
    level = Level.of(values, kind)
    assert level is not None
    assert level.offset.squeeze(1).tolist() == offset
    if scale is None:
        assert level.scale is None
    else:
        wanted = torch.tensor(scale).square().add(1e-4).sqrt()
        torch.testing.assert_close(level.scale.squeeze(1), wanted)
    torch.testing.assert_close(level.restore(level.remove(values).unsqueeze(2)).squeeze(2), values)
    assert Level.of(values, "none") is None


@pytest.mark.parametrize("level", ["last", "mean", "window", "none"])
@pytest.mark.parametrize(("horizon", "skip"), [(1, 4), (3, 8), (30, 4)])
def test_training_starts_near_the_last_value(level, horizon, skip):
    model = model_of(cell="lstm", window=12, horizon=horizon, level=level, skip=skip, season=(24,))
    inputs, known = arguments_of(model)
    inputs[..., 0] = inputs[..., 0].cumsum(1)
    with torch.no_grad():
        model.head.weight.zero_()
        torch.testing.assert_close(model(inputs, known), inputs[:, -1:, 0].expand(-1, horizon))


def test_a_skip_of_full_rank_is_a_linear_map():
    skip = Skip(6, 3, 3, last_is_zero=False)
    assert sum(p.numel() for p in skip.parameters()) == 18
    low = Skip(60, 169, 4, last_is_zero=True)
    assert sum(p.numel() for p in low.parameters()) == 4 * (60 + 169)
    assert not low(torch.randn(2, 60)).any()


@pytest.mark.parametrize("encoding", ["circuit", "sincos", "table"])
def test_features_of_the_season_repeat_after_a_whole_turn(encoding):
    features = SeasonFeatures((24, 7), encoding, 3)
    for parameter in features.parameters():
        nn.init.normal_(parameter)
    places = torch.arange(200)
    phases = torch.stack([2 * math.pi * (places % season) / season for season in (24, 7)], dim=1)
    found = features(phases)
    assert found.shape == (200, features.channels) == (200, season_channels((24, 7), encoding, 3))
    torch.testing.assert_close(found[168:], found[:32], rtol=0, atol=0)
    beyond = features(phases + 2 * math.pi)
    torch.testing.assert_close(beyond, found, rtol=0, atol=2e-5)


def test_sines_are_those_of_the_season_and_no_two_are_alike():
    features = SeasonFeatures((4,), "sincos", 3)
    angles = torch.tensor([[0.0], [math.pi / 2]])
    torch.testing.assert_close(features(angles), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), rtol=0, atol=1e-6)


def test_every_channel_of_the_season_is_a_circuit_that_reads_a_whole_multiple_of_the_phase():
    features = SeasonFeatures((24, 7), "circuit", 3)
    angles = features.angles.detach().numpy()
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, (5, 2))

    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(trained, encoded):
        qml.Hadamard(0)
        qml.RZ(trained, 0)
        qml.RZ(encoded, 0)
        return qml.expval(qml.PauliX(0))

    wanted = [[circuit(angles[3 * s + k], (k + 1) * row[s]) for s in range(2) for k in range(3)] for row in phases]
    found = features(torch.tensor(phases, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6)


def test_a_table_has_a_number_for_every_step_of_the_season():
    features = SeasonFeatures((5,), "table", 1)
    with torch.no_grad():
        features.tables[0].copy_(torch.arange(5.0))
    phases = (2 * math.pi * torch.arange(5) / 5)[:, None]
    assert features(phases).squeeze(1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", ["last", "steps"])
def test_every_cell_forecasts_with_every_part(cell, decoder):
    options = {"missing": "mask", "past_cols": ("a",), "future_cols": ("b",), "calendar": ("hour",)}
    model = model_of(
        cell=cell, hidden_size=3, window=4, horizon=5, season=(3, 7), seasonal_lags=True, decoder=decoder,
        loss="quantile", num_layers=2, **options,
    )  # fmt: skip
    inputs, known = arguments_of(model)
    assert inputs.shape == (5, 4 + 6, 1 + 1 + 1 + 1 + 2 + 2)
    assert model(inputs, known).shape == (5, 5, 5)
    model(inputs, known).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_seasonal_lags_are_values_whole_seasons_before_the_targets():
    model = model_of(cell="lstm", window=3, horizon=5, season=(2, 4), seasonal_lags=True, level="none")
    values = torch.arange(6.0)[None]  # 3 + 4 - 1 steps; targets would be 6, 7, 8, 9, 10
    lags = [lag.flatten().tolist() for lag in model._lags_of_targets(values)]
    assert lags == [[4, 5, 4, 5, 4], [2, 3, 4, 5, 2]]
    window = [lag.flatten().tolist() for lag in model._lags_of_window(values)]  # the steps after 3, 4, 5 are 4, 5, 6
    assert window == [[2, 3, 4], [0, 1, 2]]


def test_a_decoder_of_steps_lets_the_cell_read_what_is_known_of_each():
    model = model_of(cell="gru", window=4, horizon=3, skip=0, level="none", season=(5,), season_encoding="sincos")
    inputs, known = arguments_of(model)
    wanted = []
    for step in range(3):
        alone = inputs.clone()
        alone[:, -1, -1:] = known[:, step]
        position = torch.zeros(5, 4, 1)
        position[:, -1] = step / 2
        read = torch.cat([alone[..., :1], model.season(alone[..., 1:]), position], dim=2)
        wanted.append(model.head(model.cell(read)[0][:, -1]))
    torch.testing.assert_close(model(inputs, known), torch.cat(wanted, dim=1))


def test_the_decoders_agree_on_one_step():
    last, steps = (model_of(cell="qkan", season=(6,), decoder=decoder) for decoder in ("last", "steps"))
    arguments = arguments_of(last)
    torch.testing.assert_close(last(*arguments), steps(*arguments), rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_without_surroundings_is_the_cell_and_its_head(cell):
    model = model_of(cell=cell, window=6, horizon=3, **BARE)
    inputs = torch.randn(4, 6, 1)
    assert (model.skip, model.season, model.known) == (None, None, None)
    torch.testing.assert_close(model(inputs), model.head(model.cell(inputs)[0][:, -1]))


def test_a_shift_of_the_window_shifts_the_forecast():
    for level in ("last", "mean", "window"):
        model = model_of(cell="hqkan", window=6, horizon=3, level=level, season="none")
        nn.init.normal_(model.skip.patterns.weight)
        inputs = torch.randn(4, 6, 1, dtype=torch.float64)
        torch.testing.assert_close(model.double()(inputs + 100), model(inputs) + 100)


def test_parameters_do_not_grow_with_the_season():
    short, long = (count_parameters(model_of(cell="hqkan", season=(season,))) for season in (24, 8760))
    assert short == long


def test_surroundings_need_the_seasons_before_a_model():
    with pytest.raises(ValueError, match="season='auto' is what the data say"):
        model_of(cell="lstm", season="auto")


def test_context_holds_the_longest_lag():
    assert Surroundings(12, 2, seasons=(5, 24), seasonal_lags=True).context == 12 + 23
    assert Surroundings(12, 2, seasons=(5, 24)).context == 12


@pytest.mark.parametrize("cell", ["gru", "sparse", "linear"])
def test_dropout_hides_values_from_the_skip_while_training(cell):
    model = model_of(cell=cell, window=6, horizon=3, season=(3,), dropout=0.5, level="none")
    for parameter in model.skip.parameters():
        nn.init.normal_(parameter)
    arguments = arguments_of(model)
    assert torch.equal(model.eval()(*arguments), model(*arguments))
    assert not torch.equal(model.train()(*arguments), model(*arguments))
    assert not [name for name in model.state_dict() if "dropout" in name]
