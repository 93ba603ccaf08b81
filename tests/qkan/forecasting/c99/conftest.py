"""A panel with covariates, names and a missing value, and what is exported of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_config
from untrained import untrained_run

from qkan.forecasting import Run


@pytest.fixture(scope="session")
def rich_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of 40 hours with two covariates and a column of names; one value is missing."""
    rng, parts = np.random.default_rng(3), []
    for name, level in (("east", 10.0), ("west", -50.0)):
        y = level + np.sin(np.arange(40) / 3) + 0.1 * rng.normal(size=40)
        columns = {"y": y, "price": rng.random(40), "off": rng.random(40), "kind": rng.choice(list("abcd"), 40)}
        ds = pd.date_range("2024-01-01", periods=40, freq="h")
        parts.append(pd.DataFrame({"unique_id": name, "ds": ds, **columns}))
    path = tmp_path_factory.mktemp("rich") / "values.csv"
    pd.concat(parts, ignore_index=True).drop(index=5).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def drawn_run() -> Callable[..., Run]:
    """``drawn_run(cell="qkan", window=2, ...)`` gives a run with drawn weights: every part says something."""

    def build(**options: Any) -> Run:
        run = untrained_run(tiny_config(**{"window": 2, **options}))
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            run.model.reads_in.factor.fill_(1.3)
            run.model.says_in.factor.fill_(0.8)
            if run.model.gate is not None:
                run.model.gate.fill_(0.4)
        return run

    return build
