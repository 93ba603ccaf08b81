import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.datasets import DataError, DataNotice, Scaler, Series, make_forecast_data
from qkan.datasets.steps import step_frame
from qkan.datasets.windows.channels import fit_scaler
from qkan.datasets.windows.scalers import KINDS
from qkan.forecasting.evaluation.metrics import seasonal_change

values = st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=20).map(np.array)


def test_minmax_maps_the_training_range_to_minus_one_and_one():
    scaler = Scaler.fit([np.array([2.0, 6.0, 4.0])], ["a"])
    assert (scaler.kind, scaler.ids, scaler.offset, scaler.scale) == ("minmax", ("a",), (4.0,), (2.0,))
    assert scaler.transform([2.0, 6.0, 4.0, 10.0]).tolist() == [-1.0, 1.0, 0.0, 3.0]


def test_standard_maps_to_mean_zero_and_deviation_one():
    scaler = Scaler.fit([np.array([1.0, 2.0, 3.0, 6.0])], ["a"], "standard")
    assert scaler.offset[0] == pytest.approx(3.0)
    assert scaler.scale[0] == pytest.approx(np.std([1.0, 2.0, 3.0, 6.0]))


def test_none_leaves_values_alone():
    scaler = Scaler.fit([np.array([5.0, 7.0])], ["a"], "none")
    assert scaler.transform([5.0, 7.0]).tolist() == [5.0, 7.0]


@pytest.mark.parametrize("kind", ["minmax", "standard"])
@pytest.mark.parametrize("constant", [0.0, 0.1, -3e9, 1e308])
def test_a_constant_training_part_is_only_shifted(kind, constant):
    scaler = Scaler.fit([np.full(7, constant)], ["a"], kind)
    assert (scaler.offset, scaler.scale) == ((constant,), (1.0,))
    assert scaler.transform(constant) == 0.0


@pytest.mark.parametrize("kind", ["minmax", "standard"])
@pytest.mark.parametrize("extremes", [(-1e308, 1.7e308), (1e-300, 3e-300), (0.0, 5e-324), (1e200, 1e200 * (1 + 1e-15))])
def test_values_near_the_limits_of_float64_scale_to_small_numbers(kind, extremes):
    scaler = Scaler.fit([np.array(extremes)], ["a"], kind)
    scaled = scaler.transform(extremes)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= 2.0


def test_every_series_has_its_own_numbers():
    scaler = Scaler.fit([np.array([0.0, 2.0]), np.array([10.0, 30.0])], ["a", "b"])
    windows = np.array([[0.0, 2.0], [10.0, 20.0], [30.0, 40.0]])
    assert scaler.transform(windows, [0, 1, 1]).tolist() == [[-1.0, 1.0], [-1.0, 0.0], [1.0, 2.0]]
    assert scaler.inverse_transform(scaler.transform(windows, [0, 1, 1]), [0, 1, 1]).tolist() == windows.tolist()
    assert scaler.transform(windows[1:], 1).tolist() == [[-1.0, 0.0], [1.0, 2.0]]
    assert scaler.transform(windows[:, :, None], [0, 1, 1]).shape == (3, 2, 1)


@given(training=values, others=values, kind=st.sampled_from(KINDS))
def test_inverse_undoes_transform(training, others, kind):
    scaler = Scaler.fit([training], ["a"], kind)
    back = scaler.inverse_transform(scaler.transform(others))
    size = np.abs(others).max() + abs(scaler.offset[0]) + scaler.scale[0]
    assert back == pytest.approx(others, rel=1e-9, abs=4e-16 * size)


@given(training=values)
def test_minmax_keeps_the_training_part_within_one(training):
    scaled = Scaler.fit([training], ["a"]).transform(training)
    assert np.abs(scaled).max() <= 1.0 + 1e-12


@given(training=st.lists(values, min_size=1, max_size=3), kind=st.sampled_from(KINDS))
def test_json_keeps_a_scaler_without_loss(training, kind):
    scaler = Scaler.fit(training, [f"s{i}" for i in range(len(training))], kind)
    assert Scaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "maxmin"}, "unknown scaler 'maxmin'; choose one of minmax, standard, robust, none, change"),
        ({"scale": [0.0]}, r"scales \(0.0,\) are not all positive"),
        ({"scale": [float("inf")]}, r"scales \(inf,\) are not all positive and finite"),
        ({"offset": [float("nan")]}, r"offsets \(nan,\) are not all finite"),
        ({"offset": [1.0, 2.0]}, "a scaler of 1 series has 2 offsets and 1 scales"),
        ({"offset": ["x"]}, "the numbers of the scaler cannot be read .*could not convert"),
        ({"offset": 3}, "the numbers of the scaler cannot be read"),
        ({"extra": 1}, r"a scaler has the keys \['ids', 'kind', 'offset', 'scale'\], not \['extra', "),
    ],
)
def test_a_tampered_scaler_is_refused(changes, message):
    state = Scaler.fit([np.array([1.0, 2.0])], ["a"]).to_dict() | changes
    with pytest.raises(DataError, match=message):
        Scaler.from_dict(state)


def test_an_incomplete_scaler_is_refused():
    with pytest.raises(DataError, match="a scaler has the keys"):
        Scaler.from_dict({"kind": "minmax"})


def test_an_unknown_kind_is_refused_when_fitting():
    with pytest.raises(
        DataError, match="unknown scaler 'maxmin'; choose one of minmax, standard, robust, none, change"
    ):
        Scaler.fit([np.array([1.0, 2.0])], ["a"], "maxmin")


def test_an_empty_training_part_is_refused():
    with pytest.raises(DataError, match="the training part of series 'b' is empty; raise the train share"):
        Scaler.fit([np.ones(2), np.ones(0)], ["a", "b"])


@pytest.mark.parametrize("kind", ["minmax", "standard"])
def test_a_range_that_would_blow_up_other_values_counts_as_constant(kind):
    scaler = Scaler.fit([np.array([0.0, 1.7e-298])], ["a"], kind)
    assert scaler.inverse_transform(scaler.transform([1.5e10])).tolist() == [1.5e10]


def test_scalers_of_covariates_survive_as_json_and_by_choice():
    ids = ("a", "b")
    inner = Scaler.fit([np.array([0.0, 4.0]), np.array([1.0, 1.0])], ids)
    scaler = Scaler("minmax", ids, (0.0, 1.0), (2.0, 3.0), {"price": inner})
    again = Scaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again == scaler
    picked = scaler.pick([1, 0], ("x", "y"))
    assert (picked.ids, picked.offset, picked.covariates["price"].scale) == (("x", "y"), (1.0, 0.0), (1.0, 2.0))
    broken = {**scaler.to_dict(), "covariates": {"price": {"offset": [0.0, 0.0]}}}
    with pytest.raises(DataError, match="the numbers of the scaler cannot be read"):
        Scaler.from_dict(broken)


def test_change_scaler_has_the_unit_of_mase():
    values = np.array([1.0, 5.0, 2.0, 8.0, 4.0, 6.0])
    scaler = Scaler.fit([values, values[:3], np.full(4, 7.0)], ["a", "b", "c"], "change", season=2)
    assert scaler.scale == pytest.approx((np.abs(values[2:] - values[:-2]).mean(), 3.5, 1.0))
    assert scaler.offset == pytest.approx((values.mean(), 8 / 3, 7.0))


def test_change_scaler_keeps_pairs_a_season_apart_across_gaps():
    values = np.sin(2 * np.pi * np.arange(400) / 24) + 0.01 * np.random.default_rng(0).normal(size=400)
    gap = np.arange(400) % 100 == 50
    frame = step_frame(np.where(gap, 9.0, values), "gaps")
    series = Series("gaps", frame, season=(24,), observed=~gap)
    scaler = fit_scaler(series, np.array([400]), "change", np.array([0]))
    assert scaler.scale[0] == pytest.approx(seasonal_change(values, 24, ~gap), rel=1e-9)


def test_change_scaler_leaves_flags_their_size():
    frame = step_frame(np.arange(1000.0), "flag").assign(open=(np.arange(1000) // 100 == 4).astype(float))
    series = Series("flag", frame, future=("open",))
    scaler = fit_scaler(series, np.array([1000]), "change", np.array([0]))
    assert scaler.covariates["open"].scale[0] == pytest.approx(0.3)  # its standard deviation
    assert Scaler.from_dict(scaler.to_dict()) == scaler


def test_robust_scaler_goes_by_the_middle_half():
    values = np.append(np.arange(101.0), 1e5)
    scaler = Scaler.fit([values[:-1]], ["a"], "robust")
    assert (scaler.offset, scaler.scale) == ((50.0,), (50.0,))
    spiked = Scaler.fit([values], ["a"], "robust")
    assert (spiked.offset[0], spiked.scale[0]) == pytest.approx((50.5, 50.5), rel=1e-6)
    rare = Scaler.fit([np.array([0.0] * 9 + [4.0])], ["a"], "robust")  # the middle half is a single value
    assert (rare.offset[0], rare.scale[0]) == (0.0, 2.0)


@pytest.mark.parametrize("scale", [1e99, 1.0, 1e-99])
def test_robust_scaler_neither_overflows_nor_vanishes(scale):
    values = np.array([-5.0, -2.0, 0.0, 2.0, 5.0]) * scale
    scaler = Scaler.fit([values], ["a"], "robust")
    assert scaler.transform(values).tolist() == pytest.approx([-1.25, -0.5, 0.0, 0.5, 1.25])
    assert scaler.inverse_transform(scaler.transform(values)).tolist() == pytest.approx(values.tolist())


@pytest.mark.parametrize("kind", ["minmax", "standard"])
def test_a_spike_is_said_and_the_robust_scaler_offered(kind):
    frame = step_frame(10 + np.sin(np.arange(100.0)), "a")
    frame.loc[30, "y"] = 1e5
    with pytest.warns(DataNotice, match=rf"has values such as 100000, far from the others around .*scaler='{kind}'"):
        make_forecast_data(Series("s", frame), window=4, horizon=1, scaler=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataNotice)
        make_forecast_data(Series("s", frame), window=4, horizon=1, scaler="robust")
        make_forecast_data(Series("s", frame.drop(index=30)), window=4, horizon=1, scaler=kind)
