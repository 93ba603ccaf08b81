"""Forecasts with all defaults of small series that everybody knows, beside the simple methods.

``python -m benchmarks.small_series`` prints the table of docs/guides/forecasting.md: test MAE of a QKAN-LSTM with no
option but its data, median of the seeds, with dates and with the rows in their order only.
"""

from __future__ import annotations

import argparse
import statistics
import warnings

import numpy as np
import pandas as pd

from qkan.datasets import Series, series_from_frame
from qkan.forecasting.config import FRAME, TrainConfig, model_name
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.data.load import as_cut, cut_windows
from qkan.forecasting.runs.evaluation import Evaluation, evaluate_model
from qkan.forecasting.training.fitting import fit_forecaster

# Monthly airline passengers in thousands, 1949 to 1960 (Box and Jenkins 1976, series G).
AIR_PASSENGERS = np.array(
    [
        *(112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170, 158, 133),
        *(114, 140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181, 183, 218, 230, 242),
        *(209, 191, 172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201, 204, 188, 235, 227, 234, 264),
        *(302, 293, 259, 229, 203, 229, 242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278, 284, 277, 317, 313),
        *(318, 374, 413, 405, 355, 306, 271, 306, 315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336, 340, 318),
        *(362, 348, 363, 435, 491, 505, 404, 359, 310, 337, 360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405),
        *(417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432),
    ],
    dtype=np.float64,
)


def small_series() -> dict[str, pd.DataFrame]:
    """Return frames of ``ds`` and ``y`` by name: AirPassengers, and series that statsmodels brings along."""
    from statsmodels import datasets

    def dated(first: str, freq: str, values: object) -> pd.DataFrame:
        y = np.asarray(values, dtype=np.float64).ravel()
        return pd.DataFrame({"ds": pd.date_range(first, periods=len(y), freq=freq), "y": y})

    co2 = datasets.co2.load_pandas().data["co2"].resample("MS").mean().interpolate()
    macro = datasets.macrodata.load_pandas().data
    return {
        "AirPassengers, monthly": dated("1949-01", "MS", AIR_PASSENGERS),
        "co2, monthly": dated(str(co2.index[0]), "MS", co2),
        "elnino, monthly": dated("1950-01", "MS", datasets.elnino.load_pandas().data.set_index("YEAR")),
        "sunspots, yearly": dated("1700", "YS", datasets.sunspots.load_pandas().data["SUNACTIVITY"]),
        "nile, yearly": dated("1871", "YS", datasets.nile.load_pandas().data["volume"]),
        **{f"macrodata {name}, quarterly": dated("1959", "QS", macro[name]) for name in ("realgdp", "unemp", "infl")},
    }


def default_scores(series: Series, cell: str = "qkan", seed: int = 0) -> tuple[TrainConfig, dict[str, float]]:
    """Return the options that a training with all defaults takes, and test MAEs by name, the model's first."""
    config, found = evaluate_sized(TrainConfig(data=FRAME, cell=cell, seed=seed), series)
    return config, {name: float(own["mae"]) for name, own in found.scores.items() if own["mae"] is not None}


def evaluate_sized(config: TrainConfig, series: Series, **given: object) -> tuple[TrainConfig, Evaluation]:
    """Train with the options that a series leaves open as it suggests; ``given`` as of :func:`sized`."""
    config = sized(config, series, given)
    data = cut_windows(series, config)
    fitted = fit_forecaster(as_cut(config, data), data)
    return fitted.config, evaluate_model(fitted.model.cpu().eval(), config.model_name, data)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", default="qkan")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    head = (model_name(asked.cell), model_name("seasonal-naive"), model_name("naive"), model_name("ridge"))
    print("| series | window, horizon | " + " | ".join(head) + " |\n" + "|---" * 6 + "|")
    for name, frame in small_series().items():
        for given, form in ((frame, ""), (frame[["y"]], ", without dates")):
            found = [default_scores(series_from_frame(given), asked.cell, seed) for seed in range(asked.seeds)]
            config, scores = found[0]
            own = statistics.median(mae[head[0]] for _, mae in found)
            seasonal = [mae for other, mae in scores.items() if other.startswith(head[1])]
            shown = (own, *seasonal[:1], *[None] * (not seasonal), scores[head[2]], scores[head[3]])
            cells = ("-" if value is None else f"{value:.4g}" for value in shown)
            print(f"| {name}{form} | {config.window}, {config.horizon} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
