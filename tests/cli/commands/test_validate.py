"""``qkan validate`` and ``qkan circuit``."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_runs import BARE_FLAGS

from qkan._util import optional as require
from qkan.cli.main import cli
from qkan.kernels.circuits import statevector as reference

#: Interpreted Triton kernels, which these tests would otherwise run, take minutes.
FAST = ("--backends", "auto,spectral,bloch,reference")


@pytest.fixture(scope="module")
def circuits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a QKAN-LSTM of one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "circuits"
    arguments = ["train", "lstm", "--data", "damped-shm", "--cell", "qkan", "--epochs", "1", "--window", "4"]
    options = ["--hidden-size", "2", "--group", "edge", "--out", str(folder)]
    done = CliRunner().invoke(cli, [*arguments, *options, *BARE_FLAGS], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def test_every_backend_passes_on_the_whole_grid(qkan) -> None:
    done = qkan("validate", *FAST)
    assert done.exit_code == 0, done.output
    rows = [
        line.split() for line in done.output.splitlines() if line.startswith((" auto", " spectral", " bloch", " ref"))
    ]
    assert {(row[0], row[1], row[2]) for row in rows} == {
        (backend, kind, dtype)
        for backend in ("auto", "spectral", "bloch", "reference")
        for kind in ("outputs,", "gradients,")
        for dtype in ("float32", "float64")
    }
    assert {row[5] for row in rows} == {"ok"}
    assert all(0 < float(row[3]) <= float(row[4]) for row in rows)
    assert "4,102 tensors compared" in done.output


def test_a_run_is_compared_measured_and_disturbed(circuits: Path, qkan, tmp_path: Path) -> None:
    noise = ("--noise", "depolarizing=0.1,readout=0.1", "--windows", "5", "--out", tmp_path / "noise.png")
    done = qkan("validate", circuits, *FAST, "--shots", "64", *noise)
    assert done.exit_code == 0, done.output
    assert "Error of <Z>, root mean square over 384 circuits" in done.output
    shots = [line.split() for line in done.output.splitlines() if line.startswith((" 4 ", " 16 ", " 64 "))]
    assert [float(row[3]) for row in shots] == [0.5, 0.25, 0.125]
    strengths = [line.split()[0] for line in done.output.splitlines() if "depolarizing=0." in line]
    assert strengths == ["0.25", "0.5", "1"]
    assert (tmp_path / "noise.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_backend_ends_with_code_1(monkeypatch: pytest.MonkeyPatch, qkan, circuits: Path) -> None:
    right = reference.phi
    monkeypatch.setattr(reference, "phi", lambda *args, **options: 1.001 * right(*args, **options))
    done = qkan("validate", circuits, "--backends", "reference")
    assert done.exit_code == 1
    assert " WRONG " in done.output
    assert "differences are above their tolerance, the first of reference: output of circuits, float32" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--noise", "readout=0.1"], "--noise needs the folder of a trained forecaster: qkan validate RUN --noise ..."),
        (["--out", "noise.png"], "--out names the plot that --noise draws"),
        (["--backends", "fast"], "unknown backend 'fast'; use one of auto"),
        (["--device", "ibm"], "'ibm' is not one of"),
        (["--device", "lightning.qubit", "--diff-method", "backprop"], "cannot do diff_method 'backprop'"),
        (["--shots", "3"], "3 is not in the range x>=16"),
        (["no-such-run"], "no-such-run"),
    ],
)
def test_bad_input_is_answered_with_a_sentence(arguments: list[str], sentence: str, qkan) -> None:
    done = qkan("validate", *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.output


def test_noise_outside_its_range_and_cells_without_circuits(circuits: Path, trained: Path, qkan) -> None:
    done = qkan("validate", circuits, "--noise", "readout=2")
    assert (done.exit_code, "readout 2.0 is not a probability" in done.stderr) == (2, True)
    for command in ("validate", "circuit"):
        done = qkan(command, trained)
        assert (done.exit_code, "the model has no layer of single-qubit circuits" in done.stderr) == (2, True)


def test_without_pennylane_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch, qkan) -> None:
    monkeypatch.setattr(require, "find_spec", lambda name: None)
    done = qkan("validate", *FAST)
    assert done.exit_code == 2
    assert done.stderr == ("Error: PennyLane is not installed, and this needs it: pip install 'qkan-seq[pennylane]'\n")


def test_the_circuit_of_an_edge_is_drawn_exported_and_counted(circuits: Path, qkan, tmp_path: Path) -> None:
    done = qkan("circuit", circuits, "--edge", "3,1", "--layer", "cell.directions.0.gates.hidden", "--execute")
    assert done.exit_code == 0, done.output
    assert "cell.directions.0.gates.hidden, from input 1 to output 3, at x = 0.5" in done.output
    assert "0: ──H──RZ(" in done.output
    assert "1 h, 3 rz, 2 ry" in done.output
    assert 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];' in done.output
    assert "96, one for every circuit and time step" in done.output  # 4 steps, 8 outputs, 1 input and 2 states
    assert "960,000: 10,000 for a standard error of 0.01 in every <Z>" in done.output
    assert "edge by edge: " in done.output
    out = tmp_path / "drawn"
    done = qkan("circuit", circuits, "--out", out)
    assert done.exit_code == 0, done.output
    assert {file.name for file in out.iterdir()} == {"circuit.qasm", "circuit.png", "spectrum.png"}
    assert (out / "circuit.qasm").read_text().endswith("measure q[0] -> c[0];\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--edge", "8,0"], "output 8 is outside [0, 7]: the layer has no such edge"),
        (["--edge", "1"], "'1' is not an output and an input, such as 0,1"),
        (
            ["--layer", "head"],
            "no layer of circuits 'head'; it has cell.directions.0.gates.input, cell.directions.0.gates",
        ),
        (["--precision", "0"], "precision 0.0 must be a standard error in (0, 1]"),
    ],
)
def test_bad_input_of_circuit(arguments: list[str], sentence: str, circuits: Path, qkan) -> None:
    done = qkan("circuit", circuits, *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
