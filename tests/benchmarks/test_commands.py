"""The commands ``python -m benchmarks.layer``, ``.kan_layer``, ``.lstm``, ``.rational`` and ``.block``."""

import json
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result

from benchmarks import block, kan_layer, layer, lstm, rational
from benchmarks.harness import growth, peer_modules, peer_process, stream
from benchmarks.layer import LayerWork
from qkan import QKANLSTM, KANLayer, QKANLSTMCell
from qkan.kernels import backends
from qkan.kernels.circuits.bloch import pytorch as bloch

SMALL = ["--size", "5,3,2,1", "--rounds", "2", "--threads", "1"]
SMALL_LSTM = ["--size", "5,3,2,1", "--stream", "3", "--rounds", "2", "--threads", "1"]


def invoke(command: click.Command, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def run(tmp_path: Path):
    """Measure a small layer; everything is written to ``tmp_path``."""
    return lambda *more: invoke(layer.main, *SMALL, "--out", tmp_path, *more)


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
    assert done.output.splitlines()[-3:] == [
        f"figures: {tmp_path / 'layer.json'}",
        f"tables: {tmp_path / 'layer.md'}",
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
    monkeypatch.setattr(backends, "available_backends", lambda: reasons)
    done = run("--ansatz", "px", "--preact", "fixed")
    assert done.exit_code == 0
    assert "triton: triton is not installed: pip install triton" in done.output
    assert "spectral: backend 'spectral' cannot run this layer: ansatz 'px' encodes acos(x)" in done.output
    assert list(table(done.output)) == ["MLP 3-3-2", "Linear 3-2"]


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peer_process, "FOLDER", tmp_path / "peers")


@pytest.fixture
def installed_peers(no_peers: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All environments are there; of the original's solvers, tn alone runs."""

    def ask(self, request, seconds: float) -> dict:
        if request.get("solver") not in ("tn", None):
            return {"reason": "ImportError: no triton"}
        return {"seconds": [2.0, 2.0], "inference": [1.0], "extra_bytes": 2**20, "parameters": 7}

    for name in ("qkan-0.2.3", "pykan-0.2.8", "efficient-kan-0.1.0"):
        (tmp_path / "peers" / name).mkdir(parents=True)
        (tmp_path / "peers" / name / ".installed").touch()
    monkeypatch.setattr(peer_modules.PeerProcess, "ask", ask)


def test_peers_that_are_not_installed_are_rows_with_a_reason(run, no_peers) -> None:
    done = run("--peers", "--preact", "fixed", "--backends", "bloch")
    assert done.exit_code == 0
    assert "original 0.2.3, tn: qkan-0.2.3 is not installed: make bench-peers" in done.output
    assert "pykan 0.2.8, KANLayer: pykan-0.2.8 is not installed: make bench-peers" in done.output
    assert "efficient-kan 0.1.0, KANLinear: efficient-kan-0.1.0 is not installed: make bench-peers" in done.output


def test_peers_have_columns_of_their_own(run, installed_peers) -> None:
    done = run("--peers", "--preact", "fixed", "--backends", "bloch")
    assert done.exit_code == 0
    assert "of MLP   of best circuit peer   of best spline peer" in done.output
    row = table(done.output)["original 0.2.3, tn"]
    assert (row[0], row[1], row[4], row[6]) == ("7", "2000", "1", "1.000")
    assert "original 0.2.3, flash: ImportError: no triton" in done.output


def test_growth_is_a_table_for_every_point_and_a_picture(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        growth, "_why_stop", lambda axis, work, room: "enough" if work.size.reps > 1 or work.size.batch > 5 else None
    )
    monkeypatch.setattr(LayerWork, "axes", {"B": "batch", "R": "reps"})
    done = run("--growth", "--preact", "fixed", "--backends", "bloch")
    assert done.exit_code == 0
    assert "B ends before 10: enough" in done.output
    assert "R ends before 2: enough" in done.output
    assert len(json.loads((tmp_path / "growth.json").read_text())["points"]) == 2
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def run_lstm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a small benchmark of a recurrence into ``tmp_path``."""
    monkeypatch.setattr(stream, "STEPS", 4)
    return lambda *more: invoke(lstm.main, *SMALL_LSTM, "--out", tmp_path, *more)


def test_table_of_a_recurrence_has_every_variant_and_both_lstms(run_lstm, tmp_path: Path) -> None:
    done = run_lstm("--input-size", "2")
    assert done.exit_code == 0
    rest = "ansatz pz, inputs uniform on [-1, 1], float32, cpu, 1 thread"
    assert f"B = 5, T = 3, H = 2, R = 1: input size 2, {rest}" in done.output
    assert f"input size 2, H = 3, R = 1: {rest}" in done.output
    heads = [" ".join(line.split()) for line in done.output.splitlines() if "parameters" in line]
    assert heads == [
        "forward + backward parameters ms quartiles of nn.LSTM of nn.LSTM, equal params inference ms extra MiB "
        "output error gradient error",
        "one step of one sample parameters ms quartiles of nn.LSTMCell extra MiB output error gradient error",
    ]
    rows = table(done.output)
    assert {"QKANLSTM", "QKANLSTM, trained preact", "QKANLSTM, per input", "HQKANLSTM", "QKANGRU"} <= set(rows)
    assert rows["QKANLSTM"][0] == str(8 * (2 + 2) * 4 + 8)
    assert rows["nn.LSTM (H = 2)"][0] == str(8 * (2 + 2 + 2))
    assert rows["nn.LSTM, equal params (H = 5)"][-2:] == ["-", "-"]
    assert float(rows["HQKANLSTM"][-1]) < 1e-4
    figures = json.loads((tmp_path / "lstm.json").read_text())
    assert figures["command"] == "python -m benchmarks.lstm"
    assert [work["size"] for work in figures["works"]] == [
        {"batch": 5, "steps": 3, "hidden": 2, "reps": 1},
        {"inputs": 2, "hidden": 3, "reps": 1},
    ]
    row = figures["works"][0]["rows"][0]
    assert set(row["ratios"]) == set(row["inference_ratios"]) == {"nn.LSTM", "nn.LSTM, equal params"}
    assert "| inference, milliseconds | B = 5, T = 3, H = 2, R = 1 |" in " ".join(
        (tmp_path / "lstm.md").read_text().split()
    )
    assert (tmp_path / "lstm.png").stat().st_size > 10_000


def test_wrong_recurrence_ends_with_an_error(run_lstm, monkeypatch: pytest.MonkeyPatch) -> None:
    right = QKANLSTM.forward, QKANLSTMCell.forward

    def wrong(self, *arguments):
        output, states = right[0](self, *arguments)
        return output * (1.01 if self.backend == "torch" else 1), states

    def wrong_cell(self, x, *states):
        h, c = right[1](self, x, *states)
        return h, c * (1.01 if x.dtype == torch.float32 else 1)

    monkeypatch.setattr(QKANLSTM, "forward", wrong)
    monkeypatch.setattr(QKANLSTMCell, "forward", wrong_cell)
    done = run_lstm("--backends", "torch,spectral", "--cells", "edge", "--stream", "2")
    assert done.exit_code == 1
    assert "QKANLSTM, torch WRONG" in table(done.output)
    assert "QKANLSTM, spectral" in table(done.output)
    assert "QKANLSTM, torch WRONG: the errors may be 1.7e-05 (output) and 1.0e-04 (gradient)" in done.output
    assert "QKANLSTMCell WRONG: the errors may be 1.7e-05 (output)\n" in done.output
    names = (
        "QKANLSTM, torch (B = 5, T = 3, H = 2, R = 1)",
        *(f"{name} (H = 2, R = 1)" for name in ("QKANLSTMCell", "QKANLSTMCell, qkan.compile")),
    )
    assert done.stderr == f"Error: wrong, see the rows: {'; '.join(names)}\n"


def test_peers_of_a_recurrence_are_rows(run_lstm, installed_peers) -> None:
    done = run_lstm("--peers", "--cells", "input", "--stream", "0")
    assert done.exit_code == 0
    assert "of nn.LSTM   of nn.LSTM, equal params   of best circuit peer   inference ms" in done.output
    row = table(done.output)["original 0.2.3, tn"]
    assert (row[0], row[1], *row[5:8]) == ("7", "2000", "1", "1000", "1.000")
    assert "original 0.2.3, flash: ImportError: no triton" in done.output
    assert "one step" not in done.output


def test_growth_of_a_recurrence_leaves_out_single_steps(
    run_lstm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(growth, "_why_stop", lambda axis, work, room: "enough" if sum(work.size) > 11 else None)
    done = run_lstm("--growth", "--cells", "input")
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if "ends before" in line] == [
        f"{axis} ends before {value}: enough" for axis, value in (("B", 10), ("T", 6), ("H", 4))
    ]
    assert "one step" not in done.output
    assert len(json.loads((tmp_path / "growth.json").read_text())["points"]) == 3
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--size", "1,2,3"], "'1,2,3' is not four positive whole numbers B,T,H,R, such as 64,12,4,2"),
        (["--size", "1,0,3,4"], "'1,0,3,4' is not four positive whole numbers B,T,H,R, such as 64,12,4,2"),
        (["--size", "1,2,3,2000"], "'1,2,3,2000' has 2000 repetitions R; a circuit has 1 to 1024"),
        (["--cells", "edges"], "'--cells': unknown cell 'edges'; use one of edge, trained, input, hqkan, gru"),
        (["--cells", "edge,edge"], "'--cells': 'edge' is given twice"),
        (["--backends", "cuda"], "'--backends': unknown backend 'cuda'; use one of auto, "),
        (["--input-size", "0"], "Invalid value for '--input-size'"),
        (["--stream", "-1"], "Invalid value for '--stream'"),
        (["--growth", "--size", "1,2,3,4"], "--growth starts from one --size, but 2 are given."),
        (["--device", "cuda:99"], "--device: 'cuda:99' is missing: PyTorch sees"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_of_a_recurrence_are_answered_with_one_sentence(
    arguments: list[str], answer: str, run_lstm, tmp_path: Path
) -> None:
    done = run_lstm(*arguments)
    assert done.exit_code == 2
    assert answer in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_default_sizes_are_those_of_the_published_table() -> None:
    words = " ".join(invoke(lstm.main, "--help").output.split())
    assert "[default: 64,12,4,2; 64,12,16,2; 256,24,64,2; 64,512,32,2]" in words


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--size", "1,2,3"], "'1,2,3' is not four positive whole numbers B,I,O,R, such as 256,64,64,3"),
        (["--size", "1,2,0,4"], "'1,2,0,4' is not four positive whole numbers B,I,O,R, such as 256,64,64,3"),
        (["--size", "1,2,x,4"], "'1,2,x,4' is not four positive whole numbers"),
        (["--size", "1,2,3,2000"], "'1,2,3,2000' has 2000 repetitions R; a circuit has 1 to 1024"),
        (["--backends", "blach"], "'--backends': unknown backend 'blach'; use one of auto, spectral, triton, bloch"),
        (["--backends", "bloch,bloch"], "'--backends': 'bloch' is given twice"),
        (["--ansatz", "pq"], "unknown ansatz 'pq'; use one of pz, rpz, px, real, mix"),
        (["--ansatz", "px", "--inputs", "normal"], "--ansatz px takes inputs in [-1, 1] only: use --inputs uniform."),
        (["--device", "gpu"], "--device: 'gpu' is none of auto, cpu, cuda and cuda:N."),
        (["--device", "cuda:99"], "--device: 'cuda:99' is missing: PyTorch sees"),
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


RATIONAL = ["--size", "3,2,16", "--rounds", "2", "--threads", "1"]


@pytest.fixture
def run_rational(tmp_path: Path):
    """Measure a small activation; everything is written to ``tmp_path``."""
    return lambda *more: invoke(rational.main, *RATIONAL, "--out", tmp_path, *more)


def test_rationals_are_measured_beside_gelu_and_a_copy(run_rational, tmp_path: Path) -> None:
    done = run_rational("--order", "3,2", "--denominator", "abs_sum", "--backends", "auto,torch")
    assert done.exit_code == 0
    assert "3 x 2 x 16: order (3, 2) over abs_sum, 8 groups, inputs standard normal, float32, cpu" in done.output
    assert {"GroupRational", "GroupRational, torch", "nn.GELU", "stacked powers", "copy"} <= set(table(done.output))
    assert "of the bandwidth of a copy" in done.output
    figures = json.loads((tmp_path / "rational.json").read_text())
    (work,) = figures["works"]
    assert figures["command"] == "python -m benchmarks.rational"
    assert (work["groups"], work["order"], work["denominator"]) == (8, [3, 2], "abs_sum")
    assert len(work["notes"]) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "3,2"], "'3,2' is not three positive whole numbers B,T,C, such as 64,197,768"),
        (["--order", "9,2"], "order (9, 2) is outside m in [0, 8], n in [1, 8]"),
        (["--order", "a"], "'a' is not two whole numbers M,N, such as 5,4"),
        (["--groups", "3"], "16 channels do not divide into 3 groups"),
        (["--backends", "cuda"], "'--backends': unknown backend 'cuda'"),
    ],
)
def test_rationals_that_cannot_be_are_refused(run_rational, options: list[str], message: str) -> None:
    done = run_rational(*options)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


BLOCK = ["--size", "2,3,8", "--heads", "2", "--rounds", "2", "--threads", "1"]


def test_blocks_are_measured_beside_the_mlp(tmp_path: Path) -> None:
    done = invoke(block.main, *BLOCK, "--latents", "log2", "--reps", "1", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "block.json").read_text())
    assert figures["command"] == "python -m benchmarks.block"
    names = ["block, MLP", "block, HQKAN log2", "MLP alone", "HQKAN alone, log2"]
    assert all(any(name in line for line in done.output.splitlines()) for name in names)
    assert "times the training step of the block, MLP (at most 1.2 is the aim" in done.output
    assert (tmp_path / "block.md").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heads", "3"], "8 channels do not divide into 3 heads"),
        (["--latents", "half"], "unknown latent 'half'; use one of log2, quarter, equal"),
        (["--latents", "log2,log2"], "'log2' is given twice"),
        (["--size", "2,3"], "is not three positive whole numbers B,T,C"),
    ],
)
def test_blocks_that_cannot_be_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    done = invoke(block.main, *BLOCK, *options, "--out", tmp_path)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_layers_of_splines_beside_published_formulas(tmp_path: Path) -> None:
    done = invoke(
        kan_layer.main, "--size", "9,3,2", "--rounds", "2", "--threads", "1", "--inputs", "normal", "--out", tmp_path
    )
    assert done.exit_code == 0
    rows = table(done.output)
    ours = [name for name in rows if name.startswith("KANLayer")]
    assert set(rows) == {*ours, kan_layer.MLP, kan_layer.EFFICIENT, kan_layer.FAST}
    (work,) = json.loads((tmp_path / "kan_layer.json").read_text())["works"]
    assert (work["grid"], work["order"], work["hidden"]) == (5, 3, [])


def test_efficient_kans_formula_is_that_of_our_splines() -> None:
    torch.manual_seed(0)
    theirs, ours = kan_layer.EfficientKAN(3, 2), KANLayer(3, 2, terms=8, base_activation="silu", bias=False)
    with torch.no_grad():
        ours.coefficients.copy_((theirs.weight * theirs.scale.unsqueeze(-1)).permute(2, 1, 0))
        ours.base_weight.copy_(theirs.base_weight)
    x = 1.9 * torch.rand(50, 3) - 0.95
    torch.testing.assert_close(theirs(x), ours(x), rtol=0, atol=2e-6)


def test_fast_kans_formula_is_that_of_our_gaussians() -> None:
    torch.manual_seed(0)
    theirs, ours = kan_layer.FastKAN(3, 2), KANLayer(3, 2, "rbf", terms=8, radius=2.0, bias=False)
    with torch.no_grad():
        ours.coefficients.copy_(theirs.spline.weight.view(2, 3, 8).permute(2, 1, 0))
    x = torch.randn(50, 3)
    base = theirs.base(torch.nn.functional.silu(x))
    torch.testing.assert_close(theirs(x), ours(theirs.norm(x)) + base, rtol=0, atol=2e-6)


def test_memory_of_a_network_of_splines() -> None:
    words = ("--size", "600,3,2", "--hidden", "4", "--memory", "--threads", "1")
    done = invoke(kan_layer.main, *words)
    assert done.exit_code == 0
    assert "600 x 3 to 4 to 2" in done.output
    for name in ("KANLayer, bspline", kan_layer.EFFICIENT, kan_layer.FAST):
        assert f"  {name} " in done.output
    measured = [line for line in done.output.splitlines() if line.endswith("at 600 rows, measured")]
    assert [line.split(" MiB")[0].split()[0] for line in measured] == ["KANLayer,"]
