"""Fitting: Adam, LBFGS, the history, the weights that are kept, and what is refused."""

import math
import re
from itertools import chain, pairwise

import pytest
import torch
from plain import PLAIN
from torch import nn
from torch.nn import functional as F

from qkan import QKAN, fit
from qkan._util.lbfgs import loss_unit
from qkan.kan.fit_history import FitRow


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(samples: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(samples, 3, generator=generator(), dtype=torch.float64)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.25


def linear(seed: int = 0) -> nn.Linear:
    model = nn.Linear(3, 1, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(seed), dtype=torch.float64))
    return model


def toy(samples: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    x = 2 * torch.rand(samples, 2, generator=generator()) - 1
    return x, torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2


def test_lbfgs_finds_the_least_squares_solution() -> None:
    x, y = line()
    y = y + 0.1 * torch.randn(y.shape, generator=generator(1), dtype=torch.float64)
    model = linear()
    history = fit(model, x, y, optimizer="lbfgs", steps=60)
    design = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(design, y).solution
    torch.testing.assert_close(model.weight.T, solution[:3], rtol=0, atol=1e-8)
    torch.testing.assert_close(model.bias, solution[3], rtol=0, atol=1e-8)
    assert history.stopped == "converged"
    assert len(history) < 61


def test_lbfgs_ends_at_the_same_weights_in_whatever_unit_the_loss_is_counted() -> None:
    """torch's LBFGS leaves out pairs of changes whose product is at most 1e-10, so small losses left it without any."""
    x, y = (tensor.double() for tensor in toy())
    networks, errors = [], []
    for unit in (1.0, 2.0**-40):
        network = QKAN([2, 2, 1], reps=2, dtype=torch.float64, generator=generator(), **PLAIN)
        network.fit(x, y, optimizer="lbfgs", steps=30, entropy=0, loss=lambda a, b, u=unit: u * F.mse_loss(a, b))
        networks.append(network)
        errors.append(float(F.mse_loss(network(x), y).detach()))
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)
    for mine, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


def test_lbfgs_is_one_iteration_of_torchs_a_step() -> None:
    x, y = (tensor.double() for tensor in toy())
    ours, theirs = (
        QKAN([2, 2, 1], reps=2, dtype=torch.float64, backend="spectral", generator=generator(), **PLAIN)
        for _ in range(2)
    )
    history = ours.fit(x, y, optimizer="lbfgs", steps=6, entropy=0)
    # All six in one call, without the memory of evaluations.
    optimizer = torch.optim.LBFGS(
        theirs.parameters(), 1.0, max_iter=6, max_eval=1000, tolerance_change=0, tolerance_grad=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    unit = loss_unit(float(F.mse_loss(theirs(x), y).detach()))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(theirs(x), y) * unit
        loss.backward()
        return loss

    optimizer.step(closure)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-11)
    losses = [row["train_loss"] for row in history.rows]
    assert all(after < before for before, after in pairwise(losses))
    evaluations = optimizer.state[next(iter(theirs.parameters()))]["func_evals"]
    assert history.rows[-1]["evaluations"] == evaluations


def test_adam_makes_the_steps_of_torchs_adam_and_shows_the_weights_after_each() -> None:
    x, y = line()
    model, other = linear(), linear()
    history = fit(model, x, y, optimizer="adam", steps=5, lr=0.05)
    optimizer = torch.optim.Adam(other.parameters(), 0.05)
    for row in history.rows:
        loss = F.mse_loss(other(x), y)
        assert row["train_loss"] == pytest.approx(loss.item(), rel=1e-12)
        optimizer.zero_grad()
        loss.backward()
        if row["step"] < 5:
            optimizer.step()
    assert torch.equal(model.weight, other.weight)
    assert [row["step"] for row in history.rows] == [row["evaluations"] for row in history.rows] == [0, 1, 2, 3, 4, 5]


def test_adam_then_lbfgs_shares_the_steps() -> None:
    x, y = toy()
    net = QKAN([2, 3, 1], reps=2, generator=generator(), **PLAIN)
    history = net.fit(x, y, steps=(4, 7), entropy=0)
    names = [row["optimizer"] for row in history.rows]
    assert names == ["start"] + 4 * ["adam"] + 7 * ["lbfgs"]
    assert history.stopped == "steps"
    assert F.mse_loss(net(x), y).item() == pytest.approx(history.best_loss, rel=1e-5)
    assert history.best_loss < 0.3 * history.rows[0]["train_loss"]
    halves = fit(linear(), *line(), steps=5)
    assert [row["optimizer"] for row in halves.rows] == ["start"] + 2 * ["adam"] + 3 * ["lbfgs"]


def test_the_best_weights_by_validation_loss_are_kept() -> None:
    x, y = line()
    # What is validated is fitted best by weights on the way, not by those at the end.
    target = y + 0.5
    model = linear()
    history = fit(model, x, y, validation=(x, target), optimizer="adam", steps=200, lr=0.03)
    losses = [row["validation_loss"] for row in history.rows]
    assert 0 < history.best_step < 200
    assert losses[history.best_step] == history.best_loss == min(losses) < losses[-1]
    assert F.mse_loss(model(x), target).item() == pytest.approx(history.best_loss, rel=1e-12)
    assert history.watched == "validation_loss"


def test_weights_that_only_get_worse_stay_those_of_the_start() -> None:
    x, y = line()
    model = linear()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
        model.bias.fill_(0.25)
    kept = model.weight.clone()
    history = fit(model, x, y, optimizer="adam", steps=3, lr=1.0)
    # An exact fit has a gradient of rounding errors, which Adam scales up to steps of its learning rate.
    assert history.best_step == 0
    assert torch.equal(model.weight, kept)


def test_mini_batches_are_watched_once_an_epoch_and_reproducible() -> None:
    x, y = line(20)
    histories = []
    models = [linear(), linear(), linear()]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        histories.append(fit(model, x, y, optimizer="adam", steps=7, batch_size=8, generator=generator(seed)))
    watched = [not math.isnan(row["watched"]) for row in histories[0].rows]
    assert watched == [True, False, False, True, False, False, True, True]  # 20 samples are 3 batches
    assert F.mse_loss(models[0](x), y).item() == pytest.approx(histories[0].best_loss, rel=1e-12)
    assert torch.equal(models[0].weight, models[1].weight)
    assert not torch.equal(models[0].weight, models[2].weight)
    assert histories[0].rows[0]["train_loss"] != pytest.approx(histories[0].rows[0]["watched"])


def test_every_sample_is_seen_once_an_epoch() -> None:
    x = torch.arange(7.0).unsqueeze(1)
    seen = []

    class Spy(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(input.flatten().tolist())
            return super().forward(input)

    fit(Spy(1, 1), x, 2 * x, optimizer="adam", steps=6, batch_size=3, generator=generator())
    first, second = (list(chain(*seen[begin : begin + 3])) for begin in (0, 3))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_regularization_is_minimised_and_recorded() -> None:
    x, y = toy(48)
    net = QKAN([2, 2, 1], reps=1, generator=generator())
    start = net.regularization(x, l1=0.01, entropy=0.02).item()
    history = net.fit(x, y, optimizer="adam", steps=3, l1=0.01, entropy=0.02)
    row = history.rows[0]
    assert row["regularization"] == pytest.approx(start, rel=1e-5)
    assert row["watched"] == pytest.approx(row["train_loss"] + start, rel=1e-5)
    plain = QKAN([2, 2, 1], reps=1, generator=generator())
    assert all(row["regularization"] == 0 for row in plain.fit(x, y, optimizer="adam", steps=3, l1=0).rows)
    assert not torch.equal(plain.layers[0].theta, net.layers[0].theta)


def test_a_classifier_is_fitted_by_a_loss_of_ones_own() -> None:
    x, _ = toy(64)
    classes = (x[:, 0] > 0).long()
    net = QKAN([2, 2], reps=1, generator=generator())
    net.fit(x, classes, optimizer="lbfgs", steps=15, loss=F.cross_entropy)
    assert (net(x).argmax(-1) == classes).float().mean() > 0.95


class Breaks(nn.Module):
    """The number w, or NaN once w has moved for the third time."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.w if self.w > 0.75 else self.w * math.nan)


def test_a_loss_that_is_not_finite_ends_the_fit_and_the_best_weights_come_back() -> None:
    x = torch.ones(4, 1)
    model = Breaks().eval()
    message = "train_loss became nan at step 3 (adam); the weights of step 2 are restored; lower lr, or scale x and y"
    with pytest.raises(FloatingPointError, match=re.escape(message)):
        fit(model, x, 0 * x, optimizer="adam", steps=9, lr=0.1)
    assert model.w.item() == pytest.approx(0.8, abs=1e-3)
    assert model.w.grad is None
    assert not model.training


def test_a_start_that_is_not_finite_is_named() -> None:
    x = torch.ones(4, 1)
    model = Breaks()
    with torch.no_grad():
        model.w.fill_(0.1)
    with pytest.raises(FloatingPointError, match=r"train_loss became nan at step 0 \(start\); no step was made"):
        fit(model, x, x, optimizer="lbfgs", steps=2)
    assert model.w.item() == pytest.approx(0.1)


def test_validation_that_is_not_finite_is_named() -> None:
    x = torch.ones(4, 1)
    with pytest.raises(FloatingPointError, match="validation_loss became inf at step 0"):
        fit(Breaks(), x, x, validation=(x * 1e30, x), optimizer="adam", steps=1)


def test_callback_sees_every_row_and_ends_the_fit() -> None:
    rows = []

    def callback(row: dict) -> bool:
        rows.append(row["step"])
        return row["step"] == 6

    history = fit(linear(), *line(), steps=(4, 30), callback=callback)
    assert rows == list(range(7))
    assert history.stopped == "callback"
    assert len(fit(linear(), *line(), steps=9, callback=lambda row: True)) == 1


def test_an_interrupted_fit_leaves_the_best_weights() -> None:
    x, y = line()
    model = linear()
    losses = []

    def callback(row: dict) -> None:
        losses.append(row["train_loss"])
        if len(losses) == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, x, y, optimizer="adam", steps=99, lr=0.5, callback=callback)
    assert min(losses) < losses[-1]
    assert F.mse_loss(model(x), y).item() == pytest.approx(min(losses), rel=1e-12)


def test_parts_keep_their_modes_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    model[1].eval()
    with torch.no_grad():
        fit(model, *line(), optimizer="adam", steps=2)
    assert [part.training for part in model] == [True, False, True]
    assert capsys.readouterr() == ("", "")


def test_history_as_frame_and_figure(tmp_path) -> None:
    x, y = line()
    history = fit(linear(), x, y, validation=(x, y), steps=(3, 3))
    frame = history.to_frame()
    assert list(frame["step"]) == list(range(len(history)))
    assert (frame["seconds"].diff().dropna() >= 0).all()
    assert frame["validation_loss"].iloc[history.best_step] == history.best_loss
    figure = history.plot(tmp_path / "loss.png")
    lines = {drawn.get_label(): drawn.get_xydata() for drawn in figure.axes[0].get_lines()}
    assert set(lines) == {"training", "validation", f"kept weights (step {history.best_step})", "Adam to LBFGS"}
    assert lines["training"][:, 1].tolist() == frame["train_loss"].tolist()
    assert lines["Adam to LBFGS"][0, 0] == 3
    assert (tmp_path / "loss.png").stat().st_size > 5000


X, Y = torch.zeros(6, 3), torch.zeros(6, 1)
BAD = torch.tensor([0.0, math.nan, math.inf, 0.0, 0.0, 0.0]).unsqueeze(1)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (X.numpy(), Y, {}, TypeError, "x must be a torch.Tensor, got ndarray; convert it with torch.as_tensor"),
        (X.long(), Y, {}, TypeError, "x must be floating point, got torch.int64; convert it with x.float()"),
        (X[0], Y, {}, ValueError, "x of shape (3,) must have the shape (samples, ..., features)"),
        (X[:0], Y[:0], {}, ValueError, "x of shape (0, 3) must hold 1 or more samples in its first dimension"),
        (X[:, :0], Y, {}, ValueError, "x of shape (6, 0) is empty"),
        (X, Y[:5], {}, ValueError, "x has 6 samples but y has 5; they must be as many"),
        (X, BAD, {}, ValueError, "y has 2 of 6 values that are NaN or infinite; remove or fill them"),
        (
            X,
            Y[:, 0],
            {},
            ValueError,
            "y of shape (6,) must have the shape of the model's output, (6, 1); use y.unsqueez",
        ),
        (X, torch.zeros(6, 4), {}, ValueError, "y has 4 columns, but the model has 1 outputs"),
        (X[:, :2], Y, {}, ValueError, "needs an input of shape (..., 3), got (1, 2)"),
        (X, Y, {"validation": X}, TypeError, "validation must be a pair (x, y) of tensors, got Tensor"),
        (X, Y, {"validation": (X, Y[1:])}, ValueError, "validation x has 6 samples but validation y has 5"),
        (X, Y, {"validation": (X, X)}, ValueError, "validation y has 3 columns, but the model has 1 outputs"),
        (X, Y, {"optimizer": "sgd"}, ValueError, "unknown optimizer 'sgd'; use one of adam+lbfgs, adam, lbfgs"),
        (X, Y, {"steps": 0}, ValueError, "steps 0 is outside [1, "),
        (X, Y, {"steps": (3, 0)}, ValueError, "steps of lbfgs 0 is outside [1, "),
        (
            X,
            Y,
            {"steps": (1, 2, 3)},
            ValueError,
            "steps (1, 2, 3) must be one number, or two: those of Adam and of LBF",
        ),
        (X, Y, {"steps": (1, 2), "optimizer": "adam"}, TypeError, "steps must be an int, got tuple"),
        (X, Y, {"restarts": 0}, ValueError, "restarts 0 is outside [1, "),
        (X, Y, {"restarts": 1.5}, TypeError, "restarts must be an int, got float"),
        (X, Y, {"lr": 0.0}, ValueError, "lr 0.0 must be a finite number above 0"),
        (X, Y, {"lr": "1"}, TypeError, "lr must be a number, got str"),
        (X, Y, {"batch_size": 0}, ValueError, "batch_size 0 is outside [1, "),
        (
            X,
            Y,
            {"batch_size": 2, "optimizer": "lbfgs"},
            ValueError,
            "batch_size 2 is for Adam, but LBFGS takes all sam",
        ),
        (X, Y, {"loss": "mae"}, ValueError, "unknown loss 'mae'; use 'mse' or a callable of (prediction, target)"),
        (X, Y, {"loss": 3}, TypeError, "loss must be 'mse' or a callable of (prediction, target), got int"),
        (X, Y, {"loss": torch.sub}, ValueError, "loss must give a scalar tensor, got (1, 1); take the mean over the s"),
        (X, Y, {"l1": -0.1}, ValueError, "l1 -0.1 must be a finite number of 0 or more"),
        (X, Y, {"entropy": math.inf}, ValueError, "entropy inf must be a finite number of 0 or more"),
    ],
)
def test_bad_input_is_one_sentence(x, y, options, error, message) -> None:
    net = QKAN([3, 1], reps=1, generator=generator())
    before = net.layers[0].theta.clone()
    with pytest.raises(error, match=re.escape(message)):
        net.fit(x, y, **options)
    assert torch.equal(net.layers[0].theta, before)


def test_the_best_of_several_starts_is_kept() -> None:
    x, y = toy()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    start = [parameter.detach().clone() for parameter in model.parameters()]
    history = fit(model, x, y, optimizer="lbfgs", steps=8, restarts=3)
    frame = history.to_frame()
    begins = frame.index[frame["optimizer"] == "start"].tolist()
    assert (len(begins), list(frame["step"])) == (3, list(range(len(frame))))
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    assert all(torch.equal(a, b) for a, b in zip(start, alone.parameters(), strict=True))
    once = fit(alone, x, y, optimizer="lbfgs", steps=8)
    assert frame["train_loss"].tolist()[: begins[1]] == once.to_frame()["train_loss"].tolist()
    assert len({frame["train_loss"][begin] for begin in begins}) == 3
    assert history.best_loss == frame["watched"].min() == F.mse_loss(model(x), y).item()


def test_restarts_of_auto_try_every_spectrum() -> None:
    x = torch.linspace(-3, 3, 60).unsqueeze(1)
    network = QKAN([1, 2, 1], reps=2, preact_init="auto")
    seen: list[list[list[float]]] = []

    def watch(row: FitRow) -> None:
        if row["optimizer"] == "start":
            seen.append([layer.preact_weight[0, 0].tolist() for layer in network.layers])

    network.fit(x, torch.sin(6 * x), optimizer="adam", steps=1, restarts=5, entropy=0.0, callback=watch)
    assert seen[1:4] == [[[1, 2], [1, 2]], [[1, 3], [1, 3]], [[1, 1], [1, 1]]]
    assert seen[4] == seen[0] == [[pytest.approx(6, abs=1e-3), 1], [1, 1]]


def test_models_that_cannot_be_fitted() -> None:
    with pytest.raises(TypeError, match=r"l1 and entropy need a model with a method regularization.* Linear has none"):
        fit(nn.Linear(3, 1), X, Y, l1=0.1)
    with pytest.raises(ValueError, match="ReLU has no trained parameters; there is nothing to fit"):
        fit(nn.ReLU(), X, X)
    with pytest.raises(TypeError, match="GRU must return one tensor, got tuple"):
        fit(nn.GRU(3, 1), X, Y)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_fit_in_single_precision_that_reaches_its_minimum_ends_there(seed: int) -> None:
    """A line search next to the minimum squares slopes: counted in too small a unit they overflowed to NaN."""
    torch.manual_seed(seed)
    x = torch.linspace(-3.1, 3.1, 200).unsqueeze(1)
    history = QKAN([1, 1], reps=3, preact_init="auto").fit(x, torch.sin(9 * x), steps=100)
    assert history.best_loss < 1e-9
