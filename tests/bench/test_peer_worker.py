"""What the processes of peers do, with stand-ins for their packages."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from qkan.bench import layer_peers, peer_worker
from qkan.bench.contest import CIRCUITS, SPLINES
from qkan.bench.layer import Options, Size, Work
from qkan.bench.peers import Peer, PeerError

REQUEST = {
    "builder": "pykan",
    "size": [6, 3, 4, 2],
    "preact": "trained",
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
    work = Work(Size(6, 3, 4, 2), "trained", OPTIONS)
    assert x.dtype == torch.float64
    assert x.requires_grad
    assert torch.equal(x, peer_worker.load_measure().draw(6, 3, "uniform", 1.0, 0).double())
    assert x.shape == work.numbers(3, "uniform", 0).shape
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
        {"seconds", "extra_bytes", "parameters", "torch"}
    ]


OPTIONS = Options(("fixed",), "normal", "pz", torch.device("cpu"), "float64", 3, 5, 20.0, (), 11)


def test_peers_become_contestants(monkeypatch, tmp_path) -> None:
    def prepare(peer: Peer, torch_version: str, say) -> object:
        assert torch_version == torch.__version__
        if peer.name.startswith("efficient"):
            raise PeerError("efficient-kan==0.1.0 is not on the package index")
        return tmp_path / "bin" / "python"

    asked = []
    monkeypatch.setattr(layer_peers.peers, "prepare", prepare)
    monkeypatch.setattr(
        layer_peers.PeerProcess,
        "ask",
        lambda self, request, seconds: asked.append((request, seconds)) or {"reason": "no"},
    )
    said: list[str] = []
    with layer_peers.layers_of_others(said.append) as others:
        found = others(Work(Size(6, 3, 4, 2), "trained", OPTIONS))
    assert [one.name for one in found if one.family == CIRCUITS] == [
        f"original 0.2.3, {solver}" for solver in ("exact", "tn", "cutn", "flash", "cute", "cutile")
    ]
    splines = {one.name: one.reason for one in found if one.family == SPLINES}
    assert splines == {
        "KANLinear of original 0.2.3": None,
        "pykan 0.2.8, KANLayer": None,
        "efficient-kan 0.1.0, KANLinear": "efficient-kan==0.1.0 is not on the package index",
    }
    assert said == [layer_peers.NOTE]
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


def test_every_builder_is_known_to_the_worker() -> None:
    requested = {layer.request["builder"] for _, layers in layer_peers.PEERS for layer in layers}
    assert requested == set(peer_worker.BUILDERS)
