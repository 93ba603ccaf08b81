"""Several origins: where the folds of a comparison begin and end, what each may know, and the verdict over all."""

import numpy as np
import pandas as pd
import pytest
from tiny_runs import tiny_comparison

from qkan.datasets import DataError, Fold, SplitFractions, load_series
from qkan.forecasting import compare
from qkan.forecasting.comparison.baseline_runs import losses_of
from qkan.forecasting.comparison.folds import cut_folds
from qkan.forecasting.comparison.significance import origin_losses, verdict_of
from qkan.forecasting.config import CompareConfig


class Watcher:
    """Stops a comparison after a number of runs, and remembers what was fitted."""

    def __init__(self, stop_after=None):
        self.stop_after, self.baselines, self.runs = stop_after, [], []

    def baseline(self, name, done, total):
        self.baselines.append((name, done, total))

    def start(self, runs, done=0):
        self.planned = (runs, done)

    def run(self, record):
        self.runs.append((record["fold"], record["seed"]))
        if len(self.runs) == self.stop_after:
            raise KeyboardInterrupt

    def finish(self):
        pass


def test_the_known_part_grows_and_test_parts_follow_each_other():
    folds = [Fold(SplitFractions(0.7, 0.1, 0.2), number, 3) for number in range(3)]
    assert [(*fold.boundaries(1000), fold.end(1000)) for fold in folds] == [
        (350, 400, 600), (525, 600, 800), (700, 800, 1000),
    ]  # fmt: skip
    single = Fold(SplitFractions(0.7, 0.1, 0.2), 0, 1)
    assert (*single.boundaries(1000), single.end(1000)) == (700, 800, 1000)


def test_every_value_behind_the_first_origin_is_tested_once():
    config = tiny_comparison(out="o", folds=4)
    folds = cut_folds(load_series("damped-shm"), config)
    rows = np.concatenate([data.target_rows("test").ravel() for data in folds])
    np.testing.assert_array_equal(np.sort(rows), np.arange(rows.min(), len(folds[0].series.values)))
    for data in folds:
        train, known = data.boundaries[0]
        assert data.target_rows("train").max() < train
        assert train <= data.target_rows("validation").min() <= data.target_rows("validation").max() < known
    scales = [float(data.scaler.scale[0]) for data in folds]
    assert scales[0] < scales[-1] or scales == sorted(scales)  # each fold scales by its own training part


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"folds": 100, "horizon": 3},
            r"fold 1 of 100 tests on \d values of series 'damped-shm', fewer than horizon=3; ",
        ),
        ({"folds": 2, "window": 200}, r"fold 1 of 2 cannot be cut: series 'damped-shm' has .*; or use fewer folds"),
    ],
)
def test_too_many_folds_are_one_sentence(options, sentence):
    series = load_series("damped-shm")
    with pytest.raises(DataError, match=sentence):
        cut_folds(series, tiny_comparison(out="o", **options))


def test_folds_and_a_protocol_exclude_each_other():
    with pytest.raises(ValueError, match=r"folds=2 cut the data anew, but protocol='ltsf' says where its parts end"):
        CompareConfig(data="x.csv", out="o", folds=2, protocol="ltsf", scaler="standard")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("folds") / "c"
    config = tiny_comparison(out=str(out), cells=("lstm",), folds=2, seeds=2, trials=1, epochs=1, baselines=("theta",))
    with pytest.raises(KeyboardInterrupt):
        compare(config, progress=Watcher(stop_after=3))
    watcher = Watcher()
    return compare(config, progress=watcher), watcher


def test_an_interrupted_comparison_of_folds_goes_on(compared):
    found, watcher = compared
    assert watcher.planned == (4, 3)
    assert watcher.runs == [(2, 1)]
    assert watcher.baselines == []  # they were all kept
    assert found.runs[["fold", "seed"]].to_numpy().tolist() == [[1, 0], [2, 0], [1, 1], [2, 1]]


def test_errors_are_means_over_folds(compared):
    found, _ = compared
    by_fold = found.runs.groupby("fold")["test_mae"].median()
    row = found.points.iloc[0]
    assert row["mae_median"] == pytest.approx(by_fold.mean())
    assert (row["mae_min"], row["mae_max"]) == (by_fold.min(), by_fold.max())
    assert found.baselines["cell"].tolist() == ["Naive", "Drift", "Ridge", "Theta"]
    text = (found.path / "comparison.md").read_text()
    assert "mean (minimum to maximum) over 2 folds of the median of 2 seeds" in text
    assert found.conclusion in text


def test_the_verdict_is_that_of_the_losses_of_all_folds(compared):
    found, _ = compared
    name = found.baselines.loc[found.baselines["mae_median"].idxmin(), "cell"]
    hidden, own, others = found.points.iloc[0]["hidden_size"], [], []
    for fold in (1, 2):
        seeds = [losses_of(found.path, fold, f"lstm-{hidden}-0.01-{seed}") for seed in (0, 1)]
        own.append(np.mean(seeds, axis=0))
        others.append(losses_of(found.path, fold, name))
    expected = verdict_of(own, others, 1)
    row = found.table.iloc[0]
    assert (row["verdict"], row["p_value"]) == expected
    assert expected.word == "worse"
    assert f"{name} would have done better" in found.conclusion
    errors = found.runs[found.runs["fold"] == 1]["test_mae"].mean()
    assert own[0].mean() == pytest.approx(errors)


def test_losses_of_several_series_are_in_units_of_their_change(make_data):
    values = np.cumsum(np.random.default_rng(0).normal(size=60))
    data = make_data({"a": values, "b": 100 * values, "flat": np.ones(60)}, horizon=2)
    forecasts = data.target_values("test") + np.where(data.test.series == 1, 100.0, 1.0)[:, None]
    losses = origin_losses(data, forecasts)
    assert len(losses) == len(np.unique(data.test.target_index))
    scale = np.abs(np.diff(values[: data.boundaries[0, 0]])).mean()
    np.testing.assert_allclose(losses, 1 / scale)
    assert origin_losses(data, np.where(data.test.series[:, None] == 1, np.nan, forecasts)) is None


def test_verdicts():
    random = np.random.default_rng(0)
    base = random.uniform(1, 2, 200)
    assert (
        verdict_of([base[:100] - 0.5, base[100:] - 0.4 - 0.01 * base[100:]], [base[:100], base[100:]], 1).word
        == "better"
    )
    assert verdict_of([base + random.normal(0, 0.5, 200)], [base], 1).word == "level"
    same = verdict_of([base], [base], 1)
    assert (same.word, pd.isna(same.p_value)) == ("level", True)
