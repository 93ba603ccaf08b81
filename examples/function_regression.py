"""Fitting 14 functions with QKAN, an MLP, a spline KAN and the original authors' QKAN of as many parameters.

    python examples/function_regression.py                    # hours of one core; installs the original package once
    python examples/function_regression.py --functions 0 2 --kinds MLP QKAN

All networks have two layers (the MLP two or three linear maps) and at most --parameters trained numbers. Each kind has
four forms, each with inputs as they are and scaled to [-1, 1]; all eight are trained on every function with seed 0, the
lowest validation error chooses, and all seeds are trained with that. Training is the same for all: LBFGS on all points,
in double precision. Test errors choose nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import regression_worker as worker

Answer = dict[str, Any]
Ask = Callable[[Answer], Answer]

_LONG: Answer = {"reps": 8, "ansatz": "rpz", "preact": True, "base": "tanh"}
#: A circuit for every edge: the four forms that both packages had, of which the original keeps all.
_PER_EDGE: list[Answer] = [
    {"reps": 3, "ansatz": "pz", "preact": False, "base": "silu"},  # the default of layers in both packages
    {"reps": 3, "ansatz": "rpz", "preact": False, "base": "tanh"},
    {"reps": 2, "ansatz": "rpz", "preact": False, "base": "tanh"},
    _LONG,
]
#: One circuit a layer, with a weight and a slope for every edge, so that the network is four times as wide. With the
#: original's draw, in which all edges have equal weights, its hidden nodes would stay copies of one another.
_SHARED: Answer = {"reps": 6, "preact": False, "base": "identity", "group": 1}
#: For every kind: its builder, and four forms to choose from.
KINDS: dict[str, tuple[str, list[Answer]]] = {
    "MLP": ("mlp", [{"depth": depth, "activation": name} for depth in (1, 2) for name in ("tanh", "silu")]),
    "spline KAN": ("spline", [{"grid": grid} for grid in (3, 5, 10, 20)]),
    "original QKAN": ("original", _PER_EDGE),
    "QKAN": (
        "qkan",
        [
            _LONG,
            {**_SHARED, "ansatz": "pz", "init": "near_linear"},
            {**_SHARED, "ansatz": "rpz"},
            {**_SHARED, "ansatz": "rpz", "reps": 8, "preact": True},
        ],
    ),
}
THEIRS = ("original", "spline")
_LONGEST = 1800.0  # seconds of one training run


@contextlib.contextmanager
def workers(kinds: list[str], folder: Path | None) -> Iterator[Ask]:
    """A function that trains what a request names, in this process or in one beside the original package."""
    if not any(KINDS[kind][0] in THEIRS for kind in kinds):
        yield worker.answer
        return
    sys.path.append(str(Path(__file__).parents[1]))  # benchmarks/ is no part of the package
    from benchmarks.harness.peer_process import process_of

    original = process_of("qkan-0.2.3", folder, Path(worker.__file__))
    if original is None:
        raise SystemExit("the original package is not installed: make bench-peers, or --kinds MLP QKAN")
    with original as peer:

        def ask(request: Answer) -> Answer:
            if request["kind"] not in THEIRS:
                return worker.answer(request)
            found = peer.ask(request, _LONGEST)
            if "reason" in found:
                raise RuntimeError(f"{request['kind']} on {request['function']!r}: {found['reason']}")
            return found

        yield ask


def measure(ask: Ask, function: str, kind: str, options: argparse.Namespace) -> Answer:
    """Choose the form of a kind for a function and train it with all seeds.

    Returns:
        what was chosen, its ``parameters`` and the test ``errors``, one per seed.
    """
    builder, forms = KINDS[kind]
    shared = {"function": function, "kind": builder} | {n: getattr(options, n) for n in ("parameters", "iterations")}
    requests = [{**shared, "options": form, "scaled": scaled} for form in forms for scaled in (True, False)]
    tried = [ask({**request, "seed": 0}) for request in requests]
    place = min(range(len(requests)), key=lambda index: tried[index]["validation_loss"])
    more = [ask({**requests[place], "seed": seed}) for seed in range(1, options.seeds)]
    errors = [found["error"] for found in (tried[place], *more)]
    return {**requests[place], "parameters": tried[place]["parameters"], "errors": errors}


def row(function: str, found: dict[str, Answer]) -> str:
    """A line of the table: median errors over the seeds, the lowest in bold, with parameters."""
    errors = {kind: statistics.median(result["errors"]) for kind, result in found.items()}
    best = min(errors, key=errors.__getitem__)
    cells = (
        f"**{errors[kind]:.1e}** ({result['parameters']})"
        if kind == best
        else f"{errors[kind]:.1e} ({result['parameters']})"
        for kind, result in found.items()
    )
    return f"| {function} | {' | '.join(cells)} |"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; those that make no sense exit with code 2."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--functions", type=int, nargs="+", default=list(range(len(worker.FUNCTIONS))), metavar="N")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--parameters", type=int, default=200, help="trained numbers, at most (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the chosen form (default %(default)s)")
    parser.add_argument("--iterations", type=int, default=400, help="of LBFGS (default %(default)s)")
    parser.add_argument("--peers", type=Path, help="folder of environments (default build/peers)")
    options = parser.parse_args(arguments)
    last = len(worker.FUNCTIONS) - 1
    for number in options.functions:
        if not 0 <= number <= last:
            parser.error(f"--functions are numbers from 0 to {last}, got {number}")
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Print the table and how often QKAN is below each of the others."""
    options = parse(arguments)
    names = list(worker.FUNCTIONS)
    below = dict.fromkeys(options.kinds, 0)
    with workers(options.kinds, options.peers) as ask:
        print(f"| function | {' | '.join(options.kinds)} |\n|---|{'---|' * len(options.kinds)}")
        for number in options.functions:
            found = {kind: measure(ask, names[number], kind, options) for kind in options.kinds}
            print(row(names[number], found), flush=True)
            for kind in options.kinds:
                own = found.get("QKAN", found[kind])
                below[kind] += statistics.median(own["errors"]) < statistics.median(found[kind]["errors"])
    others = [f"{kind} on {below[kind]}" for kind in options.kinds if kind != "QKAN"]
    if "QKAN" in options.kinds and others:
        print(f"\nQKAN has the lower error than {', '.join(others)} of {len(options.functions)} functions.")


if __name__ == "__main__":
    main()
