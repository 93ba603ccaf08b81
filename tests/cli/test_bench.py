"""``qkan bench layer``."""

import json
from pathlib import Path

import pytest
import torch

from qkan.bench import growth, layer_peers
from qkan.bench.peers import PeerError
from qkan.kernels import bloch, dispatch

SMALL = ["bench", "layer", "--size", "5,3,2,1", "--rounds", "2", "--threads", "1"]


@pytest.fixture
def run(qkan, tmp_path: Path):
    """Run a small benchmark into ``tmp_path``."""
    return lambda *more, start=SMALL: qkan(*start, "--out", tmp_path, *more)


def table(output: str) -> dict[str, list[str]]:
    """Return the rows of the first table by name."""
    lines = iter(output.splitlines())
    next(line for line in lines if line.lstrip().startswith("──"))
    rows = {}
    for line in lines:
        if not line.strip():
            break
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        rows[cells[0]] = cells[1:]
    return rows


def test_table_has_every_backend_and_what_it_stands_for(run) -> None:
    done = run()
    assert done.exit_code == 0
    titles = [line for line in done.output.splitlines() if "pre-activations" in line]
    rest = "ansatz pz, inputs uniform on [-1, 1], float32, cpu, 1 thread"
    assert titles == [f"5 x 3 to 2, R = 1: {kind} pre-activations, {rest}" for kind in ("fixed", "trained")]
    head = next(line for line in done.output.splitlines() if "parameters" in line)
    assert " ".join(head.split()) == (
        "forward + backward parameters ms quartiles of MLP extra MiB output error gradient error"
    )
    rows = table(done.output)
    assert {"spectral", "bloch", "reference", "MLP 3-5-2", "Linear 3-2"} <= set(rows)
    assert rows["bloch"][0] == "30"
    assert rows["MLP 3-5-2"][0] == "32"
    assert rows["MLP 3-5-2"][-2:] == ["-", "-"]
    assert float(rows["bloch"][-1]) < 1e-5


def test_figures_have_the_schema_and_the_picture_is_there(run, tmp_path: Path) -> None:
    done = run("--preact", "trained", "--backends", "bloch,spectral", "--inputs", "normal", "--seed", "3")
    assert done.output.splitlines()[-2:] == [
        f"figures: {tmp_path / 'layer.json'}",
        f"picture: {tmp_path / 'layer.png'}",
    ]
    figures = json.loads((tmp_path / "layer.json").read_text())
    assert set(figures) == {"schema", "command", "environment", "options", "tolerances", "works"}
    assert figures["environment"]["torch"] == torch.__version__
    assert figures["environment"]["threads"] == 1
    assert {name: figures["options"][name] for name in ("inputs", "seed", "rounds")} == {
        "inputs": "normal",
        "seed": 3,
        "rounds": 2,
    }
    (work,) = figures["works"]
    assert (work["preact"], work["size"]["in_features"]) == ("trained", 3)
    assert [row["name"] for row in work["rows"]] == ["bloch", "spectral", "MLP", "Linear"]
    for row in work["rows"]:
        assert len(row["milliseconds"]) == 2
        assert row["quartiles_ms"][0] <= row["median_ms"] <= row["quartiles_ms"][1]
        assert row["extra_bytes"] > 0
    assert work["rows"][2]["ratios"] == {"MLP": 1.0}
    assert (tmp_path / "layer.png").stat().st_size > 10_000


def test_wrong_backend_is_marked_and_ends_with_an_error(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right = bloch.circuits
    monkeypatch.setattr(bloch, "circuits", lambda *args, **options: 1.001 * right(*args, **options))
    done = run("--backends", "bloch,reference", "--preact", "fixed")
    assert done.exit_code == 1
    rows = table(done.output)
    assert "bloch WRONG" in rows
    assert "reference" in rows
    assert "bloch WRONG: the errors may be 8.7e-06 (output) and 3.0e-05 (gradient)" in done.output
    assert done.stderr == "Error: wrong, see the rows: bloch (5 x 3 to 2, R = 1, fixed)\n"
    (work,) = json.loads((tmp_path / "layer.json").read_text())["works"]
    assert [row["wrong"] for row in work["rows"]] == [True, False, False, False]


def test_backends_that_cannot_run_give_their_reason(run, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"spectral": None, "triton": "triton is not installed: pip install triton"}
    monkeypatch.setattr(dispatch, "available_backends", lambda: reasons)
    done = run("--ansatz", "px", "--preact", "fixed")
    assert done.exit_code == 0
    assert "triton: triton is not installed: pip install triton" in done.output
    assert "spectral: backend 'spectral' cannot run this layer: ansatz 'px' encodes acos(x)" in done.output
    assert list(table(done.output)) == ["MLP 3-3-2", "Linear 3-2"]


def test_peers_that_cannot_be_installed_are_rows_with_a_reason(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(peer, torch_version: str, say) -> Path:
        raise PeerError(f"{peer.requirements[0]} is not on the package index")

    monkeypatch.setattr(layer_peers.peers, "prepare", prepare)
    done = run("--peers", "--preact", "fixed", "--backends", "bloch")
    assert done.exit_code == 0
    assert "original 0.2.3, tn: qkan==0.2.3 is not on the package index" in done.output
    assert "pykan 0.2.8, KANLayer: pykan==0.2.8 is not on the package index" in done.output
    assert "efficient-kan 0.1.0, KANLinear: efficient-kan==0.1.0 is not on the package index" in done.output


def test_peers_have_columns_of_their_own(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ask(self, request, seconds: float) -> dict:
        if request.get("solver") not in ("tn", None):
            return {"reason": "ImportError: no triton"}
        return {"seconds": [2.0, 2.0], "extra_bytes": 2**20, "parameters": 7}

    monkeypatch.setattr(layer_peers.peers, "prepare", lambda *arguments: tmp_path / "bin" / "python")
    monkeypatch.setattr(layer_peers.PeerProcess, "ask", ask)
    done = run("--peers", "--preact", "fixed", "--backends", "bloch")
    assert done.exit_code == 0
    assert "of MLP   of best circuit peer   of best spline peer" in done.output
    row = table(done.output)["original 0.2.3, tn"]
    assert (row[0], row[1], row[4], row[6]) == ("7", "2000", "1", "1.000")
    assert "original 0.2.3, flash: ImportError: no triton" in done.output


def test_growth_is_a_table_for_every_point_and_a_picture(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        growth, "_why_stop", lambda axis, size, preact, room: "enough" if size.reps > 1 or size.batch > 5 else None
    )
    monkeypatch.setattr(growth, "AXES", {"B": "batch", "R": "reps"})
    monkeypatch.setattr("qkan.bench.layer_runs.AXES", {"B": "batch", "R": "reps"})
    done = run("--growth", "--preact", "fixed", "--backends", "bloch")
    assert done.exit_code == 0
    assert "B ends before 10: enough" in done.output
    assert "R ends before 2: enough" in done.output
    assert len(json.loads((tmp_path / "growth.json").read_text())["points"]) == 2
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--size", "1,2,3"], "'1,2,3' is not four positive whole numbers B,I,O,R, such as 256,64,64,3"),
        (["--size", "1,2,0,4"], "'1,2,0,4' is not four positive whole numbers B,I,O,R, such as 256,64,64,3"),
        (["--size", "1,2,x,4"], "'1,2,x,4' is not four positive whole numbers"),
        (["--size", "1,2,3,2000"], "'1,2,3,2000' has 2000 repetitions R; a circuit has 1 to 1024"),
        (["--backends", "blach"], "--backends: unknown backend 'blach'; use one of auto, spectral, spectral-triton"),
        (["--backends", "bloch,bloch"], "--backends: 'bloch' is given twice."),
        (["--ansatz", "pq"], "unknown ansatz 'pq'; use one of pz, rpz, px, real, mix"),
        (["--ansatz", "px", "--inputs", "normal"], "--ansatz px takes inputs in [-1, 1] only: use --inputs uniform."),
        (["--device", "gpu"], "--device: 'gpu' is none of auto, cpu, cuda and cuda:N."),
        (["--device", "cuda:99"], "--device: 'cuda:99' is not there: PyTorch sees"),
        (["--growth", "--size", "1,2,3,4"], "--growth starts from one --size, but 2 are given."),
        (["--rounds", "0"], "Invalid value for '--rounds'"),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--inputs", "uniforn"], "Invalid value for '--inputs'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_answered_with_one_sentence(arguments: list[str], answer: str, run, tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert answer in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_device_may_be_chosen_by_itself(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "float32, cpu, 1 thread" in run("--device", "auto", "--preact", "fixed").output


def test_number_of_threads_is_given_back(run) -> None:
    before = torch.get_num_threads()
    assert "cpu, 2 threads" in run("--threads", "2", "--preact", "fixed", "--backends", "bloch").output
    assert torch.get_num_threads() == before
