"""The example of tables of numbers, at toy size."""

import equal_tuning
import numpy as np
import pytest
import tabular as example


def test_folds_test_every_row_once_and_standardise_by_the_training_rows() -> None:
    folds = [example.fold_of("diabetes", number) for number in range(example.FOLDS)]
    assert sum(len(fold.x[2]) for fold in folds) == 442
    assert [len(part) for part in folds[0].x] == [264, 89, 89]
    np.testing.assert_allclose(folds[0].x[0].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose((folds[0].y[0].std(), folds[0].y[0].mean()), (1, 0), atol=1e-12)
    assert (folds[0].classes, example.fold_of("wine", 0).classes) == (1, 3)


def test_hardness_of_the_made_alloys_comes_from_few_features() -> None:
    x, y = example.alloys()
    assert x.shape == (300, 17)
    np.testing.assert_allclose(x[:, :8].sum(1), 1, atol=1e-12)
    noise = [abs(np.corrcoef(x[:, column], y)[0, 1]) for column in range(13, 17)]
    assert max(noise) < 0.15 < abs(np.corrcoef(x[:, 11], y)[0, 1])


def test_networks_have_the_size_of_the_qkan_at_most() -> None:
    room = equal_tuning.size(example.qkan(10, 5, 1))
    for make in (example.mlp, example.kan):
        width = equal_tuning.widest(lambda hidden, make=make: make(10, hidden, 1), room)
        assert equal_tuning.size(make(10, width, 1)) <= room < equal_tuning.size(make(10, width + 1, 1))


@pytest.mark.parametrize("data", ["diabetes", "wine"])
def test_table(data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(example, "EPOCHS", 1)
    monkeypatch.setattr(example, "FOLDS", 2)
    monkeypatch.setattr(example, "RATES", (1e-2,))
    example.fold_of.cache_clear()
    example.main(["--data", data, "--kinds", "linear", "MLP", "QKAN"])
    example.fold_of.cache_clear()
    rows = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()[5:]]
    assert [row[1] for row in rows] == ["linear", "MLP", "QKAN"]
    assert all(float(row[5].split()[0]) > (0.3 if row[1] == "linear" else -2) for row in rows)
    assert rows[0][2] == ""
    assert int(rows[1][2]) <= int(rows[2][2])
