"""Runs as C files: they compile without a warning, forecast what the run does, and are small."""

import math
import re
import subprocess
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from c_programs import STRICT, Program, c_compiler, compile_c, object_bytes
from tiny_runs import tiny_config
from untrained import untrained_run

from qkan.datasets import first_values
from qkan.forecasting import RunError, Stream, export, predict
from qkan.forecasting.c99 import source
from qkan.forecasting.exporting import c_files
from qkan.forecasting.model.build import count_parameters, largest_hidden_size
from qkan.forecasting.runs.run_data import series_of

RICH = {
    "past_cols": ("price",), "future_cols": ("off",), "category_cols": ("kind",), "calendar": ("hour", "weekend"),
    "missing": "mask", "loss": "quantile", "levels": (80.0,), "horizon": 2,
}  # fmt: skip
AROUND = {"season": (2, 3), "level": "auto", "skip": 1, "seasonal_lags": True, "decoder": "steps"}
PERIODS = {"horizon": 4, "order": "periods", "segment": 3, "window": 9}
RUNS = {
    "recursive": {"cell": "lstm", "horizon": 3, "strategy": "recursive", **AROUND, "missing": "interpolate"},
    "counted targets": {"cell": "qkan", "horizon": 2, "decoder": "steps"},
    "two layers": {"cell": "gru", "num_layers": 2, "horizon": 2},
    "trained edges": {"cell": "qkan", "preact_trainable": True, "group": "edge", **RICH},
    "whole edges": {"cell": "qkan", "group": "edge", "reps": 3, "preact_init": "binary"},
    "stacked edges": {
        "cell": "qkan", "ansatz": "mix", "reps": 2, "group": "edge", "preact_trainable": True, "num_layers": 2,
        "base_activation": "tanh",
    },
    "two circuits": {"cell": "qkan", "ansatz": "real", "reps": 2, "group": 2},
    "bottleneck": {"cell": "hqkan", "reps": 2, "base_activation": "gelu"},
    "trained bottleneck": {"cell": "hqkan", "preact_trainable": True, "base_activation": "silu"},
    "linear bottleneck": {"cell": "lowrank", "future_cols": ("off",), "past_cols": ("price",), "scaler": "standard"},
    "rational": {"cell": "gr-kan", "latent_features": 4},
    "spline": {"cell": "spline"}, "fourier": {"cell": "fourier"}, "rff": {"cell": "rff"},
    "chebyshev": {"cell": "chebyshev"}, "mlp": {"cell": "mlp"},
    "periods": {"cell": "qkan", **AROUND, **PERIODS},
    "segments": {"cell": "lowrank", "horizon": 3, "segment": 2, "window": 4, **AROUND},
    "long segment": {"cell": "lowrank", "horizon": 1, "segment": 2, "window": 4, **AROUND},
    "segments at once": {"cell": "lowrank", "horizon": 3, "segment": 2, "window": 4, **AROUND, "decoder": "last"},
    "sparse": {"cell": "sparse", "horizon": 3, "season": (2,), "window": 4, "level": "auto"},
    "cycle": {"cell": "cycle", "horizon": 2, "season": (2, 4), "level": "auto"},
    "linear": {"cell": "linear", "horizon": 2},
    "own parts": {
        "cell": "qkan", "horizon": 4, **AROUND, "level": "last", "per_series": True, "season_encoding": "table",
    },
    "scaled windows": {"cell": "qkan", "horizon": 4, **AROUND, "level": "window", "season_encoding": "sincos"},
    "mean season": {
        "cell": "qkan", "horizon": 4, **AROUND, "level": "season", "missing": "zero", "skip": 3, "season": (4, 7),
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _strict(monkeypatch):
    """Files are compared as compiled without a single warning."""
    monkeypatch.setattr("qkan.forecasting.exporting.c_files._COMPILE", (*STRICT, "-shared", "-fPIC"))


@pytest.mark.parametrize("name", RUNS)
def test_the_file_forecasts_what_the_run_does(drawn_run, rich_file, tmp_path, name):
    c_compiler()
    run = drawn_run(**{"data": str(rich_file), "missing": "mask", **RUNS[name]})
    made = export(run, tmp_path / "model.c", "c")
    assert made.difference < 1e-6
    assert made.windows > 50
    assert made.size == made.path.stat().st_size
    assert made.bound == 0.0


@pytest.mark.parametrize("edges", ["cubic", "int8"])
@pytest.mark.parametrize("name", ["whole edges", "stacked edges", "bottleneck"])
def test_tables_change_forecasts_by_less_than_their_bound(drawn_run, rich_file, tmp_path, name, edges):
    c_compiler()
    run = drawn_run(**{"data": str(rich_file), "missing": "mask", **RUNS[name]})
    made = export(run, tmp_path / "model.c", "c", edges=edges)
    assert 0 < made.bound < 10
    calls = c_files._calls(run, series_of(run, None))[0]
    assert made.difference * calls.largest < (1e-5 if edges == "cubic" else made.bound)
    assert made.notes[-1].startswith("measured on the windows below: a scaled forecast by ")
    if name == "stacked edges":
        assert made.bound_on_windows is None  # known for one layer
    else:
        assert made.difference * calls.largest - 5e-7 * calls.largest < made.bound_on_windows < made.bound
        assert f"proven on the windows below: a scaled forecast by at most {made.bound_on_windows:.2g}" in made.notes[3]
    assert re.search(rf"{edges} tables? of \d+ places", made.notes[1])
    assert f"a scaled forecast by at most {made.bound:.2g} " in made.notes[2]
    assert f"a scaled forecast by at most {made.bound:.2g}" in made.path.read_text()


def test_the_bound_on_windows_is_near_what_is_measured(drawn_run, tmp_path):
    """Over 24 steps, where that for every input says nothing."""
    c_compiler()
    run = drawn_run(cell="qkan", window=24, group="edge", hidden_size=3)
    made = export(run, tmp_path / "model.c", "c", edges="int8")
    measured = made.difference * c_files._calls(run, series_of(run, None))[0].largest
    assert measured < made.bound_on_windows < 100 * measured
    assert made.bound > 10 * made.bound_on_windows


def small_run(cell, parameters, **options):
    """A bare run with as many parameters as a budget allows."""
    config = tiny_config(cell=cell, window=12, **options)
    size = largest_hidden_size(config, parameters)
    run = untrained_run(tiny_config(cell=cell, window=12, hidden_size=size, **options))
    assert 0.7 * parameters < count_parameters(run.model) <= parameters
    return run


def test_a_cell_of_200_parameters_takes_8_kilobytes_and_3_times_what_an_lstm_does(tmp_path, monkeypatch):
    c_compiler()
    monkeypatch.setattr(c_files, "_run_compiled", Mock(side_effect=OSError))  # other tests compare
    plain = export(small_run("lstm", 200), tmp_path / "lstm.c", "c")
    of_lstm = object_bytes(plain.path, tmp_path)
    for edges in ("exact", "cubic", "int8"):
        made = export(small_run("qkan", 220, group="edge"), tmp_path / "qkan.c", "c", edges=edges, overwrite=True)
        size = object_bytes(made.path, tmp_path)
        assert size <= 8192
        assert size <= 3 * of_lstm


def test_a_stream_forecasts_what_windows_do(drawn_run, tmp_path):
    run = drawn_run(cell="qkan", window=4, horizon=2, season=(3,), level="last")
    made = export(run, tmp_path / "model.c", "c")
    program = Program(made.path, tmp_path, 2)
    values = np.sin(np.arange(12) / 2).astype(np.float32)
    program.start(step=-5)
    for newest in range(12):
        good, out = program.step(values[newest])
        if newest < 3:
            assert good == 0
            assert np.isnan(out).all()
        else:
            assert good == 1
            wanted = program.predict(values[newest - 3 : newest + 1], step=newest - 5)[1]
            np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("missing", ["mask", "interpolate", "zero"])
def test_missing_values_of_a_stream_are_treated_as_in_the_run(drawn_run, tmp_path, missing):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"ds": np.arange(60), "y": np.sin(np.arange(60) / 3) + 0.1 * rng.normal(size=60)})
    frame.loc[[20, 30, 31], "y"] = np.nan
    frame.to_csv(tmp_path / "values.csv", index=False)
    run = drawn_run(cell="lstm", window=4, horizon=2, missing=missing, data=str(tmp_path / "values.csv"))
    program = Program(export(run, tmp_path / "model.c", "c").path, tmp_path, 2)
    for end in (22, 33, 34, 35, 36, 37):  # behind a gap, and where it leaves the window
        frame[:end].to_csv(tmp_path / "some.csv", index=False)
        program.start()
        for value in frame["y"][:end]:
            good, out = program.step(value)
        wanted = predict(run, data=tmp_path / "some.csv")["LSTM"]
        assert good == 1
        np.testing.assert_allclose(out, wanted, rtol=0, atol=2e-6)


def test_numbers_that_are_not_finite_give_nan_and_nothing_else(drawn_run, tmp_path):
    """Compiled with sanitizers, which end the program where behaviour is undefined."""
    run = drawn_run(cell="qkan", window=3, horizon=2, season=(3,), level="window", season_encoding="sincos")
    made = export(run, tmp_path / "model.c", "c", edges="int8")
    main = tmp_path / "main.c"
    main.write_text(
        f'#include "{made.path.name}"\n#include <stdio.h>\n#include <limits.h>\n'
        """
int main(void)
{
    const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, FLT_MIN, 1e30f, 1e9f, -0.0f};
    const long steps[] = {0, LONG_MAX, LONG_MIN, -1};
    float out[QKAN_HORIZON];
    qkan_state state;
    for (int k = 0; k < 9; k++)
        for (int place = 0; place < 3; place++) {
            float values[3] = {0.1f, 0.2f, 0.3f};
            values[place] = odd[k];
            const int good = qkan_predict(values, 0, 0, steps[k % 4], 0, out);
            printf("%d%d ", good, out[0] == out[0] && out[1] == out[1]);
        }
    const float values[3] = {0.1f, 0.2f, 0.3f};
    printf("\\n%d %d\\n", qkan_predict(values, 0, 0, 0, -1, out), qkan_predict(values, 0, 0, 0, 1, out));
    qkan_init(&state, LONG_MAX, 7);
    for (int k = 0; k < 20; k++) printf("%d", qkan_step(&state, odd[k % 9], 0, 0, 0, out));
    return 0;
}
"""
    )
    program = tmp_path / "main"
    compile_c(main, program, "-fsanitize=undefined,address", "-fno-sanitize-recover=all", "-g")
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_value, by_series, stream = done.stdout.splitlines()
    flags = by_value.split()
    assert set(flags) <= {"00", "11"}  # what it returns says whether all numbers are finite
    assert flags[:9] == ["00"] * 9  # NaN and infinities
    assert flags[15:18] == flags[24:] == ["11"] * 3  # the smallest number, and zero
    assert by_series == "0 0"
    assert stream == "0" * 20


def test_names_of_the_data_cannot_leave_their_comment(drawn_run, tmp_path):
    names = ["a */ int broken; /*", '"quoted" \\', "??/", "two\nlines", "naïve ☃", "x" * 300]
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": range(40), "y": np.sin(np.arange(40) + place), "*/ 100%": 1.0})
        for place, name in enumerate(names)
    )
    frame.to_csv(tmp_path / "odd.csv", index=False)
    run = drawn_run(cell="lstm", data=str(tmp_path / "odd.csv"), past_cols=("*/ 100%",))
    made = export(run, tmp_path / "model.c", "c")
    compile_c(made.path, tmp_path / "model.o", "-c")
    text = made.path.read_text(encoding="ascii")
    assert "a <U+002A><U+002F> int broken;" in text
    assert "two<U+000A>lines" in text
    assert "x" * 61 not in text
    assert text.index("*/") == text.index(" */\n#ifndef QKAN_DECLARED") + 1


def test_the_file_tests_itself_and_can_be_included(drawn_run, tmp_path):
    made = export(drawn_run(cell="qkan", window=3), tmp_path / "model.c", "c")
    compile_c(made.path, tmp_path / "test", "-DQKAN_TEST")
    said = subprocess.run([tmp_path / "test"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("largest difference from the run: ")
    assert float(said.split()[5]) < 1e-6
    (tmp_path / "use.c").write_text(
        '#define QKAN_DECLARE\n#include "model.c"\nint main(void) { return sizeof(qkan_state) > 400; }\n'
    )
    compile_c(tmp_path / "use.c", tmp_path / "use")


def test_windows_over_a_day_without_values_are_counted_row_by_row_as_streams_count(drawn_run, tmp_path):
    """Telecom has daily sessions, and holidays whose steps are counted in the data but have no rows."""
    c_compiler()
    run = drawn_run(cell="lstm", data="telecom", window=12, season=(169,), horizon=2)
    made = export(run, tmp_path / "model.c", "c")
    assert made.windows == 1024
    assert made.difference < 5e-6
    series = series_of(run, None)
    numbers, values, context = c_files._step_numbers(series, series.times), series.values_of(0), run.config.context
    jump = int(np.flatnonzero(np.diff(numbers) > 1)[0]) + 1  # the first row behind a holiday
    assert context < jump
    stream, program = Stream(run), Program(made.path, tmp_path, 2)
    stream.begin(first_values(series, np.array([jump])))
    scale = run.scaler.scale[0]
    for newest in range(jump, jump + 4):
        pushed = stream.push(values[newest])[0]
        step = int(numbers[jump - 1]) + newest - jump + 1
        good, found = program.predict(values[newest - context + 1 : newest + 1], step=step)
        assert good == 1
        np.testing.assert_allclose(found / scale, pushed / scale, rtol=0, atol=1e-5)


def test_values_far_from_zero_are_double(drawn_run, tmp_path):
    frame = pd.DataFrame({"ds": np.arange(60), "y": 1e6 + np.sin(np.arange(60) / 3)})
    frame.to_csv(tmp_path / "far.csv", index=False)
    made = export(drawn_run(cell="lstm", data=str(tmp_path / "far.csv")), tmp_path / "model.c", "c")
    assert made.difference < 1e-6
    assert "typedef double qkan_real;" in made.path.read_text()


def test_without_a_compiler_the_file_is_written_and_says_so(drawn_run, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    made = export(drawn_run(cell="lstm"), tmp_path / "model.c", "c")
    assert made.difference is None
    assert made.notes[-1].startswith("not compared with the run: no C compiler (cc) that works here")
    assert made.path.exists()


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"cell": "qlstm", "qubits": 2}, {}, "a QLSTM cell cannot be exported to C, which takes QKAN-LSTM"),
        ({"cell": "fwp"}, {}, "a QKANFWP cell cannot be exported to C, which takes QKAN-LSTM"),
        (
            {"cell": "lstm"},
            {"edges": "int8"},
            "edges='int8' has no effect on cell 'lstm', which has no circuits; leave",
        ),
        ({"cell": "qkan"}, {"edges": "tiny"}, "unknown edges 'tiny'; choose one of exact, cubic, int8"),
        ({"cell": "qkan"}, {"edges": "int8", "format": "onnx"}, "edges='int8' has no effect on format 'onnx'"),
        ({"cell": "qkan"}, {"name": "model.txt"}, "the name of a file of format 'c' must end in .c, got"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(drawn_run, tmp_path, options, given, message):
    format = given.get("format", "c")
    path = tmp_path / given.get("name", {"c": "model.c", "onnx": "model.onnx"}[format])
    with pytest.raises(ValueError, match=message) as error:
        export(drawn_run(**options), path, format, edges=given.get("edges"))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_and_models_that_are_too_large(drawn_run, tmp_path, monkeypatch):
    run, path = drawn_run(cell="qkan"), tmp_path / "model.c"
    path.write_text("mine")
    with pytest.raises(
        RunError, match=r"model.c exists already; choose another file, or replace it with overwrite=True"
    ):
        export(run, path, "c")
    monkeypatch.setattr(source, "MOST_NUMBERS", 10)
    with pytest.raises(RunError, match="a C file holds at most 10 numbers, and this run needs more; export it to ONNX"):
        export(run, path, "c", overwrite=True)
    assert path.read_text() == "mine"


def test_weights_that_are_not_finite_are_refused(drawn_run, tmp_path):
    run = drawn_run(cell="lstm")
    with torch.no_grad():
        run.model.head.weight.fill_(math.inf)
    with pytest.raises(RunError, match="untrained itself gives forecasts that are no finite numbers; train again"):
        export(run, tmp_path / "model.c", "c")


def test_a_program_that_differs_is_not_written(drawn_run, tmp_path, monkeypatch):
    c_compiler()
    run = drawn_run(cell="lstm")
    monkeypatch.setattr("qkan.forecasting.c99.forecaster.SMALLEST_SCALE", 1.0)
    run = drawn_run(cell="lstm", level="window", window=3)
    with pytest.raises(
        RunError, match=r"the C file differs from untrained by .* so nothing was written; export the run"
    ):
        export(run, tmp_path / "model.c", "c")
    assert list(tmp_path.iterdir()) == []
