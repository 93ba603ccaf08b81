"""The sentence that a user reads where an optional package is missing or too old."""

import subprocess
import sys

import pytest

from qkan._util.optional import require_release


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        require_release("no-such-forecaster", "3.1", extra="neuralforecast")
    assert str(caught.value) == (
        "no-such-forecaster is not installed, and this needs it: pip install 'qkan-seq[neuralforecast]'"
    )
    assert caught.value.name == "no-such-forecaster"


@pytest.mark.parametrize(
    ("found", "oldest", "fits"),
    [
        ("3.1.2", "3.1", True),
        ("3.10.0", "3.9", True),  # compared as numbers, not as texts
        ("4.0rc1", "3.9", True),
        ("4", "3.9", True),
        ("3.0.9", "3.1", False),
        ("2.11.1", "3.1", False),
        ("0+unknown", "3.1", False),
    ],
)
def test_releases_are_compared_as_numbers(found: str, oldest: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qkan._util.optional.version", lambda package: found)
    if fits:
        require_release("forecaster", oldest, extra="some")
        return
    with pytest.raises(ImportError) as caught:
        require_release("forecaster", oldest, extra="some")
    assert str(caught.value) == (
        f"forecaster {found} is installed, but this needs {oldest} or newer: pip install --upgrade 'qkan-seq[some]'"
    )


def test_adapters_say_what_they_need_where_it_is_missing() -> None:
    adapters = ("neuralforecast", "darts", "sktime")
    code = (
        "import importlib, importlib.metadata as m\n"
        "def version(name): raise m.PackageNotFoundError(name)\n"
        "m.version = version\n"
        f"for name in {adapters}:\n"
        "    try: importlib.import_module('qkan.interop.' + name)\n"
        "    except ModuleNotFoundError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"{name} is not installed, and this needs it: pip install 'qkan-seq[{name}]'" for name in adapters
    ]
