import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qkan.datasets import DataError, Scaler, Series, SplitFractions, load_series, make_forecast_data
from qkan.datasets.steps import step_frame
from qkan.datasets.windows.windows import PARTS


def counting(*lengths):
    """Series a, b, ... that count 0, 1, 2, ... (plus 1000 for each series before)."""
    frames = [step_frame(np.arange(n) + 1000.0 * i, "abcdef"[i]) for i, n in enumerate(lengths)]
    return Series("counting", pd.concat(frames, ignore_index=True))


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(30, 60), min_size=1, max_size=3))
    values = draw(st.lists(st.integers(-50, 50).map(float), min_size=sum(lengths), max_size=sum(lengths)).map(np.array))
    window, horizon = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    split = draw(st.sampled_from([SplitFractions(), SplitFractions(0.5, 0.2, 0.3), SplitFractions(0.8, 0.0, 0.2)]))
    kind = draw(st.sampled_from(["minmax", "standard", "none"]))
    return counting(*lengths), values, {"window": window, "horizon": horizon, "split": split, "scaler": kind}


def with_values(series, values):
    return Series(series.name, series.frame.assign(y=values))


def test_windows_of_one_series_by_hand():
    data = make_forecast_data(counting(10), window=2, horizon=1, split=SplitFractions(0.5, 0.2, 0.3), scaler="none")
    assert data.boundaries.tolist() == [[5, 7]]
    assert data.train.inputs[:, :, 0].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert data.train.targets.tolist() == [[2], [3], [4]]
    assert data.validation.inputs[:, :, 0].tolist() == [[3, 4], [4, 5]]
    assert data.validation.targets.tolist() == [[5], [6]]
    assert data.test.targets.tolist() == [[7], [8], [9]]
    assert data.test.target_index.tolist() == [7, 8, 9]


def test_all_targets_of_a_window_lie_in_its_part():
    data = make_forecast_data(counting(20), window=3, horizon=2, split=SplitFractions(0.5, 0.2, 0.3), scaler="none")
    assert data.train.targets[[0, -1]].tolist() == [[3, 4], [8, 9]]
    assert data.validation.targets.tolist() == [[10, 11], [11, 12], [12, 13]]
    assert data.test.targets[[0, -1]].tolist() == [[14, 15], [18, 19]]


def test_windows_never_cross_from_one_series_to_the_next():
    data = make_forecast_data(counting(12, 15), window=3, horizon=2, split=SplitFractions(0.6, 0.0, 0.4), scaler="none")
    for part in (data.train, data.test):
        whole = np.concatenate([part.inputs[:, :, 0], part.targets], axis=1)
        assert (np.diff(whole, axis=1) == 1).all()
        assert (whole[:, 0] // 1000 == part.series).all()
        assert (part.targets[:, 0] % 1000 == part.target_index).all()


def test_windows_have_the_promised_shapes_and_types():
    data = make_forecast_data(counting(40, 50), window=4, horizon=3)
    for name in PARTS:
        part = data.part(name)
        assert part.inputs.shape == (len(part), 4, 1)
        assert part.targets.shape == (len(part), 3)
        assert part.inputs.dtype == part.targets.dtype == np.float32
        assert part.series.shape == part.target_index.shape == (len(part),)


def test_batch_picks_windows_in_the_order_asked():
    part = make_forecast_data(counting(40), window=4, horizon=2).train
    for rows in ([5, 0, 5], np.array([3]), slice(2, 8, 3)):
        inputs, targets = part.batch(rows)[:2]
        assert inputs.tolist() == part.inputs[rows].tolist()
        assert targets.tolist() == part.targets[rows].tolist()


def test_inputs_are_a_fresh_array_that_may_be_changed():
    part = make_forecast_data(counting(40), window=4, horizon=2).train
    before = part.inputs
    changed = part.inputs
    changed[:] = 99.0
    assert part.inputs.tolist() == before.tolist()


def test_parts_share_one_copy_of_the_values():
    data = make_forecast_data(load_series("logistic-map"), window=1000, horizon=1)
    assert data.train.values is data.test.values
    assert data.train.values.nbytes == 4 * 1500


def test_a_split_without_validation_has_no_validation_windows():
    data = make_forecast_data(counting(40), window=4, horizon=2, split=SplitFractions(0.8, 0.0, 0.2))
    assert (len(data.validation), data.validation.inputs.shape, data.validation.targets.shape) == (0, (0, 4, 1), (0, 2))


def test_target_values_and_times_are_those_of_the_series():
    data = make_forecast_data(load_series("telecom"), window=12, horizon=2)
    assert data.target_times("test")[0].tolist() == data.series.times[22_173:22_175].tolist()
    assert data.target_values("test")[0].tolist() == data.series.values[22_173:22_175].tolist()
    assert data.target_times("test").shape == (5542, 2)
    assert data.target_times("train")[-1, 1] == data.series.times[19_400]


def test_inverse_gives_back_original_units():
    data = make_forecast_data(counting(30, 40), window=3, horizon=2)
    back = data.inverse(data.test.targets, data.test.series)
    assert back == pytest.approx(data.target_values("test"), rel=1e-6)


def test_only_the_training_part_fits_the_scaler():
    data = make_forecast_data(counting(10), window=2, horizon=1)
    assert (data.scaler.offset, data.scaler.scale) == ((3.0,), (3.0,))  # of 0 ... 6
    assert data.train.values.max() == 2.0


def test_a_fitted_scaler_can_be_given():
    scaler = Scaler.fit([np.array([0.0, 10.0])], ["a"])
    data = make_forecast_data(counting(20), window=2, horizon=1, scaler=scaler)
    assert data.scaler is scaler
    assert data.train.values[:3, 0].tolist() == pytest.approx([-1.0, -0.8, -0.6])


def test_a_scaler_of_other_series_is_refused():
    scaler = Scaler.fit([np.array([0.0, 10.0])], ["z"])
    with pytest.raises(
        DataError, match="the scaler was fitted on 1 series and the data has 1; 'a' is in one of them only"
    ):
        make_forecast_data(counting(20), window=2, horizon=1, scaler=scaler)


def test_a_constant_series_gives_zeros():
    series = Series("flat", step_frame(np.full(30, 7.0), "flat"))
    data = make_forecast_data(series, window=2, horizon=1, scaler="standard")
    assert not data.test.inputs.any()
    assert data.inverse(np.zeros((3, 1)), np.zeros(3, dtype=int)).tolist() == [[7.0]] * 3


@given(case=cases(), change=st.data())
def test_the_future_never_reaches_the_past(case, change):
    series, values, options = case
    before = make_forecast_data(with_values(series, values), **options)
    now = change.draw(st.sampled_from(range(len(series.ids))), label="series")
    train_end, length = int(before.boundaries[now, 0]), int(series.lengths[now])
    position = change.draw(st.integers(train_end, length - 1), label="changed position")
    future = values.copy()
    future[series.starts[now] + position :][: length - position] += 1000.0
    after = make_forecast_data(with_values(series, future), **options)

    assert after.scaler == before.scaler
    assert after.train.inputs.tolist() == before.train.inputs.tolist()
    assert after.train.targets.tolist() == before.train.targets.tolist()
    for name in PARTS:
        old, new = before.part(name), after.part(name)
        earlier = (old.series != now) | (old.target_index <= position)  # what is forecast at or before the change
        assert new.inputs[earlier].tolist() == old.inputs[earlier].tolist()


@given(case=cases())
def test_every_window_is_a_true_piece_of_its_series(case):
    series, values, options = case
    data = make_forecast_data(with_values(series, values), **options)
    for name in PARTS:
        part = data.part(name)
        for row in range(len(part)):
            single, at = data.series.values_of(part.series[row]), part.target_index[row]
            expected = data.scaler.transform(single[at - data.window : at + data.horizon], part.series[row])
            found = np.concatenate([part.inputs[row, :, 0], part.targets[row]])
            assert found.tolist() == expected.astype(np.float32).tolist()


@given(case=cases())
def test_every_value_after_the_first_window_is_a_target_of_exactly_one_part(case):
    series, values, options = case
    data = make_forecast_data(with_values(series, values), **options)
    rows = [set(data.target_rows(name).ravel().tolist()) for name in PARTS]
    assert not rows[0] & rows[1]
    assert not rows[1] & rows[2]
    assert not rows[0] & rows[2]
    head = {int(start) + i for start in series.starts[:-1] for i in range(data.window)}
    assert rows[0] | rows[1] | rows[2] == set(range(len(series.frame))) - head


@given(case=cases())
def test_one_step_windows_follow_each_other_without_gap_or_overlap(case):
    series, values, options = case
    data = make_forecast_data(with_values(series, values), **{**options, "horizon": 1})
    for index, length in enumerate(series.lengths):
        at = np.concatenate([data.part(name).target_index[data.part(name).series == index] for name in PARTS])
        assert at.tolist() == list(range(data.window, length))


@given(case=cases())
def test_original_values_come_back_from_scaled_windows(case):
    series, values, options = case
    assume(options["scaler"] != "none")
    data = make_forecast_data(with_values(series, values), **options)
    back = data.inverse(data.test.targets, data.test.series)
    assert back == pytest.approx(data.target_values("test"), abs=1e-3)


@pytest.mark.parametrize("option", ["window", "horizon"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "4"])
def test_window_and_horizon_are_whole_numbers(option, value):
    options = {"window": 4, "horizon": 1, option: value}
    with pytest.raises(DataError, match=f"{option} is {value!r}; it must be a whole number of at least 1"):
        make_forecast_data(counting(40), **options)


@pytest.mark.parametrize(
    ("length", "window", "horizon", "message"),
    [
        (240, 168, 1, r"only 168 of them in the training part, which needs at least 169 \(window \+ horizon\)"),
        (240, 100, 30, r"only 24 of them in the validation part, which needs at least 30 \(horizon\)"),
        (3, 1, 1, r"only 0 of them in the validation part, which needs at least 1 \(horizon\)"),
        (240, 10**9, 1, r"only 168 of them .* needs at least 1000000001 \(window \+ horizon\)"),
    ],
)
def test_a_series_too_short_for_its_parts(length, window, horizon, message):
    with pytest.raises(DataError, match=f"series 'a' has {length} points and {message}; use a smaller window"):
        make_forecast_data(counting(length), window=window, horizon=horizon)


def test_the_series_that_is_too_short_is_named():
    with pytest.raises(DataError, match="series 'b' has 12 points and only 8 of them in the training part"):
        make_forecast_data(counting(100, 12), window=10, horizon=1)


def test_a_test_part_shorter_than_the_horizon_is_refused():
    with pytest.raises(DataError, match=r"only 2 of them in the test part, which needs at least 3 \(horizon\)"):
        make_forecast_data(counting(40), window=2, horizon=3, split=SplitFractions(0.85, 0.1, 0.05))


def test_values_beyond_float32_are_refused():
    values = np.ones(30)
    values[25] = 1e39
    with pytest.raises(DataError, match=r"value 1e\+39 of series 'a' at 25 is beyond float32 after 'minmax' scaling"):
        make_forecast_data(with_values(counting(30), values), window=2, horizon=1)


def test_an_unknown_part_is_refused():
    with pytest.raises(DataError, match="unknown part 'training'; choose one of train, validation, test"):
        make_forecast_data(counting(40), window=2, horizon=1).part("training")


def test_an_unknown_scaler_is_refused():
    with pytest.raises(DataError, match="unknown scaler 'maxmin'"):
        make_forecast_data(counting(40), window=2, horizon=1, scaler="maxmin")
