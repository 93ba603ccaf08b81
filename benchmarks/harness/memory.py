"""What processes need of a machine's memory: pages that several of them map count once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_KINDS = ("Pss", "Pss_Anon", "Pss_File")
_BETWEEN = 0.5


def descendants(pid: int) -> list[int]:
    """Return a process and all that it and its children started, as far as they still run."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, []))
    return found


def memory_of(pids: Sequence[int]) -> dict[str, int]:
    """Return bytes of processes together: of all pages, of those that are no file's, and of mapped files.

    Each is the proportional set size: a page that n processes map counts 1/n in each of them. Pages of files (values of
    a panel, libraries) can be taken back by the system at any time; the others cannot.
    """
    sums = dict.fromkeys(_KINDS, 0)
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended meanwhile
            continue
        for line in lines:
            kind, _, size = line.partition(":")
            if kind in sums:
                sums[kind] += 1024 * int(size.split()[0])
    return sums


def run_measured(command: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Run a command; return what it printed, and the largest memory of it and its children, in MiB by kind.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    most = dict.fromkeys(_KINDS, 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            for kind, size in memory_of(descendants(process.pid)).items():
                most[kind] = max(most[kind], size)
            time.sleep(_BETWEEN)
        printed = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, printed)
    return printed, {f"{kind.lower()}_mib": size // 2**20 for kind, size in most.items()}
