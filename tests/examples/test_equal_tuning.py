"""The budget that experiments share."""

from dataclasses import dataclass

import equal_tuning
import pytest


@dataclass(frozen=True)
class Result:
    validation_loss: float
    test_loss: float = 0.0


def test_rate_with_the_lowest_median_validation_loss_trains_all_seeds() -> None:
    losses = {(0.1, 0): 1.0, (0.1, 1): 9.0, (0.1, 2): 1.1, (0.2, 0): 2.0, (0.2, 1): 0.5, (0.2, 2): 3.0}
    calls = []

    def train(rate: float, seed: int) -> Result:
        calls.append((rate, seed))
        return Result(losses.get((rate, seed), 7.0), test_loss=seed)

    tuned = equal_tuning.tune(train, [0.1, 0.2], 3, 5)
    assert tuned.choice == 0.1  # medians 1.1 and 2.0
    assert calls == [(rate, seed) for rate in (0.1, 0.2) for seed in range(3)] + [(0.1, 3), (0.1, 4)]
    assert [result.test_loss for result in tuned.results] == [0, 1, 2, 3, 4]
    assert tuned.median("test_loss") == 2
    assert tuned.spread("validation_loss", ".1f") == "7.0 (1.0 to 9.0)"


@pytest.mark.parametrize("tuning", ["0", "3"])
def test_seeds_that_cannot_tune_are_refused(tuning: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = equal_tuning.parser("An experiment", seeds=2, tuning_seeds=1, rates=[0.1])
    with pytest.raises(SystemExit) as error:
        equal_tuning.parse(parser, ["--tuning-seeds", tuning])
    assert error.value.code == 2
    assert f"--tuning-seeds must be between 1 and --seeds 2, got {tuning}" in capsys.readouterr().err
