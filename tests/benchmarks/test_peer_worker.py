"""What the processes of peers do, with stand-ins for their packages."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.harness import peer_modules, peer_process, peer_worker
from benchmarks.harness.candidates import CIRCUITS, SPLINES
from benchmarks.harness.stream import StreamSize, StreamWork
from benchmarks.harness.work import Options
from benchmarks.layer import LayerWork, Size
from benchmarks.lstm import LSTMWork
from benchmarks.lstm import Size as LSTMSize

REQUEST = {
    "builder": "pykan",
    "in_features": 3,
    "out_features": 4,
    "reps": 2,
    "preact": "trained",
    "x_shape": [6, 3],
    "y_shape": [6, 4],
    "batch_dim": 0,
    "infer": False,
    "inputs": "uniform",
    "bound": 1.0,
    "ansatz": "pz",
    "device": "cpu",
    "dtype": "float64",
    "threads": 1,
    "rounds": 2,
    "limit": 60.0,
    "seed": 0,
}


class Theirs(nn.Module):
    """Takes the arguments of any peer and keeps them."""

    made: "list[Theirs]"

    def __init__(self, inputs: int, outputs: int, **options: object) -> None:
        super().__init__()
        self.linear, self.options = nn.Linear(inputs, outputs), options
        self.frozen = nn.Parameter(torch.ones(5), requires_grad=False)
        self.seen: list[Tensor] = []
        type(self).made.append(self)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.linear(x)


class TheirsWithMore(Theirs):
    made: "list[Theirs]"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x), x


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    Theirs.made, TheirsWithMore.made = [], []
    monkeypatch.setitem(sys.modules, "qkan", SimpleNamespace(QKANLayer=Theirs))
    monkeypatch.setitem(sys.modules, "qkan.kan", SimpleNamespace(KANLinear=Theirs))
    monkeypatch.setitem(sys.modules, "efficient_kan", SimpleNamespace(KANLinear=Theirs))
    monkeypatch.setitem(sys.modules, "kan", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "kan.KANLayer", SimpleNamespace(KANLayer=TheirsWithMore))


def test_answer_holds_times_memory_and_trained_parameters() -> None:
    answer = peer_worker.answer(REQUEST)
    assert len(answer["seconds"]) == 2
    assert all(seconds > 0 for seconds in answer["seconds"])
    assert answer["parameters"] == 3 * 4 + 4
    assert answer["extra_bytes"] == 6 * 4 * 8
    assert answer["torch"] == torch.__version__


def test_inputs_are_those_of_the_work() -> None:
    peer_worker.answer(REQUEST)
    (layer,) = TheirsWithMore.made
    x = max(layer.seen, key=len)
    work = LayerWork(Size(6, 3, 4, 2), OPTIONS, "trained")
    assert x.dtype == torch.float64
    assert x.requires_grad
    assert torch.equal(x, peer_worker.load_measure().draw((6, 3), "uniform", 1.0, 0).double())
    assert x.shape == work.columns(3, "uniform", 0).shape
    assert layer.options == {"num": 3, "k": 3, "device": "cpu"}


@pytest.mark.parametrize(
    ("builder", "options"),
    [
        (
            "original",
            {
                "reps": 2,
                "solver": "tn",
                "ansatz": "pz",
                "preact_trainable": True,
                "device": "cpu",
                "p_dtype": torch.float64,
                "c_dtype": torch.complex128,
            },
        ),
        ("efficient-kan", {"grid_size": 3, "spline_order": 3}),
        ("kan-linear-of-original", {"grid_size": 3, "spline_order": 3}),
    ],
)
def test_layers_are_built_with_these_options(builder: str, options: dict[str, object]) -> None:
    assert "seconds" in peer_worker.answer(REQUEST | {"builder": builder, "solver": "tn"})
    assert [layer.options for layer in Theirs.made] == [options]


@pytest.mark.parametrize(
    ("builder", "options"),
    [("pykan", {"num": 5, "k": 3, "device": "cpu"}), ("efficient-kan", {"grid_size": 5, "spline_order": 3})],
)
def test_a_network_of_others_is_their_layers_in_a_row(builder: str, options: dict[str, object]) -> None:
    answer = peer_worker.answer(REQUEST | {"builder": builder, "widths": [3, 5, 4], "grid": 5})
    assert answer["parameters"] == 3 * 5 + 5 + 5 * 4 + 4
    made = TheirsWithMore.made if builder == "pykan" else Theirs.made
    assert [layer.options for layer in made] == [options] * 2


LSTM = REQUEST | {
    "builder": "original-lstm",
    "solver": "tn",
    "preact": "fixed",
    "x_shape": [5, 6, 3],
    "y_shape": [5, 6, 4],
    "batch_dim": 1,
    "infer": True,
}


def test_lstm_of_others_has_one_layer_for_its_gates() -> None:
    answer = peer_worker.answer(LSTM)
    assert (len(answer["seconds"]), len(answer["inference"])) == (2, 2)
    assert answer["parameters"] == (3 + 4) * 16 + 16
    (layer,) = Theirs.made
    assert layer.options["preact_trainable"] is False
    assert {tuple(x.shape) for x in layer.seen} == {(rows, 7) for rows in (1, 2, 6)}
    assert not layer.training  # inference came last


def test_lstm_of_others_is_that_of_torch_where_its_layer_is_linear() -> None:
    torch.manual_seed(0)
    exact = nn.LSTM(3, 4).double()
    linear = nn.Linear(7, 16).double()
    with torch.no_grad():
        linear.weight.copy_(torch.cat((exact.weight_ih_l0, exact.weight_hh_l0), 1))
        linear.bias.copy_(exact.bias_ih_l0 + exact.bias_hh_l0)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(peer_worker.LSTMOfLayer(linear, 4)(x), exact(x)[0])


def test_whatever_stops_a_peer_is_its_answer(monkeypatch) -> None:
    def no_triton(*arguments: object, **options: object) -> None:
        raise ImportError("Triton is required for solver='flash'.\nInstall it")

    monkeypatch.setitem(sys.modules, "qkan", SimpleNamespace(QKANLayer=no_triton))
    answer = peer_worker.answer(REQUEST | {"builder": "original", "solver": "flash"})
    assert answer == {"reason": "ImportError: Triton is required for solver='flash'."}


def test_limits_are_kept(monkeypatch) -> None:
    answer = peer_worker.answer(REQUEST | {"limit": 1e-9})
    assert answer["reason"].startswith("too slow: 1 of 6 rows took ")


def test_every_line_is_a_request_and_an_answer() -> None:
    answers = io.StringIO()
    peer_worker.serve(io.StringIO(2 * (json.dumps(REQUEST) + "\n")), answers)
    assert [set(json.loads(line)) for line in answers.getvalue().splitlines()] == 2 * [
        {"seconds", "inference", "extra_bytes", "parameters", "torch"}
    ]


OPTIONS = Options("normal", "pz", torch.device("cpu"), "float64", 3, 5, 20.0, (), 11)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[dict, float]]:
    """Environments of two packages, whose processes refuse every request; returns the requests."""
    for name in ("qkan-0.2.3", "pykan-0.2.8"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".installed").touch()
    monkeypatch.setattr(peer_process, "FOLDER", tmp_path)
    requests: list[tuple[dict, float]] = []
    monkeypatch.setattr(
        peer_modules.PeerProcess,
        "ask",
        lambda self, request, seconds: requests.append((request, seconds)) or {"reason": "no"},
    )
    return requests


def test_peers_become_candidates(asked) -> None:
    said: list[str] = []
    with peer_modules.peer_candidates("layer", said.append) as listed:
        found = listed(LayerWork(Size(6, 3, 4, 2), OPTIONS, "trained"))
    assert [one.name for one in found if one.family == CIRCUITS] == [
        f"original 0.2.3, {solver}" for solver in ("exact", "tn", "cutn", "flash", "cute", "cutile")
    ]
    splines = {one.name: one.reason for one in found if one.family == SPLINES}
    assert splines == {
        "KANLinear of original 0.2.3": None,
        "pykan 0.2.8, KANLayer": None,
        "efficient-kan 0.1.0, KANLinear": "efficient-kan-0.1.0 is not installed: make bench-peers",
    }
    assert said == [peer_modules.NOTES["layer"]]
    assert found[1].ask is not None
    assert found[1].ask() == {"reason": "no"}
    expected = {
        "builder": "original",
        "solver": "tn",
        "inputs": "normal",
        "threads": 3,
        "rounds": 5,
        "limit": 20.0,
        "seed": 11,
    }
    assert asked == [(REQUEST | expected, 30.0)]


def test_peers_of_a_recurrence_are_asked_for_its_sizes(asked) -> None:
    with peer_modules.peer_candidates("lstm", [].append) as listed:
        found = listed(LSTMWork(LSTMSize(6, 5, 4, 2), OPTIONS, 3))
        assert listed(StreamWork(StreamSize(3, 4, 2), OPTIONS)) == []
    assert {one.family for one in found} == {CIRCUITS}
    assert found[1].ask is not None
    found[1].ask()
    expected = LSTM | {"inputs": "normal", "threads": 3, "rounds": 5, "limit": 20.0, "seed": 11}
    assert asked == [(expected, 30.0)]


def test_every_builder_is_known_to_the_worker() -> None:
    peers = [peer for listed in peer_modules.PEERS.values() for peer in listed]
    assert {peer.request["builder"] for peer in peers} == set(peer_worker.BUILDERS)


def test_every_environment_has_requirements_for_make() -> None:
    environments = {peer.environment for listed in peer_modules.PEERS.values() for peer in listed}
    assert {path.stem for path in (Path(peer_modules.__file__).parents[1] / "peers").glob("*.txt")} == environments
