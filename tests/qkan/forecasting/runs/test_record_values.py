"""Values of a record that are of another type or size than was written, with a right sum over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qkan.datasets import DataError, Scaler
from qkan.forecasting import TrainConfig
from qkan.forecasting.io.files import RunError
from qkan.forecasting.runs.record import parse_record, run_record

CONFIG = TrainConfig(data="telecom", cell="lstm")
SCALER = Scaler("minmax", ("a",), (0.0,), (1.0,))
DATA: dict[str, Any] = {"fingerprint": "0", "frequency": "h", "step": None}


def test_whole_numbers_of_hundreds_of_digits() -> None:
    for name in ("levels", "lr", "split"):
        with pytest.raises(ValueError, match="must be a number that float64 holds, got 1000"):
            TrainConfig.from_dict({**CONFIG.to_dict(), name: 10**400 if name == "lr" else [10**400, 1, 2]})
    for name in ("offset", "scale"):
        with pytest.raises(DataError, match=r"the numbers of the scaler cannot be read \(int too large"):
            Scaler.from_dict({**SCALER.to_dict(), name: [10**400]})


@pytest.mark.parametrize(
    "facts", [{"frequency": 7}, {"frequency": "soon"}, {"frequency": ["h"]}, {"step": "1"}, {"step": True}]
)
def test_what_is_known_of_the_data(facts: dict[str, Any]) -> None:
    parse_record(Path("config.json"), run_record(CONFIG, DATA, SCALER))
    with pytest.raises(RunError, match=r"config\.json lacks fingerprint or frequency of its data; restore the file"):
        parse_record(Path("config.json"), run_record(CONFIG, {**DATA, **facts}, SCALER))
