import pytest
import torch
from tiny_runs import BARE
from torch import nn

from qkan import GRKAN, QKAN, KANLayer
from qkan.forecasting import CELLS, TrainConfig, build_forecaster
from qkan.forecasting.config.cells import CONTROL_CELLS
from qkan.forecasting.model.build import count_parameters, largest_hidden_size, parameters_at
from qkan.forecasting.model.forecaster import RecurrentForecaster, Surroundings
from qkan.rnn.fwp import QKANFWP
from qkan.rnn.lstm import HQKANLSTM, QKANLSTM
from qkan.rnn.qlstm import QLSTM


def config_of(cell: str, **options: object) -> TrainConfig:
    return TrainConfig(data="x", cell=cell, **BARE | options)  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_forecaster_maps_windows_to_horizons(cell, num_layers):
    model = build_forecaster(config_of(cell, hidden_size=3, horizon=5, num_layers=num_layers), generator())
    assert model(torch.randn(7, 4, 1)).shape == (7, 5)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        *(("qkan", QKANLSTM), ("hqkan", HQKANLSTM), ("lowrank", HQKANLSTM)),
        *(("lstm", nn.LSTM), ("gru", nn.GRU), ("qlstm", QLSTM), ("gr-kan", HQKANLSTM)),
        *(("fwp", QKANFWP), ("fwp-linear", QKANFWP)),
        *((cell, HQKANLSTM) for cell in CONTROL_CELLS),
    ],
)
def test_every_name_builds_its_cell(cell, kind):
    assert type(build_forecaster(config_of(cell), generator()).cell) is kind


def test_cells_of_a_bottleneck_differ_in_their_latent():
    latents = {
        cell: type(build_forecaster(config_of(cell), generator()).cell.directions[0].gates.latent)
        for cell in ("lowrank", "hqkan", "gr-kan", *CONTROL_CELLS)
    }
    own = {**dict.fromkeys(CONTROL_CELLS, KANLayer), "mlp": nn.Sequential}
    assert latents == {"lowrank": nn.Identity, "hqkan": QKAN, "gr-kan": GRKAN, **own}


def test_forecast_is_the_head_of_the_last_output():
    model = RecurrentForecaster(nn.GRU(1, 3, batch_first=True), 1, 3, 2, Surroundings(4))
    window = torch.randn(5, 4, 1)
    _, state = model.cell(window)
    torch.testing.assert_close(model(window), model.head(state[-1]))


@pytest.mark.parametrize(
    ("cell", "options", "parameters"),
    [
        ("lstm", {"hidden_size": 4}, 117),  # 4 (4 + 16) + 2 * 16 + 5
        ("gru", {"hidden_size": 4}, 89),  # 3 (4 + 16) + 2 * 12 + 5
        ("qkan", {"hidden_size": 1, "group": "edge", "bias": False}, 34),  # 4 gates, 2 edges, 2 (1 + 1) angles, head 2
        ("qkan", {"hidden_size": 4, "group": "edge"}, 341),  # 16 * 5 * 4 + 16 + 5
        ("qkan", {"hidden_size": 4, "group": "edge", "reps": 2}, 501),
        ("qkan", {"hidden_size": 4}, 121),  # (1 + 4) * 4 + 16 * 5 + 16 + 5
        ("qkan", {"hidden_size": 4, "group": 1}, 109),  # 2 * 4 + 16 * 5 + 16 + 5
        ("qkan", {"hidden_size": 4, "group": 3}, 117),  # (1 + 3) * 4 + 16 * 5 + 16 + 5: one input has one circuit
        ("lowrank", {"hidden_size": 4, "latent_features": 2}, 65),
        *((cell, {"hidden_size": 4}, 99) for cell in ("fourier", "rff", "spline", "chebyshev")),  # lowrank's 65, 34
        ("spline", {"hidden_size": 4, "terms": 5}, 87),  # 5 * 4 + 2 in the latent
        ("mlp", {"hidden_size": 4, "terms": 3}, 82),  # 2 * 3 + 3 + 3 * 2 + 2
        ("gr-kan", {"hidden_size": 4}, 105),  # encoder 2 (1 + 1 + 4), rationals 2 (6 + 2 * 4), linear 2 * 6, 48 + 5
        ("gr-kan", {"hidden_size": 4, "latent_features": 3}, 147),  # 3 * 6, 2 (6 + 3 * 4), 2 * 12, 64 + 5
        (
            "gr-kan",
            {"hidden_size": 3, "latent_features": 2, "bias": False, "num_layers": 2},
            152,
        ),  # 8 + 12, 2 * 40, 2 * 24, 4
        ("qlstm", {"hidden_size": 4}, 141),  # encoder 4 * 6, circuits 4 * 4 * 2, decoder 16 * 5, head 5
        ("qlstm", {"hidden_size": 4, "bias": False}, 121),
        ("qlstm", {"hidden_size": 2, "qubits": 3, "circuit_layers": 2}, 107),  # 3 * 4 + 4 * 3 * 5 + 8 * 4 + 3
        ("fwp", {"hidden_size": 4}, 49),  # encoder 2 * 2, slow 2 (2 * 4 + 2 * 2 + 4), base 2 * 4, head 5
        ("fwp", {"hidden_size": 4, "reps": 2, "base_activation": "none"}, 49),  # 2 * 4 more in the slow network
        ("fwp-linear", {"hidden_size": 4, "latent_features": 3}, 35),  # 2 * 3, 2 (4 + 3 + 1 + 4), 5
    ],
)
def test_parameters_are_counted_by_hand(cell, options, parameters):
    assert count_parameters(build_forecaster(config_of(cell, **options), generator())) == parameters


def test_frozen_parameters_do_not_count():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert count_parameters(model) == 6


@pytest.mark.parametrize("cell", CELLS)
def test_same_generator_state_gives_the_same_model_and_leaves_the_global_state(cell):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second, other = (build_forecaster(config_of(cell), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), second.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_generator_moves_on():
    shared = generator()
    first, second = (build_forecaster(config_of("lstm"), shared) for _ in range(2))
    assert not torch.equal(first.head.weight, second.head.weight)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("budget", [70, 125, 1250])
def test_largest_hidden_size_fits_and_the_next_does_not(cell, budget):
    config = config_of(cell)
    size = largest_hidden_size(config, budget)
    assert size is not None
    assert parameters_at(config, size) <= budget < parameters_at(config, size + 1)


def test_budget_below_the_smallest_model_has_no_size():
    assert parameters_at(config_of("qkan"), 1) == 22
    assert largest_hidden_size(config_of("qkan"), 21) is None
    assert parameters_at(config_of("qlstm"), 1) == 66
    assert largest_hidden_size(config_of("qlstm"), 65) is None
    assert parameters_at(config_of("gr-kan"), 1) == 60
    assert largest_hidden_size(config_of("gr-kan"), 59) is None


def test_budget_above_the_largest_model_gives_the_largest():
    assert largest_hidden_size(config_of("lstm"), 10**9) == 4096


def test_huge_model_is_refused_before_it_is_built():
    message = (
        r"'qkan' cell of hidden_size=4096 and num_layers=1 would have .* parameters, above the limit of 100,000,000"
    )
    with pytest.raises(ValueError, match=message):
        build_forecaster(config_of("qkan", hidden_size=4096, group="edge"), generator())


def test_unknown_ansatz_is_refused_by_name():
    with pytest.raises(ValueError, match="'zigzag'"):
        build_forecaster(config_of("qkan", ansatz="zigzag"), generator())


def test_more_circuits_than_a_layer_has_inputs_are_refused():
    with pytest.raises(ValueError, match=r"group 5 .*\[1, 4\]"):
        build_forecaster(config_of("qkan", hidden_size=4, group=5), generator())
