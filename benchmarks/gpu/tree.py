"""The package importable from a checkout where nothing is installed; the standard library only."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Folders that an installation maps into the package.
MAPPED = ("kernels", "datasets", "cli")


def make_importable() -> None:
    """Put the package on the path of this process and its children, by links, unless it is there already."""
    sys.path[:] = [str(ROOT), *(place for place in sys.path if place not in ("", str(ROOT)))]
    if _installed():
        return
    tree = Path(tempfile.mkdtemp(prefix="qkan-tree-"))
    (tree / "qkan").mkdir()
    for entry in [*(ROOT / "qkan").iterdir(), *(ROOT / name for name in MAPPED)]:
        (tree / "qkan" / entry.name).symlink_to(entry)
    for name in [name for name in sys.modules if name.split(".")[0] == "qkan"]:
        del sys.modules[name]
    sys.path.insert(0, str(tree))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tree), str(ROOT), os.environ.get("PYTHONPATH"))))


def _installed() -> bool:
    try:
        return find_spec("qkan.kernels.layer") is not None
    except ImportError:
        return False
