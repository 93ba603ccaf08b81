"""``qkan forecast`` on files that take a fraction of a second."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FAST = ("--candidates", "drift,seasonal-naive,ridge", "--budget", "none")


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Daily values with a week."""
    path = tmp_path_factory.mktemp("data") / "sales.csv"
    days = np.arange(140)
    y = 10 + 3 * np.sin(2 * np.pi * days / 7) + np.random.default_rng(0).normal(size=140) * 0.1
    times = pd.date_range("2026-01-01", periods=140, freq="D")
    pd.DataFrame({"unique_id": "shop", "ds": times, "y": y}).to_csv(path, index=False)
    return path


def test_a_folder_with_forecast_candidates_origins_and_report(qkan, sales, tmp_path) -> None:
    out = tmp_path / "out"
    done = qkan("forecast", sales, "--horizon", "7", *FAST, "--out", out, "--level", "80")
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out / "forecast.csv")
    record = json.loads((out / "config.json").read_text())
    name = "Combination" if len(record["weights"]) > 1 else next(iter(record["weights"]))
    assert list(table) == ["unique_id", "ds", name, f"{name}-lo-80", f"{name}-hi-80"]
    assert table["ds"].tolist() == [f"2026-05-{day}" for day in range(21, 28)]
    assert set(pd.read_csv(out / "candidates.csv")["model"]) == {"Naive", "Drift", "SeasonalNaive(7)", "Ridge"}
    assert name in pd.read_csv(out / "origins.csv")
    assert (out / "report.html").exists()
    assert "% below Naive" in done.output
    assert done.output.splitlines()[-2:] == [
        f"forecast: {out / 'forecast.csv'}",
        f"report, with a picture of it: {out / 'report.html'}",
    ]


def test_every_candidate_is_made_again_by_its_command(qkan, sales, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert qkan("forecast", sales, "--horizon", "7", *FAST, "--out", "all").exit_code == 0
    record = json.loads(Path("all/config.json").read_text())
    command = next(own["command"] for own in record["candidates"] if own["model"] == "Ridge")
    assert qkan(*command.split()[1:]).exit_code == 0
    first, again = pd.read_csv("all/origins.csv"), pd.read_csv("runs/only-ridge/origins.csv")
    pd.testing.assert_series_equal(first["Ridge"], again["Ridge"])


def test_a_forecast_is_not_overwritten_unasked(qkan, sales, tmp_path) -> None:
    words = ("forecast", sales, "--horizon", "7", *FAST, "--out", tmp_path / "out")
    assert qkan(*words).exit_code == 0
    before = (tmp_path / "out" / "forecast.csv").read_bytes()
    refused = qkan(*words)
    assert (refused.exit_code, refused.output.strip()) == (
        2,
        f"Error: there is a forecast in {tmp_path / 'out'} already; choose another folder, or pass --overwrite",
    )
    assert (tmp_path / "out" / "forecast.csv").read_bytes() == before
    assert qkan(*words, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--budget", "soon"), "'soon' is no duration above 0; write it as 30s, 2min or 1h, or none for no limit"),
        (("--candidates", "ridge,oracle"), "unknown candidate 'oracle'; choose from naive, drift"),
        (("--horizon", "0"), "0 is not in the range"),
        (("--level", "100"), "100"),
        (("--nonnegative", "maybe"), "'maybe' is not one of 'auto', 'yes', 'no'"),
        (("--level", "high"), "'high' is not a list of percentages separated by commas, such as 80,90"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(qkan, sales, tmp_path, words, sentence) -> None:
    done = qkan("forecast", sales, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "out").exists()


def test_other_peoples_folders_stay_as_they_are(qkan, sales, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = qkan("forecast", sales, *FAST, "--out", tmp_path, "--overwrite")
    assert done.exit_code == 2
    assert "holds no automatic forecast; choose another folder" in done.output


def test_a_series_that_is_too_short(qkan, tmp_path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("ds,y\n" + "".join(f"2026-01-{day:02d},{day}\n" for day in range(1, 8)))
    done = qkan("forecast", path, "--horizon", "7", *FAST, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.output.count("7 values are too few to judge anything over a horizon of 7") == 1
    assert pd.read_csv(tmp_path / "out" / "forecast.csv")["Naive"].tolist() == [7.0] * 7
    assert "report" not in done.output


@pytest.mark.parametrize(
    ("rows", "words", "sentence"),
    [
        ([f"{day},4" for day in range(60)], ("--horizon", "80"), "60 values are too few to judge anything"),
        ([f"{day},4" for day in range(60)], ("--horizon", "3"), "Naive wins: mean absolute error 0 over"),
        ([f"{day},{day % 3 == 0:d}" for day in range(60)], ("--horizon", "3"), "% below Naive"),
        ([f"{day},0" for day in range(60)], ("--horizon", "3"), "No forecast and no interval reaches below 0, as all"),
        (
            [f"{day},{-day}" for day in range(60)],
            ("--horizon", "3", "--nonnegative", "yes"),
            "series 'odd' has the value",
        ),
        ([f"{day},{day}" for day in range(10)], ("--horizon", "3"), "over 1 rolling origin."),
        ([f"{day // 2},{day}" for day in range(60)], ("--horizon", "3"), "repeats the time of row 1; drop duplicates"),
        (["0,1", "1,2"], ("--horizon", "3"), "series 'odd' has 2 points; every series needs at least 3"),
        (["0,1", "1,", *[f"{day},2" for day in range(2, 60)]], ("--horizon", "3"), "row 2 of column 'y' is missing"),
        (
            ["0,1", "1,", *[f"{day},{day % 4}" for day in range(2, 60)]],
            ("--horizon", "3", "--missing", "mask"),
            "% below Naive",
        ),
        ([f"{day},1" for day in range(60) if day not in (7, 8)], ("--horizon", "3"), "the times are irregular: row 8"),
    ],
    ids=[
        "long-horizon",
        "constant",
        "counts",
        "zeros",
        "negative",
        "ten-values",
        "twice",
        "two-values",
        "missing",
        "masked",
        "irregular",
    ],
)
def test_odd_data_have_a_finite_forecast_or_one_sentence(qkan, tmp_path, rows, words, sentence) -> None:
    path, out = tmp_path / "odd.csv", tmp_path / "out"
    path.write_text("\n".join(["ds,y", *rows]) + "\n")
    done = qkan("forecast", path, *words, *FAST, "--out", out)
    assert sentence in done.output
    assert "Traceback" not in done.output
    if done.exit_code == 0:
        table = pd.read_csv(out / "forecast.csv")
        assert len(table) == int(words[1])
        assert np.isfinite(table[table.columns[2]]).all()
    else:
        assert done.exit_code == 2
        assert done.output.startswith("Error: ")
        assert not out.exists()
