"""The page as readers see it: on a phone and a desk, light and dark, on paper, with mouse, keys or nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import Browser, check_page

from qkan.forecasting.evaluation import fit_conformal
from qkan.forecasting.report import write_report

LONG = "a district with a name that goes on and on, and-one-word-that-cannot-be-broken-anywhere"


@pytest.fixture(scope="module")
def pages(make_frame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a panel with intervals and of a single short series, with what comes next."""
    folder = tmp_path_factory.mktemp("pages")
    errors = {"QKAN-LSTM": 0.5, "Naive": 2.0, "Ridge": 0.51, "LSTM": 0.7, "SeasonalNaive(24)": 1.5, "ETS": 1.0}
    panel = make_frame(series=3, origins=60, horizon=3, dates=True, **errors).replace({"unique_id": {"s2": LONG}})
    half = np.sort(panel["cutoff"].unique())[30]
    before, after = panel[panel["cutoff"] < half], panel[panel["cutoff"] >= half].reset_index(drop=True)
    last = panel.groupby("unique_id", sort=False)["ds"].max()
    training = pd.DataFrame(
        {"unique_id": np.repeat(last.index, 20), "ds": list(range(20)) * 3, "y": np.arange(60) ** 1.1}
    )
    coming = pd.DataFrame({"unique_id": np.repeat(last.index, 4), "QKAN-LSTM": np.arange(12.0) + 0.5})
    coming["ds"] = np.repeat(last.to_numpy(), 4) + np.tile(np.arange(1, 5), 3) * np.timedelta64(1, "h")
    coming[["QKAN-LSTM-lo-90", "QKAN-LSTM-hi-90"]] = coming[["QKAN-LSTM"]].to_numpy() + np.array([-1.0, 1.0])
    write_report(
        folder / "panel.html", fit_conformal(before, models=["QKAN-LSTM", "Ridge"]).apply(after), title="A panel",
        training=training, season=6, coming=coming, history=panel.drop_duplicates(["unique_id", "ds"]), unit="calls",
        notes=["Only the end was looked at."], commands=["qkan report runs/panel --baselines naive,ridge --levels 90"],
        failures=pd.DataFrame({"model": ["SARIMA"], "unique_id": ["s1"], "reason": ["the series is too short for it"]}),
        settings={"window": 24, "what a setting may say": LONG},
    )  # fmt: skip
    write_report(folder / "short.html", make_frame(series=1, origins=4, only=1.0), title="One short series")
    months = pd.date_range("2022-10-01", periods=13, freq="MS")
    flat = make_frame(series=1, origins=12, a=1.0, b=1.0).assign(y=5.0, a=5.0, b=5.0)
    flat = flat.assign(ds=months[flat["ds"]], cutoff=months[flat["cutoff"]])
    write_report(folder / "constant.html", flat, title="A series that never changes")
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["panel", "short", "constant"])
def test_pages_fit_phones_and_desks(browser: Browser, pages: dict[str, Path], name: str) -> None:
    check_page(browser, pages[name])


def test_months_are_marked_as_months(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["constant"])
    marks = browser.run("Array.from(document.querySelectorAll('.plot .middle'), (mark) => mark.textContent)")
    assert marks == ["Jan", "2023", "Apr", "Jul", "Oct"]


def test_without_scripts_and_on_paper_nothing_is_lost(browser: Browser, pages: dict[str, Path]) -> None:
    """Figures that stand still take the place of charts; tables are as wide as the paper, in the colours of paper."""
    seen = "Array.from(document.querySelectorAll('figure'), (each) => each.getBoundingClientRect().height > 50)"
    for options in ({"scripts": False, "width": 390}, {"paper": True, "width": 690, "dark": True}):
        browser.open(pages["panel"], **options)
        assert not any(browser.audit().values())
        assert (
            browser.run(seen) == [True] * 9
        )  # what comes next and what came, of three series each; steps, coverage, ACF
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert browser.run("document.querySelector('.chart').checkVisibility()") is not bool(options.get("paper"))
    wide = "Array.from(document.querySelectorAll('table'), (each) => each.getBoundingClientRect().right)"
    assert max(browser.run(wide)) <= 690


def test_charts_are_read_with_mouse_and_keys(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["panel"])
    place = "(() => {{ const box = document.querySelectorAll('.plot')[{}].getBoundingClientRect(); {} }})()"
    browser.run(place.format(1, "window.scrollBy(0, box.top - 100)"))
    left, top, wide = browser.run(place.format(1, "return [box.left, box.top, box.width]"))
    browser.mouse("mouseMoved", left + wide / 2, top + 80)
    judged = "document.querySelectorAll('.reading')[1].textContent"
    reading = browser.run(judged)
    for word in ("Jan 2024", "observed", "QKAN-LSTM", "Ridge", "90 %:", "80 %:"):
        assert word in reading
    title = "document.querySelectorAll('.plot svg')[1].getAttribute('aria-label')"
    before = browser.run(title)
    for kind, share in (("mousePressed", 0.5), ("mouseMoved", 0.7), ("mouseReleased", 0.7)):
        browser.mouse(kind, left + share * wide, top + 80)
    assert browser.run(title) != before  # a part was chosen, and is all that is shown
    browser.run("document.querySelectorAll('.plot')[1].focus()")
    browser.press("0")
    assert browser.run(title) == before
    browser.press("ArrowRight")
    first = browser.run(judged)
    browser.press("ArrowRight")
    assert browser.run(judged) != first
    press = "Array.from(document.querySelectorAll('.legend')[1].querySelectorAll('button')).at({}).click()"
    assert "Naive" not in first
    browser.run(press.format(-1))
    assert "Naive" in browser.run(judged)
    browser.run(
        "(() => { const chosen = document.querySelectorAll('select')[1]; chosen.value = 2; "
        "chosen.dispatchEvent(new Event('change')) })()"
    )
    assert browser.run(title).startswith("s1, ")
    assert browser.run("document.querySelectorAll('.plot path.band').length") == 1 + 2


def test_every_control_is_reached_by_tab(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["panel"])
    wanted = browser.run("document.querySelectorAll('a, button, select, [tabindex]').length")
    browser.run("window.met = new Set()")
    for _ in range(wanted):
        browser.press("Tab")
        browser.run("met.add(document.activeElement), 0")
    assert browser.run("met.size") == wanted


def test_tables_are_sorted(browser: Browser, pages: dict[str, Path]) -> None:
    """By numbers where there are numbers, then the other way round, then as before."""
    browser.open(pages["panel"])
    names = "Array.from(document.querySelectorAll('table')[0].tBodies[0].rows, (row) => row.cells[0].textContent)"
    before = browser.run(names)
    button = "document.querySelectorAll('table')[0].tHead.rows[0].cells[1]"
    browser.run(f"{button}.firstChild.click()")
    up = browser.run(names)
    assert (up[0], up[-1]) == ("QKAN-LSTM", "Naive")
    assert browser.run(f"{button}.getAttribute('aria-sort')") == "ascending"
    browser.run(f"{button}.firstChild.click()")
    assert browser.run(names) == up[::-1]
    browser.run(f"{button}.firstChild.click()")
    assert browser.run(names) == before


@pytest.mark.parametrize(
    ("wrong", "body"),
    [
        ("scrolling", "<p style='width: 3000px'>wide wide wide</p><p style='white-space: nowrap'>" + "long " * 200),
        (
            "overlapping",
            "<p style='position: absolute; top: 9px'>one</p><p style='position: absolute; top: 9px'>two</p>",
        ),
        ("broken", "<p style='width: 1ch; overflow-wrap: anywhere'>unreadable</p>"),
        ("faint", "<p style='color: #999; background: #fff'>hardly seen</p>"),
        ("nameless", "<img src='data:,'><button></button>"),
        ("unreachable", "<pre style='overflow: auto; width: 50px'>a line that goes on</pre>"),
        ("structure", "<h1>again</h1><a href='#nowhere'>there</a>"),
        ("errors", "<script>throw new Error('broken')</script>"),
        ("requests", "<img alt='x' src='file:///nowhere.png'>"),
    ],
)
def test_the_audit_finds_what_is_wrong(browser: Browser, tmp_path: Path, wrong: str, body: str) -> None:
    head = "<!doctype html><html lang=en><title>x</title><meta name=viewport content='width=device-width'>"
    (tmp_path / "page.html").write_text(f"{head}<main><h1>Title</h1>{body}</main>", encoding="utf-8")
    browser.open(tmp_path / "page.html", width=390)
    found = browser.audit()
    assert found[wrong], found
    (tmp_path / "page.html").write_text(f"{head}<main><h1>Title</h1><p>fine</p></main>", encoding="utf-8")
    browser.open(tmp_path / "page.html", width=390)
    assert not any(browser.audit().values())
