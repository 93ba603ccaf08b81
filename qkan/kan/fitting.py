"""Fitting a module to samples: Adam, LBFGS, or the first and then the second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from qkan._util.train_mode import modes_kept
from qkan.kan import input_checks as checks
from qkan.kan.fit_history import FitHistory, FitRow
from qkan.kan.input_checks import Loss
from qkan.kan.regularization import sparse_weights
from qkan.layers.options import finite_float, positive_int

OPTIMIZERS = ("adam+lbfgs", "adam", "lbfgs")
ADAM_RATE = 1e-2
MAX_EVALUATIONS = 26  # of one step of LBFGS: one where it starts, up to 25 of its line search
Callback = Callable[[FitRow], Any]
Pair = tuple[Tensor, Tensor]


class FitOptions(TypedDict, total=False):
    """The options of :func:`fit`; see there."""

    validation: Pair | None
    optimizer: str
    steps: int | tuple[int, int]
    lr: float | None
    batch_size: int | None
    loss: str | Loss
    l1: float
    entropy: float
    sparse: bool
    generator: torch.Generator | None
    callback: Callback | None


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    validation: Pair | None = None,
    optimizer: str = "adam+lbfgs",
    steps: int | tuple[int, int] = 200,
    lr: float | None = None,
    batch_size: int | None = None,
    loss: str | Loss = "mse",
    l1: float = 0.0,
    entropy: float = 0.0,
    sparse: bool = False,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> FitHistory:
    """Fit a module whose forward maps x to y, and leave it with the best weights that were seen.

    The weights of the start and after every step are compared by the loss of the validation samples; without them by
    that of all training samples, regularisation included. With mini-batches they are compared after every epoch and at
    the end. Whatever ends the fit, an exception too, the model then has the best weights and its former mode, training
    or evaluation. Nothing is printed.

    Args:
        model: any module with trained parameters.
        x: (samples, ..., features), floating point, on the device of the model.
        y: (samples, ...); for ``"mse"`` of exactly the shape of ``model(x)``.
        validation: x and y of samples that are not trained on.
        optimizer: ``"adam"``; ``"lbfgs"`` with a strong Wolfe line search; ``"adam+lbfgs"``, one after the other.
        steps: how many. Two numbers are those of Adam and of LBFGS; of one number each makes half, Adam the odd one.
            A step of LBFGS evaluates the loss once or more: column ``evaluations`` of the history counts them.
        lr: learning rate of Adam, default 1e-2; for ``"lbfgs"`` alone the length that its line search tries first,
            default 1, which is also what ``"adam+lbfgs"`` takes.
        batch_size: samples of one step of Adam, drawn anew every epoch; None takes all. LBFGS always takes all.
        loss: ``"mse"``, or a function of prediction and target that gives a scalar, for example ``F.cross_entropy``.
        l1, entropy: weights of the model's ``regularization(x, l1=, entropy=)``, which :class:`qkan.QKAN` has.
        sparse: take the l1 and entropy of :func:`qkan.kan.regularization.sparse_weights`, which leave few edges.
        generator: source of the order of batches; None takes torch's default one.
        callback: called with every row of the history; the fit ends when it returns True.

    Returns:
        the history; its rows show the weights after 0, 1, 2, ... steps.

    Raises:
        TypeError, ValueError: data or an option outside what is listed above; the message names it.
        FloatingPointError: a loss that is NaN or infinite; the best weights until then are restored.
    """
    data, validation = _checked_data(x, y, validation)
    budget = _steps(optimizer, steps)
    rate = None if lr is None else finite_float("lr", lr, positive=True)
    if batch_size is not None:
        batch_size = positive_int("batch_size", batch_size)
        if not budget["adam"]:
            raise ValueError(f"batch_size {batch_size} is for Adam, but LBFGS takes all samples; leave it out")
    weights = {"l1": finite_float("l1", l1), "entropy": finite_float("entropy", entropy)}
    if not isinstance(sparse, bool):
        raise TypeError(f"sparse must be True or False, got {sparse!r}; numbers of your own are l1 and entropy")
    if sparse:
        if any(weights.values()):
            raise ValueError(f"sparse=True and l1 {l1}, entropy {entropy} exclude each other; give one of both")
        weights = sparse_weights(data[1] if isinstance(loss, str) else None)
    if any(weights.values()) and not callable(getattr(model, "regularization", None)):
        raise TypeError(
            "sparse, l1 and entropy need a model with a method regularization(x, l1=, entropy=), as QKAN has one, but "
            f"{type(model).__name__} has none; leave them out"
        )
    function = checks.loss_function(loss)
    run = _Fit(model, data, validation, function, weights, callback)
    with modes_kept(model), torch.enable_grad():
        _probe(model, data, function, exact=isinstance(loss, str))
        if validation is not None:
            _probe(model, validation, function, exact=isinstance(loss, str), where="validation ")
        with run:
            if budget["adam"]:
                batches = _batches(data, batch_size, generator)
                _adam(run, budget["adam"], ADAM_RATE if rate is None else rate, batches, last=not budget["lbfgs"])
            if budget["lbfgs"] and run.history.stopped == "steps":
                _lbfgs(run, budget["lbfgs"], 1.0 if rate is None or budget["adam"] else rate)
    return run.history


def _checked_data(x: Tensor, y: Tensor, validation: Pair | None) -> tuple[Pair, Pair | None]:
    data = checks.paired_samples(x, y)
    if validation is None:
        return data, None
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (x, y) of tensors, got {type(validation).__name__}")
    return data, checks.paired_samples(*validation, "validation ")


def _steps(optimizer: str, steps: int | tuple[int, int]) -> dict[str, int]:
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; use one of {', '.join(OPTIMIZERS)}")
    if optimizer != "adam+lbfgs":
        other = "lbfgs" if optimizer == "adam" else "adam"
        return {optimizer: positive_int("steps", steps), other: 0}  # type: ignore[arg-type]
    if isinstance(steps, tuple | list):
        if len(steps) != 2:
            raise ValueError(f"steps {steps} must be one number, or two: those of Adam and of LBFGS")
        return {
            name: positive_int(f"steps of {name}", count) for name, count in zip(("adam", "lbfgs"), steps, strict=True)
        }
    total = positive_int("steps", steps)
    return {"adam": (total + 1) // 2, "lbfgs": total // 2}


def _probe(model: nn.Module, pair: Pair, loss: Loss, *, exact: bool, where: str = "") -> None:
    """Try one sample, so that a wrong shape is an error before the first step and no loss broadcasts silently."""
    x, y = pair[0][:1], pair[1][:1]
    model.eval()
    with torch.no_grad():
        prediction = model(x)
        if not isinstance(prediction, Tensor):
            raise TypeError(f"{type(model).__name__} must return one tensor, got {type(prediction).__name__}")
        if exact:
            checks.same_shape(prediction, pair[1], where)
        value = loss(prediction, y)
    if not isinstance(value, Tensor) or value.dim():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss must give a scalar tensor, got {shape}; take the mean over the samples")


class _Values(NamedTuple):
    """The objective and its two parts."""

    total: Tensor
    loss: Tensor
    regularization: Tensor


class _Fit:
    """What Adam and LBFGS share: the objective, the history, the best weights, and putting those back at the end."""

    def __init__(
        self,
        model: nn.Module,
        data: Pair,
        validation: Pair | None,
        loss: Loss,
        weights: dict[str, float],
        callback: Callback | None,
    ) -> None:
        self.model, self.data, self.validation = model, data, validation
        self.loss, self.weights, self.callback = loss, weights, callback
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(f"{type(model).__name__} has no trained parameters; there is nothing to fit")
        self.history = FitHistory("train_loss" if validation is None else "validation_loss")
        self.best: dict[str, Any] = {}
        self.step, self.evaluations, self.start = 0, 0, time.perf_counter()
        self.optimizer = "start"

    def __enter__(self) -> None:
        self.model.train()

    def __exit__(self, *exception: object) -> None:
        if self.best:
            self.model.load_state_dict(self.best)
        for parameter in self.parameters:
            parameter.grad = None

    def objective(self, pair: Pair) -> _Values:
        x, y = pair
        loss = self.loss(self.model(x), y)
        if pair is self.validation or not any(self.weights.values()):
            return _Values(loss, loss, loss.new_zeros(()))
        added = self.model.regularization(x, **self.weights)  # type: ignore[operator]
        return _Values(loss + added, loss, added)

    def evaluate(self, pair: Pair) -> _Values:
        """The objective, with its gradients left in the parameters."""
        for parameter in self.parameters:
            parameter.grad = None
        values = self.objective(pair)
        values.total.backward()
        self.evaluations += 1
        return _Values(*(value.detach() for value in values))

    def apart(self, pair: Pair, *, training: bool = False) -> _Values:
        """The objective without gradients, in evaluation mode unless told otherwise."""
        self.model.train(training)
        with torch.no_grad():
            values = self.objective(pair)
        self.model.train()
        return values

    def note(self, values: _Values, evaluations: int, watched: _Values | None = None, *, watch: bool = True) -> bool:
        """Write the row of the weights as they are, keep them if they are the best, and say whether to stop.

        Args:
            values: of the samples the row shows.
            evaluations: how many were needed to reach these weights.
            watched: of all samples, where ``values`` are those of a batch.
            watch: compare these weights with the best so far.
        """
        validation = watched_loss = math.nan
        if watch and self.validation is not None:
            validation = watched_loss = self.apart(self.validation).loss.item()
        elif watch:
            watched_loss = (values if watched is None else watched).total.item()
        row = FitRow(
            step=self.step,
            optimizer=self.optimizer,
            train_loss=values.loss.item(),
            validation_loss=validation,
            regularization=values.regularization.item(),
            watched=watched_loss,
            evaluations=evaluations,
            seconds=time.perf_counter() - self.start,
        )
        self.history.rows.append(row)
        self._check_finite(row, watch)
        if watch and (not self.best or watched_loss < self.history.best_loss):
            self.history.best_step, self.history.best_loss = self.step, watched_loss
            self.best = {name: _copy(value) for name, value in self.model.state_dict().items()}
        if self.callback is not None and self.callback(row) is True:
            self.history.stopped = "callback"
        return self.history.stopped == "callback"

    def _check_finite(self, row: FitRow, watched: bool) -> None:
        for name in ("train_loss", "regularization", "watched"):
            value = row[name]
            if math.isfinite(value) or (name == "watched" and not watched):
                continue
            kept = f"the weights of step {self.history.best_step} are restored" if self.best else "no step was made"
            what = self.history.watched if name == "watched" else name
            raise FloatingPointError(
                f"{what} became {value} at step {row['step']} ({row['optimizer']}); {kept}; "
                "lower lr, or scale x and y to a few units"
            )


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else deepcopy(value)


class _Batch(NamedTuple):
    data: Pair
    whole: bool  #: all samples
    first: bool  #: of its epoch


def _batches(data: Pair, size: int | None, generator: torch.Generator | None) -> Iterator[_Batch]:
    """Batches without end, in a new order every epoch; the last one of an epoch may be smaller."""
    count = data[0].shape[0]
    if size is None or size >= count:
        while True:
            yield _Batch(data, True, True)
    where = "cpu" if generator is None else generator.device
    while True:
        order = torch.randperm(count, generator=generator, device=where).to(data[0].device)
        for begin in range(0, count, size):
            chosen = order[begin : begin + size]
            yield _Batch((data[0][chosen], data[1][chosen]), False, begin == 0)


def _adam(run: _Fit, steps: int, rate: float, batches: Iterator[_Batch], *, last: bool) -> None:
    optimizer = torch.optim.Adam(run.parameters, rate)
    for _ in range(steps):
        batch, reached = next(batches), run.evaluations
        values = run.evaluate(batch.data)
        apart = batch.first and not batch.whole and run.validation is None
        if run.note(values, reached, run.apart(run.data) if apart else None, watch=batch.first):
            return
        optimizer.step()
        run.step += 1
        run.optimizer = "adam"
    if last:
        run.note(run.apart(run.data, training=next(batches).whole), run.evaluations)


def _lbfgs(run: _Fit, steps: int, rate: float) -> None:
    """Steps of LBFGS until none changes the weights, even after its memory was cleared."""
    seen: list[tuple[Tensor, _Values, list[Tensor | None]]] = []

    def evaluate() -> _Values:
        # Every step starts by evaluating where the line search of the last one ended, so that is remembered.
        weights = parameters_to_vector(run.parameters).detach()
        for known, values, gradients in seen:
            if torch.equal(known, weights):
                for parameter, gradient in zip(run.parameters, gradients, strict=True):
                    parameter.grad = gradient
                return values
        values = run.evaluate(run.data)
        seen.append((weights, values, [parameter.grad for parameter in run.parameters]))
        return values

    def fresh() -> torch.optim.LBFGS:
        # The default tolerances end a fit at a loss near 1e-9, so they are set where rounding ends it anyway.
        tolerance = torch.finfo(run.parameters[0].dtype).eps ** 2
        return torch.optim.LBFGS(
            run.parameters,
            rate,
            max_iter=1,
            max_eval=MAX_EVALUATIONS,  # by default 5/4 max_iter, which leaves the line search none
            tolerance_grad=0.0,
            tolerance_change=tolerance,
            line_search_fn="strong_wolfe",
        )

    optimizer, cleared, reached, made = fresh(), True, run.evaluations, 0
    stop = run.note(evaluate(), reached)
    while made < steps and not stop:
        before = parameters_to_vector(run.parameters).detach()
        optimizer.step(lambda: evaluate().total)
        if torch.equal(before, parameters_to_vector(run.parameters)):
            if cleared:
                run.history.stopped = "converged"
                return
            optimizer, cleared = fresh(), True
            continue
        made, cleared = made + 1, False
        run.step += 1
        run.optimizer = "lbfgs"
        values = evaluate()
        stop = run.note(values, run.evaluations)
        del seen[:-1]
