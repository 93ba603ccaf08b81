"""The page: complete, one file, safe against what users call things, never half-written."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting import RunError
from qkan.forecasting.evaluation import compare_models, fit_conformal, mase_scales
from qkan.forecasting.report import page, write_report

HOSTILE = '<script>alert(1)</script> & "$x_1" \'ü\x07'


def test_a_table_that_goes_on_beyond_the_screen_shows_it() -> None:
    """A shade at the edge behind which it goes on, and the names of its rows stay where they are."""
    style = (Path(page.__file__).parent / "report.css").read_text(encoding="utf-8")
    rule = style.partition(".wide {")[2].partition("}")[0]
    assert "overflow-x: auto" in rule
    assert rule.count("local") == rule.count("scroll,") + rule.count("scroll;") == 2
    assert ".wide td:first-child { position: sticky; left: 0; background: var(--paper);" in style


class Page(HTMLParser):
    """What a parser finds: balanced elements, images, the text of every table, the numbers of every chart."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.numbers: dict[str, dict] = {}
        self.scripts: list[str] = []
        self.verdict = ""
        self.attributes: dict[str, str] = {}
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.rows: list[list[tuple[str, bool]]] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        found = dict(attrs)
        self.names.add(tag)
        self.attributes = found
        self.addresses += [found[name] for name in ("src", "href", "srcset", "action") if name in found]
        assert not [name for name in found if name.startswith("on")]
        if found.get("role") == "img":
            self.images.append(found["aria-label"])
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(("", found.get("class") == "best"))
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] == "script":
            if self.attributes.get("type") == "application/json":
                self.numbers[self.attributes["id"]] = json.loads(data)
            else:
                self.scripts.append(data)
        if self.open and self.open[-1] == "p" and self.attributes.get("class") == "verdict":
            self.verdict += data
        if self.open and self.open[-1] in ("td", "th"):
            text, best = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data, best)
        if self.open and self.open[-1] == "h2":
            self.headings[-1] += data

    def row(self, *begin: str) -> list[tuple[str, bool]]:
        """Return the first row whose first cells have these texts."""
        return next(row for row in self.rows if [text for text, _ in row[: len(begin)]] == list(begin))


@pytest.fixture(scope="module")
def frame(make_frame) -> pd.DataFrame:
    whole = make_frame(series=2, origins=80, horizon=3, dates=True)
    cutoffs = np.sort(whole["cutoff"].unique())
    calibration, test = (whole[whole["cutoff"] < cutoffs[40]], whole[whole["cutoff"] >= cutoffs[40]])
    return fit_conformal(calibration, models=["good"]).apply(test).reset_index(drop=True)


@pytest.fixture(scope="module")
def small(make_frame) -> pd.DataFrame:
    """Enough for a page: what these tests look at is the file."""
    return make_frame(series=1, origins=5, only=1.0)


@pytest.fixture(scope="module")
def training() -> pd.DataFrame:
    return pd.DataFrame(
        {"unique_id": ["s0", "s1"] * 20, "ds": np.repeat(np.arange(20), 2), "y": np.arange(40.0) ** 1.1}
    )


@pytest.fixture(scope="module")
def written(frame: pd.DataFrame, training: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("report") / "new folder" / "report.html"
    found = write_report(
        path,
        frame,
        title="Noise",
        training=training,
        facts={"source": "made here"},
        settings={"window": 24},
        notes=["Only the end was looked at."],
        commands=["qkan report runs/x"],
        failures=pd.DataFrame({"model": ["SARIMA"], "unique_id": ["s1"], "reason": ["too short"]}),
        unit="calls",
    )
    return Page(path.read_text(encoding="utf-8")), path.read_text(encoding="utf-8"), found


def test_the_page_has_all_parts(written) -> None:
    page, text, _ = written
    assert page.headings == [
        "Forecasts and what came of them", "Accuracy", "Is the difference more than chance?", "Intervals", "Residuals",
        "What could not be fitted", "Data", "Settings", "How to make this report",
    ]  # fmt: skip
    assert text.startswith("<!doctype html>")
    assert page.verdict == "good forecasts better than bad."
    assert "Only the end was looked at." in text
    assert "qkan report runs/x" in text
    assert [word for word, _ in page.row("SARIMA")] == ["SARIMA", "s1", "too short"]
    assert [word for word, _ in page.row("source")] == ["source", "made here"]
    assert [word for word, _ in page.row("series", "2")] == ["series", "2"]
    assert [word for word, _ in page.row("origins per series")][1] == "40"
    assert [word for word, _ in page.row("window")] == ["window", "24"]


def test_numbers_are_those_of_the_functions(written, frame: pd.DataFrame, training: pd.DataFrame) -> None:
    page, _, found = written
    good = found.pooled.set_index("model").loc["good"]
    errors, intervals = [row for row in page.rows if row[0][0] == "good"][0::2][:2]  # pooled, (median,) intervals
    assert errors == [("good", False), *((f"{good[name]:.4g}", True) for name in ("mae", "rmse", "smape", "mase"))]
    columns = ["coverage-80", "width-80", "winkler-80", "coverage-90", "width-90", "winkler-90", "quantile_loss"]
    assert [text for text, _ in intervals[1:]] == [f"{good[name]:.4g}" for name in columns]
    assert not any(best for _, best in page.row("bad"))
    test = compare_models(frame, "good", loss="squared", scales=mase_scales(training)).iloc[0]
    words = [word for word, _ in page.row("bad", "squared")]
    assert words[2:5] == ["40", f"{test['difference']:.4g}", f"{test['statistic']:.4g}"]
    assert words[-1] == "good is better"


def test_the_page_needs_nothing_else(written) -> None:
    """Links lead to parts of the page, figures to their own shapes; one script runs, and the page allows no other."""
    page, text, _ = written
    assert all(address.startswith("#") for address in page.addresses)
    assert not page.names & {"img", "link", "iframe", "object", "embed", "form", "base"}
    assert not re.search(r"url\((?!#)", text)
    assert "@import" not in text
    assert not re.search(r"https?://", text)
    assert len(page.scripts) == 1
    digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'\"" in text


def test_every_image_is_a_picture_with_words(written) -> None:
    page, text, _ = written
    assert len(page.images) == 5  # two series, errors by step, coverage, residuals
    assert min(map(len, page.images)) > 20
    assert text.count("var(--ink)") > 50
    assert not re.search("#123456|#d55e00|xmlns|<metadata", text)  # colours are those of the page


def test_the_numbers_of_the_chart_are_those_of_the_frame(written, frame: pd.DataFrame) -> None:
    page, _, _ = written
    chart = page.numbers["numbers-judged"]
    assert chart["models"] == ["good", "bad"]
    assert [part["name"] for part in chart["series"]] == ["s0", "s1"]
    part = chart["series"][0]
    last = frame[(frame["unique_id"] == "s0") & (frame["cutoff"] == frame["cutoff"].max())]
    assert part["count"] == len(part["y"]) == 42  # 40 origins and three steps: every third of them, from the last one
    assert part["dated"]
    assert part["begin"] + 41 * part["apart"] == last["ds"].max().timestamp()
    np.testing.assert_allclose(part["y"][-3:], last["y"], atol=1e-3)
    np.testing.assert_allclose(part["models"]["bad"][-3:], last["bad"], atol=1e-3)
    assert [band["level"] for band in part["bands"]] == ["90", "80"]
    np.testing.assert_allclose(part["bands"][1]["low"][-3:], last["good-lo-80"], atol=1e-3)


def test_the_page_is_made_for_a_phone(written) -> None:
    _, text, _ = written
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count('<div class="wide"') == text.count("<caption>")
    assert ".wide { overflow-x: auto;" in text


def test_hostile_names_are_text(frame: pd.DataFrame, tmp_path: Path) -> None:
    hostile = frame.rename(columns=lambda name: name.replace("good", HOSTILE)).replace({"unique_id": {"s0": HOSTILE}})
    write_report(
        tmp_path / "r.html", hostile, title=HOSTILE, facts={HOSTILE: HOSTILE}, notes=[HOSTILE], commands=[HOSTILE],
        unit=HOSTILE, failures=pd.DataFrame({"model": [HOSTILE], "unique_id": [HOSTILE], "reason": [HOSTILE]}),
    )  # fmt: skip
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert (len(page.scripts), list(page.numbers)) == (1, ["numbers-judged"])
    assert [(HOSTILE, False), (HOSTILE, False)] in page.rows  # of the facts
    assert page.numbers["numbers-judged"]["models"][0] == HOSTILE.replace("\x07", "?")


def test_equal_input_gives_equal_bytes(small: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(tmp_path / name, small, title="Noise")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_single_model_of_a_single_series(make_frame, tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", make_frame(series=1, only=1.0), title="One")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "There is one model only, so nothing to compare." in text
    assert "No model has prediction intervals." in text
    assert page.verdict.startswith("The mean absolute error of only is ")
    assert len(page.images) == 2  # the series, the residuals
    assert not any(best for row in page.rows for _, best in row)


def test_a_model_with_other_intervals_is_no_rival_of_itself(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Its forecasts are the same: it has a row in the table of intervals, and no other."""
    both = frame.assign(**{"good (conformal)": frame["good"]})
    for end in ("lo", "hi"):
        both[f"good (conformal)-{end}-80"] = both[f"good-{end}-80"]
    write_report(tmp_path / "r.html", both, title="Two intervals", reference="good")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.verdict == "good forecasts better than bad."
    assert page.numbers["numbers-judged"]["models"] == ["good", "bad"]
    assert len([row for row in page.rows if row[0][0] == "good (conformal)"]) == 1
    assert len([row for row in page.rows if row[0][0] == "good"]) == 4  # errors, their median, intervals, residuals


def test_a_model_without_some_series_is_never_best(make_frame, tmp_path: Path) -> None:
    frame = make_frame(series=2)
    frame.loc[frame["unique_id"] == "s1", "good"] = np.nan
    write_report(tmp_path / "r.html", frame, title="Lacking", reference="bad")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert [word for word, _ in page.row("good")][1] == "1"
    assert not any(best for _, best in page.row("good"))
    assert page.row("bad")[2][1]


def test_times_are_those_of_the_readers_clocks(small: pd.DataFrame, tmp_path: Path) -> None:
    for hours in (100, -100, 0):  # set back and forth by more than a step; 0 repeats every second time
        write_report(
            tmp_path / "r.html", small, title="Noise", overwrite=True,
            wall_times=lambda times, hours=hours: times + hours if hours else times // 2,
        )  # fmt: skip
        page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
        first, last = (1 + hours, 5 + hours) if hours else (0, 2)
        assert page.row("first and last value forecast")[1][0] == f"{first} to {last}"
        part = page.numbers["numbers-judged"]["series"][0]
        assert part.get("begin", part.get("at", [None])[0]) == first


def test_times_of_a_time_zone_are_shown_as_its_clocks_do(make_frame, tmp_path: Path) -> None:
    frame = make_frame(series=1, origins=5, only=1.0)
    for name in ("ds", "cutoff"):
        frame[name] = pd.Timestamp("2024-07-01", tz="Europe/Rome") + pd.to_timedelta(frame[name], unit="h")
    write_report(tmp_path / "r.html", frame, title="Rome")
    chart = Page((tmp_path / "r.html").read_text(encoding="utf-8")).numbers["numbers-judged"]["series"][0]
    first = frame["ds"].min().tz_localize(None)
    assert (chart["begin"], chart["apart"]) == ((first - pd.Timestamp(0)).total_seconds(), 3600)


def test_an_existing_file_is_replaced_only_when_asked(small, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(
        RunError, match=r"r.html exists already; choose another file, or replace it with overwrite=True"
    ):
        write_report(path, small, title="x")
    assert path.read_text() == "mine"
    write_report(path, small, title="x", overwrite=True)
    assert path.read_text().startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_places_that_cannot_be_written_are_one_sentence(small, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is a folder; give the name of a file"):
        write_report(tmp_path, small, title="x", overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot make the folder .*file"):
        write_report(tmp_path / "file" / "r.html", small, title="x")


def test_a_failed_write_leaves_the_old_file(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*r.html: No space left on device"):
        write_report(path, small, title="x", overwrite=True)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("r.html", "old")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"reference": "best"}, "there is no model 'best' in the frame"),
        ({"levels": [120]}, "level 120 is out of range"),
        ({"season": 0}, "season must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_arguments_write_nothing(arguments, sentence: str, small, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        write_report(tmp_path / "r.html", small, title="x", **arguments)
    with pytest.raises(ValueError, match="no model of the frame has a forecast of any series"):
        write_report(tmp_path / "r.html", small.assign(only=np.nan), title="x")
    assert not list(tmp_path.iterdir())
