"""The command: phases in processes of their own, within one budget."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.gpu.record import Cases, Record, run_cases
from benchmarks.gpu.tree import ROOT

#: Phases, the module whose function ``cases(options)`` lists what it runs, and its seconds at most. Their sum with the
#: start of eight processes is below the eight minutes of the whole.
PHASES: dict[str, tuple[str, float]] = {
    "ceilings": ("benchmarks.gpu.ceilings", 25.0),
    "correctness": ("benchmarks.gpu.correctness", 90.0),
    "speed": ("benchmarks.gpu.speed", 150.0),
    "prices": ("benchmarks.gpu.prices", 30.0),
    "suite": ("benchmarks.gpu.suite", 95.0),
    "sanitizer": ("benchmarks.gpu.sanitizer", 40.0),
}
DRY_PHASES: dict[str, tuple[str, float]] = {
    "launches": ("benchmarks.gpu.launches", 30.0),
    "builds": ("benchmarks.gpu.builds", 50.0),
}
#: Seconds of everything.
BUDGET, DRY_BUDGET = 480.0, 60.0
#: How often a phase is begun: behind a case that ended its process it goes on.
ATTEMPTS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit code is 1 if a case failed."""
    options = _parsed(arguments)
    record_path = Path(options.out).resolve()
    if options.phase is not None:
        return run_phase(options.phase, options, record_path)
    record_path.unlink(missing_ok=True)
    deadline = time.time() + options.budget
    known = DRY_PHASES if options.dry else PHASES
    for name in known:
        if options.only and name not in options.only:
            continue
        _in_processes(name, known[name][1], deadline, options, record_path)
    record = Record(record_path)
    record.data["seconds"] = round(time.time() - deadline + options.budget, 1)
    record.write()
    failed = _summary(record)
    print(f"{record_path}: {record.data['seconds']} s")
    return 1 if failed else 0


def run_phase(name: str, options: Any, path: Path) -> int:
    """Run a phase in this process."""
    module, seconds = {**PHASES, **DRY_PHASES}[name]
    cases: Callable[[Any], Cases] = import_module(module).cases
    run_cases(Record(path), name, cases(options), time.time() + min(seconds, options.seconds))
    return 0


def _in_processes(name: str, seconds: float, deadline: float, options: Any, path: Path) -> None:
    for _ in range(ATTEMPTS):
        left = min(seconds - Record(path).phase(name)["seconds"], deadline - time.time())
        if left < 3.0:
            break
        words = ["--phase", name, "--seconds", f"{left:.1f}", "--out", str(path), "--device", options.device]
        words += ["--small"] if options.small else []
        words += ["--targets", *options.targets] if options.targets else []
        try:
            # Cases look at the clock between them; one that hangs does not.
            command = [sys.executable, "-m", "benchmarks.gpu", *words]
            done = subprocess.run(command, timeout=left + 15.0, cwd=ROOT)
        except subprocess.TimeoutExpired:
            _note(path, name, f"stopped after {left + 15:.0f} s")
            break
        if done.returncode == 0:
            return
        _note(path, name, f"a process ended with exit code {done.returncode}")
    _note(path, name, "not finished")


def _note(path: Path, phase: str, text: str) -> None:
    record = Record(path)
    record.phase(phase).setdefault("notes", []).append(text)
    record.write()


def _summary(record: Record) -> int:
    """Print a line a phase and one for every failed case; how many failed."""
    count = 0
    for name, phase in record.data["phases"].items():
        failed = {case: found for case, found in phase["cases"].items() if found["outcome"] not in ("done", "skipped")}
        print(f"{name}: {len(phase['cases'])} cases, {len(failed)} of them not done, {phase['seconds']:.1f} s")
        for case, found in failed.items():
            print(f"  {case}: {found['outcome']} {found.get('error', '')}")
        count += len(failed) + len(phase.get("notes", ()))
    return count


def _parsed(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="without a GPU: builds, stand-in launches, launch counts")
    parser.add_argument("--only", nargs="*", choices=[*PHASES, *DRY_PHASES], help="phases; default all")
    parser.add_argument("--targets", nargs="*", metavar="CARD", help="what --dry builds for, such as sm_120 gfx1100")
    parser.add_argument("--small", action="store_true", help="fewer and smaller cases")
    parser.add_argument("--budget", type=float, help=f"seconds; default {BUDGET:.0f}, {DRY_BUDGET:.0f} with --dry")
    parser.add_argument("--out", default="gpu.json", help="the file of the results; default gpu.json")
    parser.add_argument("--device", default="cuda", help="cpu runs the same lines without a GPU; default cuda")
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=BUDGET, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.budget is None:
        options.budget = DRY_BUDGET if options.dry else BUDGET
    if not options.budget > 0:
        parser.error(f"--budget {options.budget} must be above 0 seconds, such as {BUDGET:.0f}")
    return options
