import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, Series, SplitFractions, load_series, plot_series
from qkan.datasets.steps import step_frame


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, with the path of each."""
    saved = []
    original = matplotlib.figure.Figure.savefig

    def savefig(figure, path, **options):
        saved.append((figure, path))
        original(figure, path, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return saved


def many(count):
    frames = [step_frame(np.arange(20.0) + i, f"s{i}") for i in range(count)]
    return Series("many", pd.concat(frames, ignore_index=True))


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_picture_is_of_the_kind_its_name_says(tmp_path, ending, magic):
    path = tmp_path / f"picture.{ending}"
    plot_series(load_series("narma-5"), path)
    assert path.read_bytes().startswith(magic)


def test_the_axes_tell_time_and_unit(tmp_path, drawn):
    plot_series(load_series("damped-shm"), tmp_path / "p.png")
    plot_series(load_series("telecom"), tmp_path / "p.png")
    labels = [[(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] for figure, _ in drawn]
    assert labels == [[("step", "rad/s")] * 2, [("time", "calls per 5 minutes")] * 2]


def test_the_upper_panel_shows_everything_and_the_parts(tmp_path, drawn):
    plot_series(load_series("damped-shm"), tmp_path / "p.png", SplitFractions(0.5, 0.25, 0.25))
    whole = drawn[0][0].axes[0]
    assert whole.lines[0].get_ydata().tolist() == load_series("damped-shm").values.tolist()
    assert [(text.get_text(), text.xy[0]) for text in whole.texts] == [
        ("training", 0),
        ("validation", 120),
        ("test", 180),
    ]


def test_an_empty_validation_part_is_not_marked(tmp_path, drawn):
    plot_series(load_series("damped-shm"), tmp_path / "p.png", SplitFractions(0.5, 0.0, 0.5))
    assert [text.get_text() for text in drawn[0][0].axes[0].texts] == ["training", "test"]


def test_the_lower_panel_shows_two_seasons(tmp_path, drawn):
    plot_series(load_series("delayed-quantum-control"), tmp_path / "p.png")
    close_up = drawn[0][0].axes[1]
    assert close_up.get_title() == "the last 400 steps"
    assert close_up.lines[0].get_xdata().tolist() == list(range(1800, 2200))


def test_no_line_crosses_a_night(tmp_path, drawn):
    plot_series(load_series("telecom"), tmp_path / "p.png")
    values = drawn[0][0].axes[1].lines[0].get_ydata()
    assert np.isnan(values).sum() == 9  # between ten days
    assert np.isfinite(values).sum() == 1690


def test_of_many_series_five_are_drawn_and_named(tmp_path, drawn):
    plot_series(many(7), tmp_path / "p.png")
    whole, close_up = drawn[0][0].axes
    assert len(whole.lines) == 5
    assert whole.get_title() == "many (first 5 of 7)"
    assert [text.get_text() for text in close_up.get_legend().get_texts()] == ["s0", "s1", "s2", "s3", "s4"]


def test_one_series_needs_no_legend(tmp_path, drawn):
    plot_series(many(1), tmp_path / "p.png")
    assert drawn[0][0].axes[1].get_legend() is None


@pytest.mark.parametrize("name", ["picture.gif", "picture", "picture.csv"])
def test_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"picture.*'; the file must end in \.png, \.pdf, \.svg"):
        plot_series(many(1), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"the folder '.*nowhere' of 'p\.png' does not exist; create it first"):
        plot_series(many(1), tmp_path / "nowhere" / "p.png")
