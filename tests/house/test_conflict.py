"""The original authors' distribution installs a package of the same name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qkan._conflict import check_no_conflict


def import_qkan_beside(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import qkan; print(qkan.__version__)"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def add_distribution(folder: Path, name: str) -> None:
    info = folder / f"{name}-0.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2.3\n")


def test_import_refuses_to_share_the_environment(tmp_path: Path) -> None:
    add_distribution(tmp_path, "qkan")
    done = import_qkan_beside(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: The distributions qkan 0.2.3 and qkan-seq both install the import package 'qkan' and cannot "
        "share one environment: run `pip uninstall qkan qkan-seq` and install qkan-seq again, or give each of them "
        "its own virtual environment."
    )


def test_check_finds_the_distribution_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_no_conflict()
    add_distribution(tmp_path, "qkan")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=r"qkan 0\.2\.3 and qkan-seq both install"):
        check_no_conflict()


@pytest.mark.parametrize("name", ["qkan_tools", "pykan"])
def test_other_distributions_do_no_harm(name: str, tmp_path: Path) -> None:
    add_distribution(tmp_path, name)
    done = import_qkan_beside(tmp_path)
    assert done.returncode == 0, done.stderr
