"""Layers of other people that a QKAN layer is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from qkan.bench import contest, peers
from qkan.bench.contest import Contestant
from qkan.bench.layer import Work
from qkan.bench.peers import Peer, PeerError, PeerProcess

_BACKSTOP = 1.5  # times the limit of a contestant, which the process keeps by itself unless one step hangs


@dataclass(frozen=True)
class PeerLayer:
    """A layer of a package.

    Attributes:
        name, family: as in :class:`Contestant`.
        request: what :mod:`qkan.bench.peer_worker` has to build.
    """

    name: str
    family: str
    request: dict[str, str]


def _original(solver: str) -> PeerLayer:
    request = {"builder": "original", "solver": solver}
    return PeerLayer(f"original 0.2.3, {solver}", contest.CIRCUITS, request)


def _spline(name: str, builder: str) -> PeerLayer:
    return PeerLayer(name, contest.SPLINES, {"builder": builder})


#: What the names of the contestants do not say.
NOTE = (
    "peers: the original package with its default readout |alpha| - |beta|; pykan's KANLayer without the symbolic "
    "branch of its MultKAN; efficient-kan's KANLinear as published and as the original package carries it; splines "
    "with grid 3 and order 3"
)
PEERS: tuple[tuple[Peer, tuple[PeerLayer, ...]], ...] = (
    (
        Peer("qkan-0.2.3", ("qkan==0.2.3",), build_tools=("setuptools", "wheel", "ninja", "numpy")),
        (
            *(_original(solver) for solver in ("exact", "tn", "cutn", "flash", "cute", "cutile")),
            _spline("KANLinear of original 0.2.3", "kan-linear-of-original"),
        ),
    ),
    (
        # pykan names no requirements of its own.
        Peer(
            "pykan-0.2.8",
            ("pykan==0.2.8", "numpy", "matplotlib", "sympy", "pandas", "pyyaml", "scikit-learn", "tqdm", "setuptools"),
        ),
        (_spline("pykan 0.2.8, KANLayer", "pykan"),),
    ),
    (
        Peer("efficient-kan-0.1.0", ("efficient-kan==0.1.0",)),
        (_spline("efficient-kan 0.1.0, KANLinear", "efficient-kan"),),
    ),
)


@contextmanager
def layers_of_others(say: Callable[[str], None]) -> Iterator[Callable[[Work], list[Contestant]]]:
    """Install the peers and start their processes; gives a function that lists them as contestants of a work."""
    with ExitStack() as stack:
        ready: list[tuple[PeerLayer, PeerProcess | str]] = []
        for peer, layers in PEERS:
            try:
                python = peers.prepare(peer, torch.__version__, say)
            except PeerError as error:
                ready += [(layer, str(error)) for layer in layers]
                continue
            process = stack.enter_context(PeerProcess(python, python.parents[1] / "worker.log"))
            ready += [(layer, process) for layer in layers]
        say(NOTE)
        yield lambda work: [_contestant(layer, process, work) for layer, process in ready]


def _contestant(layer: PeerLayer, process: PeerProcess | str, work: Work) -> Contestant:
    if isinstance(process, str):
        return Contestant(layer.name, layer.family, reason=process)
    request = layer.request | _request(work)
    seconds = _BACKSTOP * work.options.limit
    return Contestant(layer.name, layer.family, ask=lambda: process.ask(request, seconds))


def _request(work: Work) -> dict[str, Any]:
    options = work.options
    return {
        "size": list(work.size),
        "preact": work.preact,
        "inputs": options.inputs,
        "bound": options.bound,
        "ansatz": options.ansatz,
        "device": str(options.device),
        "dtype": options.dtype,
        "threads": options.threads,
        "rounds": options.rounds,
        "limit": options.limit,
        "seed": options.seed,
    }
