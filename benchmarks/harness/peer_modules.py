"""Modules of other packages that ours are measured against. ``make bench-peers`` makes their environments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness.candidates import CIRCUITS, SPLINES, Candidate
from benchmarks.harness.peer_process import PeerProcess, process_of
from benchmarks.harness.work import Work

_BACKSTOP = 1.5  # times the limit of a candidate, which the process keeps by itself unless one step hangs


@dataclass(frozen=True)
class PeerModule:
    """A module of another package.

    Attributes:
        environment: named like its requirements in ``benchmarks/peers``.
        name, family: as in :class:`Candidate`.
        request: what :mod:`benchmarks.harness.peer_worker` has to build.
    """

    environment: str
    name: str
    family: str
    request: dict[str, str]


def _original(builder: str) -> tuple[PeerModule, ...]:
    return tuple(
        PeerModule("qkan-0.2.3", f"original 0.2.3, {solver}", CIRCUITS, {"builder": builder, "solver": solver})
        for solver in ("exact", "tn", "cutn", "flash", "cute", "cutile")
    )


def _spline(environment: str, name: str, builder: str) -> PeerModule:
    return PeerModule(environment, name, SPLINES, {"builder": builder})


#: By the name of the work; works of other names have no peers.
PEERS: dict[str, tuple[PeerModule, ...]] = {
    "layer": (
        *_original("original"),
        _spline("qkan-0.2.3", "KANLinear of original 0.2.3", "kan-linear-of-original"),
        _spline("pykan-0.2.8", "pykan 0.2.8, KANLayer", "pykan"),
        _spline("efficient-kan-0.1.0", "efficient-kan 0.1.0, KANLinear", "efficient-kan"),
    ),
    "lstm": _original("original-lstm"),
    "kan_layer": (
        _spline("inkan-0.5.2", "inkan 0.5.2, compiled", "inkan"),
        _spline("pykan-0.2.8", "pykan 0.2.8, KANLayer", "pykan"),
        _spline("efficient-kan-0.1.0", "efficient-kan 0.1.0, KANLinear", "efficient-kan"),
    ),
}
#: What the names of the candidates do not say, by the name of the work.
NOTES = {
    "layer": (
        "peers: the original package with its default readout |alpha| - |beta|; pykan's KANLayer without the symbolic "
        "branch of its MultKAN; efficient-kan's KANLinear as published and as the original package carries it; splines "
        "with grid 3 and order 3"
    ),
    "lstm": (
        "peers: an LSTM in which one layer of the original package, with its default readout and base branch, maps "
        "[x_t, h_(t-1)] to the four gates of every step"
    ),
    "kan_layer": "peers: inkan's KANLayer with its compiled functions, pykan's without its symbolic branch",
}


@contextmanager
def peer_candidates(name: str, say: Callable[[str], None]) -> Iterator[Callable[[Work], list[Candidate]]]:
    """Open the peers' processes; gives a function that lists their modules as candidates of a work.

    Args:
        name: of the works, a key of :data:`PEERS`.
        say: told what the names of the candidates do not say.
    """
    with ExitStack() as stack:
        processes: dict[str, PeerProcess] = {}
        for environment in dict.fromkeys(peer.environment for peer in PEERS[name]):
            process = process_of(environment)
            if process is not None:
                processes[environment] = stack.enter_context(process)
        say(NOTES[name])
        yield lambda work: [_candidate(peer, processes, work) for peer in PEERS[name] if work.name == name]


def _candidate(peer: PeerModule, processes: dict[str, PeerProcess], work: Work) -> Candidate:
    process = processes.get(peer.environment)
    if process is None:
        return Candidate(peer.name, peer.family, reason=f"{peer.environment} is not installed: make bench-peers")
    request = peer.request | _request(work)
    seconds = _BACKSTOP * work.options.limit
    return Candidate(peer.name, peer.family, ask=lambda: process.ask(request, seconds))


def _request(work: Work) -> dict[str, Any]:
    options = asdict(work.options) | {"device": str(work.options.device), "bound": work.options.bound}
    del options["backends"]
    return work.request | options | {"infer": work.infers}
