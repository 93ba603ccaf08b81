"""What a page says first, in plain words."""

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting.report.verdict import judge, lines_to_draw


def pooled(series: int = 1, mase: bool = False, **mae: float) -> pd.DataFrame:
    errors = np.array(list(mae.values()))
    return pd.DataFrame({"model": list(mae), "series": series, "mae": errors, "mase": errors / 2 if mase else np.nan})


def outcomes(reference: float, p: float = 0.001, **errors: float) -> pd.DataFrame:
    differences = [reference - error for error in errors.values()]
    return pd.DataFrame({"model": list(errors), "difference": differences, "p_holm": p})


def test_better_than_all() -> None:
    found = judge(
        pooled(QKAN=9.0, Naive=12.0, Ridge=10.0, ETS=9.5), outcomes(9, Naive=12, Ridge=10, ETS=9.5), "QKAN", "calls"
    )
    assert found.headline == "QKAN forecasts better than all 3 methods beside it."
    assert [side.against for side in found.sides] == [
        "Naive",
        "Ridge",
        "ETS",
    ]  # those who are known, and the best other
    assert [side.change for side in found.sides] == [
        "25.0 % less error than Naive",
        "10.0 % less error than Ridge",
        "5.3 % less error than ETS",
    ]
    assert found.sides[0].numbers == "9 instead of 12 calls."
    assert found.sides[0].test.replace("\u00a0", " ") == "More than chance (Diebold-Mariano, p = 0.001)."
    assert {side.kind for side in found.sides} == {"better"}
    assert found.measure == "the mean absolute error"
    assert lines_to_draw("QKAN", pooled(QKAN=9.0, Naive=12.0, Ridge=10.0, ETS=9.5), found) == (
        "QKAN",
        "ETS",
        "Ridge",
        "Naive",
    )


@pytest.mark.parametrize(
    ("errors", "p", "headline", "kind"),
    [
        (
            (9.0, 10.0),
            0.2,
            "M has the smallest error, but the difference to LSTM is no more than chance.",
            "level",
        ),
        (
            (10.0, 9.0),
            0.2,
            "LSTM has the smallest error, but the difference to M is no more than chance.",
            "level",
        ),
        ((10.0, 9.0), 0.01, "LSTM forecasts better than M.", "worse"),
        ((9.0, 10.0), 0.01, "M forecasts better than LSTM.", "better"),
        (
            (9.0, 10.0),
            np.nan,
            "M has a smaller error than LSTM, but there are too few origins to tell it from chance.",
            "untested",
        ),
        ((5.0, 5.0), np.nan, "M and LSTM make the same error.", "untested"),
        ((0.0, 0.0), np.nan, "M and LSTM make the same error.", "untested"),
    ],
)
def test_headlines(errors: tuple[float, float], p: float, headline: str, kind: str) -> None:
    own, other = errors
    found = judge(pooled(M=own, LSTM=other), outcomes(own, p, LSTM=other), "M", "")
    assert (found.headline, found.sides[0].kind) == (headline, kind)


@pytest.mark.parametrize(
    ("own", "other", "change"),
    [
        (0.0, 0.0, "The same error as Naive: none"),
        (1.0, 0.0, "More error than Naive, which makes none"),
        (0.0, 1.0, "100.0 % less error than Naive"),
        (1.0001, 1.0, "The same error as Naive"),
        (3.0, 1.0, "200.0 % more error than Naive"),
    ],
)
def test_changes(own: float, other: float, change: str) -> None:
    assert judge(pooled(M=own, Naive=other), outcomes(own, Naive=other), "M", "").sides[0].change == change


def test_one_model_is_told_by_its_error() -> None:
    found = judge(pooled(M=1.5), None, "M", "kW")
    assert (found.headline, found.sides) == ("The mean absolute error of M is 1.5 kW.", ())


def test_several_series_are_judged_in_units_of_their_change() -> None:
    found = judge(pooled(3, True, M=4.0, Naive=8.0), outcomes(4, Naive=8), "M", "calls")
    assert found.measure == "the MASE"
    assert found.sides[0].numbers == "2 instead of 4."
    assert (
        judge(pooled(3, False, M=4.0, Naive=8.0), outcomes(4, Naive=8), "M", "calls").sides[0].numbers
        == "4 instead of 8 calls."
    )


def test_a_test_that_weighs_series_in_another_way_is_no_proof() -> None:
    found = judge(pooled(3, True, M=4.0, Naive=8.0), outcomes(8, Naive=4), "M", "")
    assert found.sides[0].kind == "level"
    assert found.sides[0].test.startswith("Series weigh differently in the test, which says the contrary")


def test_models_that_lack_series_are_no_rivals() -> None:
    table = pd.concat([pooled(2, M=4.0, Naive=8.0), pooled(1, Ridge=1.0)], ignore_index=True)
    assert judge(table, outcomes(4, Naive=8), "M", "").headline == "M forecasts better than Naive."
    lacking = judge(table, None, "Ridge", "")
    assert lacking.headline == "Ridge lacks some series, so it cannot be judged beside the others."
    assert lines_to_draw("Ridge", table, lacking) == ("Ridge", "M", "Naive")
