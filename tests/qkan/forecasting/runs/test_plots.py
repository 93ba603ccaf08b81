import numpy as np
from saved_figures import lines

from qkan.forecasting.baselines.simple import naive
from qkan.forecasting.runs.plots import save_forecast_plot, save_loss_plot


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
    save_loss_plot(tmp_path / "loss.png", history, 0)
    assert "kept weights (the start)" in lines(drawn[1])


def test_loss_plot_without_validation(drawn, tmp_path):
    save_loss_plot(tmp_path / "loss.png", [{"epoch": i, "train_loss": 1.0, "lr": 0.1} for i in range(1, 60)], 59)
    assert "validation" not in lines(drawn[0])


def test_forecast_plot_shows_the_end_of_the_test_part(drawn, tmp_path, make_data):
    values = list(np.arange(1000.0))
    data = make_data({"a": values}, window=3)
    save_forecast_plot(
        tmp_path / "forecast.png", data, {"LSTM": data.target_values("test") + 0.5, "Naive": naive(data)}
    )
    shown = lines(drawn[0])
    np.testing.assert_array_equal(shown["observed"].get_xdata(), np.arange(800, 1000))
    np.testing.assert_array_equal(shown["LSTM"].get_ydata(), np.arange(800, 1000) + 0.5)
    np.testing.assert_array_equal(shown["Naive"].get_ydata(), np.arange(799, 999))
    assert (drawn[0].axes[0].get_xlabel(), drawn[0].axes[0].get_ylabel()) == ("step", "value")


def test_forecasts_of_longer_horizons_follow_each_other(drawn, tmp_path, make_data):
    data = make_data({"a": list(np.arange(60.0)), "b": list(np.arange(60.0))}, window=3, horizon=4)
    save_forecast_plot(tmp_path / "forecast.png", data, {"LSTM": data.target_values("test"), "Naive": naive(data)})
    np.testing.assert_array_equal(lines(drawn[0])["LSTM"].get_xdata(), np.arange(32, 60))


def test_forecast_plot_of_dated_values_names_the_times(drawn, two_series_file, tmp_path):
    from tiny_runs import tiny_config

    from qkan.forecasting.data.load import load_windows

    config = tiny_config(data=str(two_series_file), time_col="ds")
    data = load_windows(config)
    save_forecast_plot(tmp_path / "forecast.png", data, {"LSTM": data.target_values("test"), "Naive": naive(data)})
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == "time, by steps of h"
    drawn[0].canvas.draw()
    texts = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert "2024-01-03\n02:00" in texts
    assert all(text.startswith("2024-01-03") for text in texts)


def test_drawing_uses_no_global_state(tmp_path, finished_run):
    import sys

    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
