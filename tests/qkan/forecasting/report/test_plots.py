import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from qkan.forecasting.report import plots as report
from qkan.forecasting.report.plots import markdown_table, save_comparison_plot, save_forecast_plot, save_loss_plot


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    save = report._save

    def keep(figure: Figure, path):
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(report, "_save", keep)
    return figures


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].get_lines()}


def test_loss_plot_shows_both_losses_and_the_kept_epoch(drawn, tmp_path):
    history = [{"epoch": i, "train_loss": 1 / i, "val_loss": 2 / i, "lr": 0.1} for i in (1, 2, 3)]
    save_loss_plot(tmp_path / "loss.png", history, 2)
    shown = lines(drawn[0])
    assert shown["training"].get_ydata().tolist() == [1, 1 / 2, 1 / 3]
    assert shown["validation"].get_ydata().tolist() == [2, 1, 2 / 3]
    assert shown["kept weights (epoch 2)"].get_xdata() == [2, 2]
    axes = drawn[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "mean squared error (scaled values)")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_loss_plot_without_validation(drawn, tmp_path):
    save_loss_plot(tmp_path / "loss.png", [{"epoch": i, "train_loss": 1.0, "lr": 0.1} for i in range(1, 60)], 59)
    assert "validation" not in lines(drawn[0])


def test_forecast_plot_shows_the_end_of_the_test_part(drawn, tmp_path, make_data):
    values = list(np.arange(1000.0))
    data = make_data({"a": values}, window=3)
    save_forecast_plot(tmp_path / "forecast.png", data, data.target_values("test") + 0.5)
    shown = lines(drawn[0])
    np.testing.assert_array_equal(shown["observed"].get_xdata(), np.arange(800, 1000))
    np.testing.assert_array_equal(shown["model"].get_ydata(), np.arange(800, 1000) + 0.5)
    np.testing.assert_array_equal(shown["naive"].get_ydata(), np.arange(799, 999))
    assert (drawn[0].axes[0].get_xlabel(), drawn[0].axes[0].get_ylabel()) == ("step", "value")


def test_forecasts_of_longer_horizons_follow_each_other(drawn, tmp_path, make_data):
    data = make_data({"a": list(np.arange(60.0)), "b": list(np.arange(60.0))}, window=3, horizon=4)
    save_forecast_plot(tmp_path / "forecast.png", data, data.target_values("test"))
    np.testing.assert_array_equal(lines(drawn[0])["model"].get_xdata(), np.arange(32, 60))


def test_forecast_plot_of_dated_values_names_the_times(drawn, two_series_file, tmp_path):
    from tiny_runs import tiny_config

    from qkan.forecasting.data.load import cut_windows, load_series_of

    config = tiny_config(data=str(two_series_file), time_col="ds")
    data = cut_windows(load_series_of(config), config)
    save_forecast_plot(tmp_path / "forecast.png", data, data.target_values("test"))
    assert drawn[0].axes[0].get_xlabel() == "step of h, from 2024-01-03 00:00 to 2024-01-03 11:00"


def points(**columns) -> pd.DataFrame:
    frame = pd.DataFrame({"cell": ["lstm", "lstm", "qkan", "qkan"], "parameters": [40, 400, 30, 300]})
    frame["mae_median"] = [2.0, 1.0, 3.0, 1.5]
    frame["mae_min"], frame["mae_max"] = frame["mae_median"] * 0.9, frame["mae_median"] * 1.2
    return frame.assign(**columns)


BASELINES = {"naive": {"mae": 5.0}, "seasonal naive (3)": {"mae": 7.0}, "seasonal naive (9)": {"mae": 6.0}}


def test_comparison_plot_shows_curves_fronts_and_baselines(drawn, tmp_path):
    save_comparison_plot(tmp_path / "c.png", points(), BASELINES, title="telecom", unit="calls")
    axes = drawn[0].axes[0]
    shown = lines(drawn[0])
    np.testing.assert_array_equal(shown["front of all"].get_xdata(), [30, 40, 300, 400])
    np.testing.assert_array_equal(shown["front, classical (lstm, gru)"].get_xdata(), [40, 400])
    np.testing.assert_array_equal(shown["front, circuit (qkan, hqkan)"].get_xdata(), [30, 300])
    assert shown["naive"].get_ydata() == [5, 5]
    assert shown["seasonal naive (9)"].get_ydata() == [6, 6]
    assert "seasonal naive (3)" not in shown
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"lstm", "qkan"} <= set(legend)
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "log", "test MAE [calls]")


def test_diverged_points_are_not_drawn(drawn, tmp_path):
    frame = points(mae_max=[2.2, np.inf, 3.3, 1.7])
    save_comparison_plot(tmp_path / "c.png", frame, {"naive": {"mae": 5.0}}, title="x", unit="")
    np.testing.assert_array_equal(lines(drawn[0])["front of all"].get_xdata(), [30, 40, 300])


def test_narrow_ranges_of_errors_still_get_labels(drawn, tmp_path):
    frame = points(mae_median=[13.1, 12.9, 13.2, 13.0], mae_min=[13.0, 12.8, 13.1, 12.9], mae_max=[13.3] * 4)
    save_comparison_plot(tmp_path / "c.png", frame, {"naive": {"mae": 15.4}}, title="x", unit="")
    labels = [text.get_text() for text in drawn[0].axes[0].get_yticklabels()]
    assert len([label for label in labels if label]) >= 3


def test_naive_errors_far_above_the_cells_are_named_and_not_drawn(drawn, tmp_path):
    frame = points(mae_median=[13.1, 12.9, 13.2, 13.0], mae_min=[13.0, 12.8, 13.1, 12.9], mae_max=[13.3] * 4)
    save_comparison_plot(tmp_path / "c.png", frame, {"naive": {"mae": 15.42}}, title="x", unit="")
    shown = lines(drawn[0])
    assert len(shown["naive: 15.42, above the picture"].get_ydata()) == 0
    assert drawn[0].axes[0].get_ylim()[1] < 15


def test_drawing_uses_no_global_state(tmp_path, finished_run):
    import sys

    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_markdown_table():
    frame = pd.DataFrame({"cell": ["a", "b"], "error": [1.23456, np.nan], "n": [1, 2], "x": ["-", None]})
    assert markdown_table(frame) == (
        "| cell | error | n | x |\n| --- | --- | --- | --- |\n| a | 1.235 | 1 | - |\n| b | - | 2 | - |\n"
    )
