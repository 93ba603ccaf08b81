"""Modules of other people that ours are measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.harness import contest, peers
from benchmarks.harness.contest import Contestant
from benchmarks.harness.peers import Peer, PeerError, PeerProcess
from benchmarks.harness.work import Work

_BACKSTOP = 1.5  # times the limit of a contestant, which the process keeps by itself unless one step hangs


@dataclass(frozen=True)
class PeerModule:
    """A module of a package.

    Attributes:
        name, family: as in :class:`Contestant`.
        request: what :mod:`benchmarks.harness.peer_worker` has to build.
    """

    name: str
    family: str
    request: dict[str, str]


def _original(builder: str) -> tuple[PeerModule, ...]:
    return tuple(
        PeerModule(f"original 0.2.3, {solver}", contest.CIRCUITS, {"builder": builder, "solver": solver})
        for solver in ("exact", "tn", "cutn", "flash", "cute", "cutile")
    )


def _spline(name: str, builder: str) -> PeerModule:
    return PeerModule(name, contest.SPLINES, {"builder": builder})


ORIGINAL = Peer("qkan-0.2.3", ("qkan==0.2.3",), build_tools=("setuptools", "wheel", "ninja", "numpy"))
#: What the names of the contestants do not say, by the name of the work.
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
}
PEERS: dict[str, tuple[tuple[Peer, tuple[PeerModule, ...]], ...]] = {
    "layer": (
        (ORIGINAL, (*_original("original"), _spline("KANLinear of original 0.2.3", "kan-linear-of-original"))),
        (
            # pykan names no requirements of its own.
            Peer(
                "pykan-0.2.8",
                (
                    *("pykan==0.2.8", "numpy", "matplotlib", "sympy", "pandas", "pyyaml", "scikit-learn", "tqdm"),
                    "setuptools",
                ),
            ),
            (_spline("pykan 0.2.8, KANLayer", "pykan"),),
        ),
        (
            Peer("efficient-kan-0.1.0", ("efficient-kan==0.1.0",)),
            (_spline("efficient-kan 0.1.0, KANLinear", "efficient-kan"),),
        ),
    ),
    "lstm": ((ORIGINAL, _original("original-lstm")),),
}


@contextmanager
def modules_of_others(name: str, say: Callable[[str], None]) -> Iterator[Callable[[Work], list[Contestant]]]:
    """Install the peers and start their processes; gives a function that lists them as contestants of a work.

    Args:
        name: of the works, a key of :data:`PEERS`; works of other names have no peers.
        say: told what takes long, and what the names of the contestants do not say.
    """
    with ExitStack() as stack:
        ready: list[tuple[PeerModule, PeerProcess | str]] = []
        for peer, modules in PEERS[name]:
            try:
                python = peers.prepare(peer, torch.__version__, say)
            except PeerError as error:
                ready += [(module, str(error)) for module in modules]
                continue
            process = stack.enter_context(PeerProcess(python, python.parents[1] / "worker.log"))
            ready += [(module, process) for module in modules]
        say(NOTES[name])
        yield lambda work: [_contestant(module, process, work) for module, process in ready if work.name == name]


def _contestant(module: PeerModule, process: PeerProcess | str, work: Work) -> Contestant:
    if isinstance(process, str):
        return Contestant(module.name, module.family, reason=process)
    request = module.request | _request(work)
    seconds = _BACKSTOP * work.options.limit
    return Contestant(module.name, module.family, ask=lambda: process.ask(request, seconds))


def _request(work: Work) -> dict[str, Any]:
    options = work.options
    return work.request | {
        "infer": work.infers,
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
