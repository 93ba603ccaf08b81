"""What the wheel holds, and that it works in a fresh environment."""

import ast
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from qkan import __version__

ROOT = Path(__file__).parents[2]
MAPPED = {"qkan": "qkan", "kernels": "qkan/kernels", "datasets": "qkan/datasets", "cli": "qkan/cli"}


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a fresh environment that borrows only the third-party packages of this one."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False)
    purelib = Path(run(home / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(Path(sys.executable), "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--no-deps", str(wheel))
    # A plain path line: the .pth files inside the borrowed folders, the editable install's among them, are not read.
    (purelib / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return home


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=sys.prefix, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_has_one_top_level_package(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"qkan", f"qkan_seq-{__version__}.dist-info"}


@pytest.mark.parametrize("folder", MAPPED)
def test_every_module_of_the_four_folders_is_packaged(folder: str, names: set[str]) -> None:
    modules = [path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")]
    assert modules
    assert {f"{MAPPED[folder]}/{module}" for module in modules} <= names


def test_data_and_type_marker_are_packaged(names: set[str]) -> None:
    data = [path.name for path in (ROOT / "datasets" / "data").iterdir()]
    assert data
    own = {"qkan/py.typed", "qkan/forecasting/report/report.html.jinja"}
    assert own | {*(f"qkan/datasets/data/{name}" for name in data)} <= names


def test_the_licence_of_the_shipped_database_is_among_the_licences_of_the_wheel(names: set[str], wheel: Path) -> None:
    home = f"qkan_seq-{__version__}.dist-info"
    assert {f"{home}/licenses/LICENSE", f"{home}/licenses/datasets/data/LICENSE.milan_24.txt"} <= names
    with zipfile.ZipFile(wheel) as archive:
        assert "License-Expression: Apache-2.0 AND ODbL-1.0\n" in archive.read(f"{home}/METADATA").decode()


@pytest.mark.parametrize("folder", ["kernels", "datasets", "cli"])
def test_no_folder_is_importable_at_the_top_level(folder: str, installed: Path) -> None:
    found = run(installed / "bin" / "python", "-c", f"import importlib.util as u; print(u.find_spec({folder!r}))")
    assert found.strip() == "None"


@pytest.mark.parametrize(
    "package",
    [
        "qkan",
        "qkan.kernels",
        "qkan.datasets",
        "qkan.cli",
        "qkan.forecasting",
        "qkan.forecasting.evaluation",
    ],
)
def test_packages_are_imported_from_the_wheel(package: str, installed: Path) -> None:
    file = run(installed / "bin" / "python", "-c", f"import {package}; print({package}.__file__)")
    assert Path(file.strip()).is_relative_to(installed)


def test_console_script_prints_the_version(installed: Path) -> None:
    assert run(installed / "bin" / "qkan", "--version").split()[-1] == __version__


def test_what_the_wheel_requires_is_found(installed: Path) -> None:
    code = "from qkan.validation import machine; print(machine.find_packages())"
    found = ast.literal_eval(run(installed / "bin" / "python", "-c", code))
    assert (found["qkan-seq"], found["required"]["torch"]["version"]) == (__version__, torch.__version__)


@pytest.mark.parametrize(("name", "points"), [("telecom", 27_716), ("milan-24", 35_712)])
def test_installed_package_loads_the_series_that_it_ships(name: str, points: int, installed: Path) -> None:
    code = f"from qkan.datasets import load_series; print(len(load_series({name!r}).frame))"
    assert run(installed / "bin" / "python", "-c", code).strip() == str(points)
