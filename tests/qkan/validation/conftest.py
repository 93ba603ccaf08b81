"""One small trained run with circuits."""

from pathlib import Path

import pytest
from tiny_runs import tiny_config

from qkan.forecasting import Run, train


@pytest.fixture(scope="session")
def circuit_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A QKAN-LSTM with a circuit on every edge and trained pre-activations, two epochs."""
    config = tiny_config(cell="qkan", group="edge", preact_trainable=True, reps=2)
    return train(config, Path(tmp_path_factory.mktemp("runs")) / "circuits")


@pytest.fixture(scope="session")
def classical_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An LSTM."""
    return train(tiny_config(epochs=1), Path(tmp_path_factory.mktemp("runs")) / "classical")
