"""Three hourly series with a daily season and noise."""

import numpy as np
import pandas as pd

POINTS = 200


def noisy_panel(noise: float = 0.1) -> pd.DataFrame:
    random = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=POINTS, freq="h")
    waves = [
        level * (5 + np.sin(np.arange(POINTS) * np.pi / 12)) + noise * random.standard_normal(POINTS)
        for level in (1.0, 2.0, 30.0)
    ]
    return pd.concat(
        [pd.DataFrame({"unique_id": f"s{i}", "ds": hours, "y": wave}) for i, wave in enumerate(waves)],
        ignore_index=True,
    )
