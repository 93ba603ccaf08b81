import subprocess
import sys

import pytest

import qkan.forecasting
from qkan.forecasting.training import progress


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, qkan.forecasting as f; f.TrainConfig, f.CELLS, f.Progress; "
        "print([m for m in ('torch', 'lightning', 'pandas', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_found_and_stays_what_it_is():
    for name in qkan.forecasting.__all__:
        first = getattr(qkan.forecasting, name)
        assert getattr(qkan.forecasting, name) is first
        assert not isinstance(first, type(sys))
    shown = [name for name in dir(qkan.forecasting) if not name.startswith("__")]
    assert shown == qkan.forecasting.__all__  # no sub-packages and no helpers


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'qkan.forecasting' has no attribute 'fit_all'"):
        _ = qkan.forecasting.fit_all


def test_silent_watchers_take_every_report():
    watcher: progress.Progress = progress.Silent()
    reports = [watcher.start(3, 10, 1), watcher.step(0.1, 2), watcher.epoch({"epoch": 1.0}), watcher.finish()]
    comparing: progress.CompareProgress = progress.SilentCompare()
    reports += [comparing.start(3, 1), comparing.run({"cell": "lstm"}), comparing.finish()]
    assert reports == [None] * 7
