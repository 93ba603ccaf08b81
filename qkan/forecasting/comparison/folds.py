"""The data of a comparison: one split, or several origins whose window of known values expands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.config import CompareConfig
from qkan.forecasting.data.load import as_cut, cut_windows

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Series


def cut_folds(series: Series, config: CompareConfig) -> list[ForecastData]:
    """Cut a series into the windows of every fold; see :class:`qkan.datasets.Fold`.

    Seasons are found, and short series left out, in the training part of the first fold, and hold for all.

    Raises:
        DataError: the series is too short for a window in every part of a fold.
    """
    from qkan.datasets import DataError, Fold, SplitFractions

    if config.folds == 1:
        return [cut_windows(series, config)]
    split = SplitFractions(*config.split)
    found: list[ForecastData] = []
    for number in range(config.folds):
        fold = Fold(split, number, config.folds)
        try:
            data = cut_windows(series, config, split=fold)
        except DataError as error:
            raise DataError(
                f"fold {number + 1} of {config.folds} cannot be cut: {error}; or use fewer folds than --folds "
                f"{config.folds}"
            ) from error
        ends = np.array([fold.end(int(length)) for length in data.series.lengths])
        test = data.test.pick(data.test.target_index + data.horizon <= ends[data.test.series])
        if len(np.unique(test.series)) < len(data.ids):
            sizes = ends - data.boundaries[:, 1]
            raise DataError(
                f"fold {number + 1} of {config.folds} tests on {int(sizes.min())} values of series "
                f"{data.ids[int(sizes.argmin())]!r}, fewer than horizon={data.horizon}; use fewer folds or a smaller "
                "horizon"
            )
        found.append(replace(data, test=test))
        series, config = data.series, as_cut(config, data)
    return found
