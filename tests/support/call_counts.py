"""How often a training does what it should do once."""

from collections.abc import Callable

import pytest

Counts = dict[str, int]


def count_calls(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Count from now on how often data are read and cut, models built and naive baselines computed."""
    from qkan import datasets
    from qkan.forecasting.model import build
    from qkan.forecasting.runs import evaluation, run
    from qkan.forecasting.training import fitting

    counts: Counts = dict.fromkeys(("read", "cut", "build", "baselines"), 0)

    def count(place: object, name: str, what: str) -> None:
        function: Callable[..., object] = getattr(place, name)

        def counted(*arguments: object, **options: object) -> object:
            counts[what] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(place, name, counted)

    count(datasets, "resolve_series", "read")
    count(datasets, "series_from_frame", "read")
    count(datasets, "make_forecast_data", "cut")
    for module in (build, fitting, run):
        count(module, "build_forecaster", "build")
    count(evaluation, "plain_forecasts", "baselines")
    return counts
