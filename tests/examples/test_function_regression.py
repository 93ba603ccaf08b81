"""The example of function regression, at toy size; the original package is not installed."""

import json
import math
import subprocess
import sys
from pathlib import Path

import function_regression as example
import pytest
import regression_worker as worker
import torch


def request(**changes: object) -> dict[str, object]:
    asked = {
        "function": "x y",
        "kind": "mlp",
        "options": {"depth": 1, "activation": "tanh"},
        "scaled": True,
        "parameters": 21,
        "seed": 0,
        "iterations": 5,
    }
    return asked | changes


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("J0(20 x)", (0.1,), 0.22389077914123567),  # J0(2)
        ("exp(sin(pi x) + y^2)", (0.5, 1.0), math.exp(2)),
        ("I.6.2: exp(-t^2 / 2 s^2) / sqrt(2 pi s^2)", (1.0, 1.0), math.exp(-0.5) / math.sqrt(2 * math.pi)),
        ("I.29.16: sqrt(1 + a^2 - 2 a cos(t - u))", (1.0, 2.0, 2.0 - math.pi), 2.0),
        ("I.30.3: sin^2(n t / 2) / sin^2(t / 2)", (3.0, math.pi), 1.0),
        ("II.35.18: n / (exp(a) + exp(-a))", (2.0, 0.0), 1.0),
    ],
)
def test_formulas(name: str, point: tuple[float, ...], value: float) -> None:
    inputs = (torch.tensor(number, dtype=worker.DTYPE) for number in point)
    assert worker.FUNCTIONS[name].formula(*inputs).item() == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", worker.FUNCTIONS)
def test_data_lie_in_the_box_and_are_the_same_points_scaled_or_not(name: str) -> None:
    low, high = torch.tensor(worker.FUNCTIONS[name].box, dtype=worker.DTYPE).T
    as_they_are, scaled = worker.make_data(name, False), worker.make_data(name, True)
    assert [len(x) for x, _ in scaled] == [1000, 500, 1000]
    for (x, y), (unit, same) in zip(as_they_are, scaled, strict=True):
        assert torch.equal(y, same)
        assert y.isfinite().all()
        torch.testing.assert_close(low + (high - low) * (unit + 1) / 2, x)
        assert ((x >= low) & (x <= high)).all()
    y = scaled[0][1]
    assert (y.mean().item(), y.std().item()) == pytest.approx((0, 1), abs=1e-12)


def test_networks_are_the_widest_that_fit() -> None:
    assert worker.size(worker.build(request())) == 4 * 5 + 1  # 4 h + 1
    form = {"reps": 3, "ansatz": "rpz", "preact": False, "base": "tanh"}
    circuits = worker.build(request(kind="qkan", options=form, parameters=100))
    edge = 4 + 3 + 1  # angles, phases, weight of the base branch
    assert worker.size(circuits) == 4 * 3 * edge
    assert next(circuits.parameters()).dtype == torch.float64
    shared = worker.build(request(kind="qkan", options=example.KINDS["QKAN"][1][1], parameters=100))
    assert worker.size(shared) == 2 * (7 * 2) + 2 * 3 * 12  # two circuits, two weights for each edge
    nodes = shared.layers[0](worker.make_data("x y", True)[0][0])
    assert nodes.std(1).min() > 1e-3  # no copies of one another


def test_training_counts_the_best_weights() -> None:
    parts = worker.make_data("x y", True)
    torch.manual_seed(0)
    model = worker.mlp(((-1.0, 1.0),) * 2, 12, depth=1, activation="tanh")
    found = worker.train(model.to(worker.DTYPE), parts, 60)
    assert found["error"] < 0.1  # in deviations of y
    assert found["parameters"] == 49
    with torch.no_grad():
        error = (model(parts[2][0]) - parts[2][1]).square().mean().sqrt().item()
    assert found["error"] == pytest.approx(error, rel=1e-12)


class Small(torch.nn.Module):
    """A model that says less by a power of two."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2.0**-16 * self.model(x)


def test_small_losses_are_searched_as_large_ones() -> None:
    parts = worker.make_data("x y", True)
    errors = []
    for small in (False, True):
        torch.manual_seed(0)
        model = worker.mlp(((-1.0, 1.0),) * 2, 5, depth=1, activation="tanh").to(worker.DTYPE)
        targets = tuple((x, 2.0**-16 * y) for x, y in parts) if small else parts
        errors.append(worker.train(Small(model) if small else model, targets, 30)["error"])
    assert errors[1] == 2.0**-16 * errors[0]


def test_worker_answers_as_a_script_what_it_answers_here() -> None:
    done = subprocess.run(
        [sys.executable, "-I", worker.__file__],
        input=json.dumps(request()) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    here = worker.answer(request())
    assert answer["parameters"] == here["parameters"]
    assert answer["error"] == pytest.approx(here["error"], rel=1e-6)


def test_form_with_the_lowest_validation_error_is_trained_with_all_seeds() -> None:
    asked = []

    def ask(found: example.Answer) -> example.Answer:
        asked.append(found)
        good = found["options"]["grid"] == 10 and not found["scaled"]
        return {"validation_loss": 0.1 if good else 0.2, "error": found["seed"] + 5.0, "parameters": 7}

    found = example.measure(ask, "x y", "spline KAN", example.parse(["--seeds", "3"]))
    assert len(asked) == 8 + 2
    assert [(r["options"]["grid"], r["scaled"], r["seed"]) for r in asked[8:]] == [(10, False, 1), (10, False, 2)]
    assert found["errors"] == [5.0, 6.0, 7.0]
    line = example.row("x y", {"spline KAN": found, "MLP": found | {"errors": [9.0]}})
    assert line == "| x y | **6.0e+00** (7) | 9.0e+00 (7) |"


def test_table_counts_who_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    budget = ["--parameters", "60", "--seeds", "1", "--iterations", "2"]
    example.main(["--functions", "2", "--kinds", "MLP", "QKAN", *budget])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| function | MLP | QKAN |"
    errors = [float(cell.strip(" *").split("*")[0].split(" ")[0]) for cell in lines[2].strip("|").split("|")[1:]]
    assert lines[-1].startswith(f"QKAN has the lower error than MLP on {int(errors[1] < errors[0])} of 1 functions")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--functions", "14"], "numbers from 0 to 13, got 14"), (["--seeds", "0"], "--seeds must be at least 1, got 0")],
)
def test_wrong_options_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        example.parse(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_workers_without_peers_run_here() -> None:
    with example.workers(["MLP", "QKAN"], Path("nowhere")) as ask:
        assert ask is worker.answer


def test_a_missing_original_package_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"not installed: make bench-peers"), example.workers(["spline KAN"], tmp_path):
        pass
