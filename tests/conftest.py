"""Settings that every test shares."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from browser import Browser, browser_or_skip, running_browser
from hypothesis import settings

# These run in an environment of their own: `make test-ecosystem`.
collect_ignore = ["ecosystem"]

# Without a GPU the Triton kernels are interpreted. Triton asks when it is imported, which nothing above does.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# The tensors of the tests are small and the tests run in parallel processes, so more threads would only compete.
torch.set_num_threads(1)

settings.register_profile("qkan", deadline=None)
settings.load_profile("qkan")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the CPU kernels once, a process for each dtype, before several workers start."""
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        return
    script = Path(__file__).parent / "support" / "compile_kernels.py"
    running = [subprocess.Popen([sys.executable, script, dtype]) for dtype in ("float32", "float64")]
    for process in running:
        assert process.wait() == 0, f"{script} fails"


def pytest_collection_finish() -> None:
    """Spare the garbage collector, a tenth of the time, from looking through torch, lightning and all tests again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _surroundings() -> None:
    """Interpreted kernels run faster, and new processes start in an environment where kernels are compiled."""
    from triton_interpreter import take_short_cuts
    from warm_processes import start_servers_without

    if os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton") is not None:
        take_short_cuts()
    start_servers_without("TRITON_INTERPRET")


@pytest.fixture(autouse=True)
def _blank_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    from runs_without_plots import leave_plots_blank

    leave_plots_blank(monkeypatch)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium, one for all tests of a process; without one they are skipped, and fail in CI."""
    with running_browser(browser_or_skip()) as started:
        yield started
