"""What a result depends on besides its options: versions, machine, revision."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qkan._version import __version__

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "pandas", "scipy", "safetensors")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return versions, machine, device, available threads and, in a checkout, the git revision; JSON-able."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "qkan": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads_available": torch.get_num_threads(),
        "git": git_revision(Path(__file__)),
    }


def git_revision(file: Path) -> str | None:
    """Return the revision of the checkout that tracks ``file`` (``-dirty`` if changed), ``None`` outside of one."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(file.parent), *arguments], capture_output=True, text=True, timeout=10, check=False
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None  # no git here: the revision is unknown, which is what None says
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", file.name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
