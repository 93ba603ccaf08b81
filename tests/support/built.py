"""What a script of this folder says of kernels that it compiles for GPUs, in a process of its own.

Those of the calling process may be interpreted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def rows(script: str, cases: Sequence[str], folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The script's rows by case and kernel; ``folder`` is for Triton's cache, so that everything is compiled."""
    command = [sys.executable, Path(__file__).with_name(script), *cases]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["case"], row["kernel"]): row for row in found}
