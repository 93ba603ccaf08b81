import numpy as np
import pandas as pd
from saved_figures import lines

from qkan.forecasting.comparison.plots import save_comparison_plot
from qkan.forecasting.config import CELL_NAMES


def points(**columns) -> pd.DataFrame:
    frame = pd.DataFrame({"cell": ["lstm", "lstm", "qkan", "qkan"], "parameters": [40, 400, 30, 300]})
    frame["mae_median"] = [2.0, 1.0, 3.0, 1.5]
    frame["mae_min"], frame["mae_max"] = frame["mae_median"] * 0.9, frame["mae_median"] * 1.2
    frame["seconds"], frame["predict_seconds"] = 12.0, 0.5
    return frame.assign(**columns)


def baselines(**errors) -> pd.DataFrame:
    names = [name.replace("_", "(") + ")" * ("_" in name) for name in errors]
    return pd.DataFrame({"cell": names, "mae_median": [*errors.values()], "seconds": 3.0, "predict_seconds": 0.25})


BASELINES = baselines(Naive=5.0, Ridge=4.0, SeasonalNaive_3=7.0, ETS=3.5)
AFTER = "(3 s + 0.25 s)"


def test_comparison_plot_shows_curves_fronts_and_baselines(drawn, tmp_path):
    save_comparison_plot(tmp_path / "c.png", points(), BASELINES, title="telecom", unit="calls")
    axes = drawn[0].axes[0]
    shown = lines(drawn[0])
    np.testing.assert_array_equal(shown["front of all"].get_xdata(), [30, 40, 300, 400])
    np.testing.assert_array_equal(shown["front, LSTM and GRU"].get_xdata(), [40, 400])
    np.testing.assert_array_equal(shown["front, QKAN-LSTM and HQKAN-LSTM"].get_xdata(), [30, 300])
    for name, error in (("Naive", 5), ("Ridge", 4), ("ETS", 3.5)):
        assert shown[f"{name} {AFTER}"].get_ydata() == [error, error]
    assert f"SeasonalNaive(3) {AFTER}" not in shown
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"LSTM (12 s + 0.5 s)", "QKAN-LSTM (12 s + 0.5 s)"} <= set(legend)
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "log", "test MAE [calls]")


def test_cells_of_one_size_stand_below_each_other_the_lowest_error_first(drawn, tmp_path):
    cells = list(CELL_NAMES)
    frame = pd.DataFrame({"cell": cells, "parameters": 1200, "seconds": 1.0, "predict_seconds": 0.5})
    frame["mae_median"] = np.arange(len(cells), 0.0, -1.0)
    frame["mae_min"], frame["mae_max"] = frame["mae_median"] * 0.5, frame["mae_median"] * 2
    save_comparison_plot(tmp_path / "c.png", frame, baselines(Naive=1.5, Ridge=100.0), title="x", unit="m")
    axes = drawn[0].axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    names = [f"{CELL_NAMES[cell]} (1,200)  {error:.3g}" for cell, error in zip(cells, frame["mae_median"], strict=True)]
    assert labels == [names[-1], "Naive  1.5", *names[-2::-1], "Ridge  100"]
    assert axes.yaxis_inverted()
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "test MAE [m]")
    spread, middle = axes.lines[:2]
    assert (list(spread.get_xdata()), list(middle.get_xdata())) == ([0.5, 2], [1])


def test_diverged_points_are_not_drawn(drawn, tmp_path):
    frame = points(mae_max=[2.2, np.inf, 3.3, 1.7])
    save_comparison_plot(tmp_path / "c.png", frame, baselines(Naive=5.0), title="x", unit="")
    np.testing.assert_array_equal(lines(drawn[0])["front of all"].get_xdata(), [30, 40, 300])


def test_narrow_ranges_of_errors_still_get_labels(drawn, tmp_path):
    frame = points(mae_median=[13.1, 12.9, 13.2, 13.0], mae_min=[13.0, 12.8, 13.1, 12.9], mae_max=[13.3] * 4)
    save_comparison_plot(tmp_path / "c.png", frame, baselines(Naive=15.4), title="x", unit="")
    labels = [text.get_text() for text in drawn[0].axes[0].get_yticklabels()]
    assert len([label for label in labels if label]) >= 3


def test_naive_errors_far_above_the_cells_are_named_and_not_drawn(drawn, tmp_path):
    frame = points(mae_median=[13.1, 12.9, 13.2, 13.0], mae_min=[13.0, 12.8, 13.1, 12.9], mae_max=[13.3] * 4)
    save_comparison_plot(tmp_path / "c.png", frame, baselines(Naive=15.42), title="x", unit="")
    shown = lines(drawn[0])
    assert len(shown[f"Naive {AFTER}: 15.42, outside of the plot"].get_ydata()) == 0
    assert drawn[0].axes[0].get_ylim()[1] < 15
