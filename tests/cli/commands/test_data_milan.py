"""From a server to a trained run: `qkan data fetch milan`, `qkan data import milan`, `--data milan`."""

import datetime as dt

import pandas as pd
import pytest
from dataverse import Dataverse

from qkan.cli.progress import FetchDisplay, ImportDisplay
from qkan.datasets.milan import fetch as milan_fetch
from qkan.datasets.milan import importer as milan_import
from qkan.datasets.milan.sample import file_name, write_sample
from qkan.forecasting import read_config

DAYS = [dt.date(2013, 11, 1), dt.date(2013, 11, 2)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder with the default place of imports in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QKAN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def daily(place):
    return write_sample(place / "milan", DAYS, [7, 5161])


def test_fetch_import_and_train(qkan, place):
    (place / "server").mkdir()
    files = {path.name: path.read_bytes() for path in write_sample(place / "server", DAYS, [7, 5161])}
    with Dataverse(files) as server:
        done = qkan("data", "fetch", "milan", "--days", "2013-11-01..2013-11-02", "--base-url", server.url)
        again = qkan("data", "fetch", "milan", "--base-url", server.url)
    assert done.output.splitlines() == [
        f"2 files, {sum(map(len, files.values())):,} bytes",
        f"file 1/2  {file_name(DAYS[0])}  downloaded and verified",
        f"file 2/2  {file_name(DAYS[1])}  downloaded and verified",
        "2 files in milan",
        "next: qkan data import milan milan",
    ]
    assert f"file 1/2  {file_name(DAYS[0])}  there already, verified" in again.output
    done = qkan("data", "import", "milan", "milan", "--freq", "1h", "--squares", "7,5161,9000-9002")
    assert done.exit_code == 0, done.output
    told = [" ".join(line.split()) for line in done.output.splitlines()]
    assert told[0].startswith("day 1/2 2013-11-01 ")
    assert "steps 48 a square, Italian standard time (UTC+01:00)" in told
    assert "left out squares without a row: 9000, 9001, 9002" in told
    assert f"file {place / 'data' / 'milan-sms_in-1h.parquet'}" in told
    words = ["train", "lstm", "--data", "milan", "--cell", "lstm", "--hidden-size", "1", "--epochs", "1"]
    done = qkan(*words, "--square", "5161", "--window", "3", "--out", "run")
    assert done.exit_code == 0, done.output
    assert "sms_in of 1 square of the Milan grid, 2013-11-01 to 2013-11-02" in done.output
    config = read_config(place / "run")
    assert (config.data, config.series) == ("milan", ("5161",))


def test_import_writes_what_was_asked_for(qkan, daily, place):
    done = qkan("data", "import", "milan", *daily, "--signal", "internet", "--fill", "missing", "--out", "net.parquet")
    assert done.exit_code == 0, done.output
    frame = pd.read_parquet("net.parquet")
    assert frame.columns.tolist() == ["unique_id", "ds", "y"]
    assert frame["unique_id"].value_counts().to_dict() == {"7": 288, "5161": 288}
    missing = int(frame["y"].isna().sum())
    assert missing > 0
    assert f"{missing} steps without rows ({missing / 576:.1%}) as missing" in done.output
    assert not (place / "data").exists()


def test_show_describes_one_square(qkan, daily):
    assert qkan("data", "import", "milan", *daily).exit_code == 0
    done = qkan("data", "show", "milan", "--square", "7", "--out", "x.svg")
    assert "sms_in of 1 square of the Milan grid" in done.output
    assert "Open Database License (ODbL) 1.0" in done.output
    done = qkan("data", "show", "milan", "--square", "8")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("Error: there is no series '8' in 'milan-sms_in-10min'; it has 2 series")


def test_a_gap_within_the_files_is_noted(qkan, daily):
    lines = daily[0].read_text().splitlines(keepends=True)
    daily[0].write_text("".join(line for line in lines if int(line.split("\t")[1]) < 1383260400000 + 40_000_000))
    done = qkan("data", "import", "milan", daily[0], "--out", "a.parquet")
    assert "77 intervals have no row of any square: a file may be incomplete" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["milan", "--signal", "sms"],
            "unknown signal 'sms'; choose one of sms_in, sms_out,",
        ),
        (["milan", "--freq", "1d"], "unknown freq '1d'; choose one of 10min, 1h"),
        (["milan", "--fill", "0"], "unknown fill '0'; choose one of zero, missing"),
        (["milan", "--squares", "5-1"], "squares '5-1' has the range 5-1, which runs backwards; swap its ends"),
        (["nowhere"], "there is no file or folder 'nowhere'; check the path"),
        (
            ["milan", "--squares", "1"],
            "no row is of the squares asked for (1, from 1 to 1); choose",
        ),
    ],
)
def test_refused_imports_say_so_in_one_line_and_change_nothing(qkan, daily, place, words, message):
    (place / "old.parquet").write_bytes(b"old")
    done = qkan("data", "import", "milan", *words, "--out", "old.parquet", "--overwrite")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {message}")
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in place.iterdir() if path.name != "milan") == ["old.parquet"]
    assert (place / "old.parquet").read_bytes() == b"old"


def test_refused_downloads_say_so_in_one_line(qkan, place):
    done = qkan("data", "fetch", "milan", "--days", "2013-10-01")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(
        "Error: days '2013-10-01' has '2013-10-01', which is no day of 2013-11-01 to 2014-01-01"
    )
    done = qkan("data", "fetch", "milan", "--base-url", "file:///etc")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "base URL 'file:///etc' is no address of a server" in done.stderr
    assert list(place.iterdir()) == []


def test_training_without_an_import_names_both_commands(qkan, place):
    done = qkan("train", "lstm", "--data", "milan")
    assert done.exit_code == 2
    assert "`qkan data fetch milan --out milan`, then run `qkan data import milan milan`" in done.stderr


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [(milan_fetch, "fetch_milan", ["fetch", "milan"]), (milan_import, "import_milan", ["import", "milan", "x"])],
)
def test_an_interruption_says_that_the_same_command_goes_on(qkan, place, monkeypatch, module, name, words):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, name, interrupted)
    done = qkan("data", *words)
    assert done.exit_code == 130
    assert done.stderr == "\nInterrupted. The same command goes on where it stopped.\n"


def test_what_is_on_disk_from_before_is_said(capsys):
    with ImportDisplay() as display:
        display.start(3, 2)
        display.rows(5)
        display.day("2013-11-03", 5)
    out = capsys.readouterr().out.splitlines()
    assert out == ["2 of 3 days are on disk already", "day 3/3  2013-11-03  5 rows  left 0:00"]


@pytest.mark.parametrize("display", [ImportDisplay, FetchDisplay])
def test_a_terminal_sees_a_bar(monkeypatch, capsys, display):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with display() as shown:
        shown.start(2, 0) if display is ImportDisplay else shown.start(2, 300)
        if display is ImportDisplay:
            shown.rows(1234)
            shown.day("2013-11-01", 1234)
        else:
            shown.at("a", 100)
            shown.at("b", 50)
            shown.complete("b", True)
        shown.bar.refresh()
    text = capsys.readouterr().out
    assert ("day 1/2  1,234 rows" if display is ImportDisplay else "150 of 300 bytes  b") in text
