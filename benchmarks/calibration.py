"""How far tests and intervals hold what they promise: the size of the Diebold-Mariano test, coverage where data change.

python -m benchmarks.calibration                # a minute of one core
"""

import click
import numpy as np
import pandas as pd

from qkan.forecasting.evaluation import diebold_mariano, fit_conformal
from qkan.forecasting.evaluation.adaptive import adaptive_conformal

REPETITIONS, LEVEL = 4_000, 90
POINTS, TRAINED, CALIBRATED = 4_000, 2_000, 1_000  # of a series; the rest is its test part


def rejected(horizon: int, origins: int) -> float:
    """Share of true nulls that the test rejects at 5 %, with errors that are sums of as many noises as steps."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(REPETITIONS, 2, origins + horizon - 1))
    errors = np.lib.stride_tricks.sliding_window_view(noise, horizon, axis=-1).sum(-1)
    differences = np.abs(errors[:, 0]) - np.abs(errors[:, 1])
    return float(np.mean([diebold_mariano(row, horizon=horizon).p_value < 0.05 for row in differences]))


def series() -> dict[str, np.ndarray]:
    """Noise whose law changes in the middle of the test part, or never."""
    rng = np.random.default_rng(0)
    noise, behind = rng.normal(size=POINTS), np.arange(POINTS) >= POINTS - (POINTS - TRAINED - CALIBRATED) // 2
    return {
        "level moves by 3 standard deviations": noise + 3 * behind,
        "spread grows to 2.5 times": noise * np.where(behind, 2.5, 1.0),
        "level walks at random": noise + np.cumsum(rng.normal(0, 0.03, POINTS)),
        "nothing changes": noise,
    }


def coverage(values: np.ndarray) -> list[str]:
    """Coverage, that of the worst tenth of the test part, and mean width: of split intervals, and of adaptive ones."""
    ds = np.arange(len(values))
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": values, "M": values[:TRAINED].mean()})
    calibration = frame.iloc[TRAINED : TRAINED + CALIBRATED]
    test = frame.iloc[TRAINED + CALIBRATED :]
    found = []
    for made in (
        fit_conformal(calibration, levels=[LEVEL]).apply(test),
        adaptive_conformal(calibration, test, levels=[LEVEL]),
    ):
        low, high = made[f"M-lo-{LEVEL}"], made[f"M-hi-{LEVEL}"]
        inside = ((made["y"] >= low) & (made["y"] <= high)).to_numpy()
        worst = min(part.mean() for part in np.array_split(inside, 10))
        found.append(f"{100 * inside.mean():.1f} %, {100 * worst:.1f} %, {(high - low).mean():.1f}")
    return found


@click.command()
def main() -> None:
    """Print both tables."""
    print("share of true nulls that are rejected at 5 %\n  origins  h = 1   h = 4  h = 24")
    for origins in (160, 300):
        print(f"{origins:>9}" + "".join(f"{100 * rejected(horizon, origins):6.1f} %" for horizon in (1, 4, 24)))
    print(f"\n{LEVEL} %: coverage, worst tenth, width  {'split':>22}  {'adaptive':>22}")
    for name, values in series().items():
        split, adaptive = coverage(values)
        print(f"{name:38}{split:>22}  {adaptive:>22}")


if __name__ == "__main__":
    main()
