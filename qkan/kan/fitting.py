"""Fitting a module to samples: Adam, LBFGS, or the first and then the second."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from typing_extensions import Unpack

from qkan._util.lbfgs import loss_unit
from qkan._util.train_mode import modes_kept
from qkan.kan import input_checks as checks
from qkan.kan.fit_history import FitHistory, FitRow
from qkan.kan.input_checks import Callback, FitOptions, FitPlan, Loss, Pair
from qkan.kan.regularization import fit_weights

ADAM_RATE = 1e-2
SHARES = (1.0, 0.1, 0.0)  # of the entropy in the attempts of a fit to few edges
EXPLAINED = 0.03  # of the loss of a constant: a sparse fit that leaves more has not found what matters yet
MAX_EVALUATIONS = 26  # of one step of LBFGS: one where it starts, up to 25 of its line search


def fit(model: nn.Module, x: Tensor, y: Tensor, **options: Unpack[FitOptions]) -> FitHistory:
    """Fit a module whose forward maps x to y, and leave it with the best weights that were seen.

    The weights of the start and after every step are compared by the loss of the validation samples; without them by
    that of all training samples, regularisation included. With mini-batches they are compared after every epoch and at
    the end. Whatever ends the fit, an exception too, the model then has the best weights and its former mode, training
    or evaluation. Nothing is printed.

    Args:
        model: any module with trained parameters.
        x: (samples, ..., features), floating point, on the device of the model.
        y: (samples, ...); for ``"mse"`` of exactly the shape of ``model(x)``.
        options: all by name:

            * validation: x and y of samples that are not trained on.
            * optimizer: ``"adam"``; ``"lbfgs"`` with a strong Wolfe line search; ``"adam+lbfgs"`` (the default), one
              after the other.
            * steps: how many, default 400. Two numbers are those of Adam and of LBFGS; of one number Adam makes a
              quarter. A step of LBFGS evaluates the loss once or more: column ``evaluations`` of the history has the
              number.
            * restarts: how many fits, default 1; the best weights of all are kept. The first one starts from the
              weights as they are, the others from fresh ones (``reset_parameters`` of every part that has it, from
              torch's own generator; what is not trained stays), and with ``preact_init="auto"`` from other frequencies
              in turn: 2^l, 3^l, ones, those of the data.
            * lr: learning rate of Adam, default 1e-2; for ``"lbfgs"`` alone the length that its line search tries
              first, default 1, which is also what ``"adam+lbfgs"`` takes.
            * batch_size: samples of one step of Adam, drawn anew every epoch; default all. LBFGS always takes all.
            * loss: ``"mse"`` (the default), or a function of prediction and target that gives a scalar, for example
              ``F.cross_entropy``.
            * l1, entropy: weights of the model's ``regularization(x, l1=, entropy=)``, the same in all steps; what is
              not given is 0 where the other is. Without both, a model that has this method (:class:`qkan.QKAN`) gets
              the entropy of :func:`qkan.kan.regularization.sparse_weights`, which leaves few edges, in all but the last
              two thirds of the last optimizer's steps. In these, edges that do nothing by then stay at 0 and there is
              no regularisation. If 3 % of the loss of a constant are left when the entropy ends, the fit begins anew
              with a tenth of it, and then with none: that takes more steps. ``entropy=0`` is a fit for accuracy alone.
            * generator: source of the order of batches; default torch's own.
            * callback: called with every row of the history; the fit ends when it returns True.

    Returns:
        the history; its rows show the weights after 0, 1, 2, ... steps.

    Raises:
        TypeError, ValueError: data or an option outside what is listed above; the message names it.
        FloatingPointError: a loss that is NaN or infinite; the best weights until then are restored.

    Examples:
        >>> import torch
        >>> from qkan import QKAN, fit
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> history = fit(QKAN([2, 1]), x, x[:, :1] ** 2, steps=5)
        >>> history.best_loss < 1
        True
    """
    unknown = sorted(set(options) - set(FitOptions.__annotations__))
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r} of fit; options are {', '.join(FitOptions.__annotations__)}")
    data, validation = checks.checked_data(x, y, options.pop("validation", None))
    plan = FitPlan(**options)
    loss = checks.loss_function(plan.loss)
    with modes_kept(model), torch.enable_grad():
        _start_frequencies(model, data)
        exact = isinstance(plan.loss, str)
        checks.probe(model, data, loss, exact=exact)
        if validation is not None:
            checks.probe(model, validation, loss, exact=exact, where="validation ")
        run = _Fit(model, data, validation, loss, plan.callback)
        weights, scale = fit_weights(model, plan, data, loss)
        batches = _batches(data, plan.batch_size, plan.generator)
        search, finish = plan.phases(sparse=scale > 0)
        with run:
            for start in range(plan.restarts):
                if start:
                    run.redraw(start)
                run.weights = weights
                if search:
                    _few_edges(run, search, plan, batches, below=EXPLAINED * scale)
                _make(run, finish, plan, batches)
                _last(run, batches)
                if run.history.stopped == "callback":
                    break
    return run.history


def _start_frequencies(model: nn.Module, data: Pair, start: int = 0) -> None:
    """Let a model that waits for data (``preact_init="auto"``) take its frequencies."""
    found = getattr(model, "start_frequencies", None)
    if callable(found):
        found(*data, start)


def _make(run: _Fit, phases: list[tuple[str, int]], plan: FitPlan, batches: Iterator[_Batch]) -> None:
    """Make the steps of the optimizers, one after the other, unless the callback has ended the fit."""
    for name, steps in phases:
        if run.history.stopped == "callback":
            return
        run.history.stopped = "steps"
        if name == "adam":
            _adam(run, steps, ADAM_RATE if plan.lr is None else plan.lr, batches)
        else:
            _lbfgs(run, steps, 1.0 if plan.lr is None or plan.optimizer != "lbfgs" else plan.lr)


def _last(run: _Fit, batches: Iterator[_Batch]) -> None:
    """Write the row of the weights as they are, if they have none."""
    if not (run.noted or run.history.stopped == "callback"):
        run.note(run.apart(run.data, training=next(batches).whole), run.evaluations)


def _few_edges(
    run: _Fit, phases: list[tuple[str, int]], plan: FitPlan, batches: Iterator[_Batch], below: float
) -> None:
    """Fit with entropy until edges that do nothing can be told; from the start again with less where that misses."""
    start = {name: _copy(value) for name, value in run.model.state_dict().items()}
    weights = run.weights
    for share in SHARES:
        run.weights = {kind: share * weight for kind, weight in weights.items()}
        _make(run, phases, plan, batches)
        if run.history.stopped == "callback" or not share or run.hold(below):
            break
        _last(run, batches)
        run.restart(start)
    run.weights = dict.fromkeys(weights, 0.0)


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
        callback: Callback | None,
    ) -> None:
        self.model, self.data, self.validation = model, data, validation
        self.loss, self.callback = loss, callback
        self.weights: dict[str, float] = {}
        self.held: list[tuple[nn.Parameter, Tensor]] = []
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
        for parameter, kept in self.held:
            if parameter.grad is not None:
                parameter.grad *= kept
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

    def hold(self, below: float) -> bool:
        """From here on leave edges that do nothing at 0, if the loss has come below a number: else they are needed."""
        silence = getattr(self.model, "silence", None)
        if silence is None or not self.apart(self.data).loss < below:
            return False
        self.held = silence(self.data[0])
        return bool(self.held)

    def restart(self, state: dict[str, Any]) -> None:
        """Begin anew from these values."""
        self.model.load_state_dict(state)
        self.step, self.optimizer = self.step + 1, "start"

    def redraw(self, start: int) -> None:
        """Begin anew from fresh weights; ``start`` is the number of this one, from 1."""
        frozen = [(p, p.detach().clone()) for p in self.model.parameters() if not p.requires_grad]
        for part in self.model.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
        with torch.no_grad():
            for parameter, value in frozen:
                parameter.copy_(value)
        _start_frequencies(self.model, self.data, start)
        self.held = []
        self.step, self.optimizer = self.step + 1, "start"

    @property
    def noted(self) -> bool:
        """Whether the weights as they are have a row."""
        return bool(self.history.rows) and self.history.rows[-1]["step"] == self.step

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


def _adam(run: _Fit, steps: int, rate: float, batches: Iterator[_Batch]) -> None:
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

    def counted() -> Tensor:
        """The objective in the unit of the search, with its gradient."""
        total = evaluate().total
        for parameter in run.parameters:
            if parameter.grad is not None:
                parameter.grad = parameter.grad * unit
        return total * unit

    def unit_here() -> float:
        loss = float(evaluate().total.detach())
        if run.parameters[0].dtype == torch.float64:
            return loss_unit(loss)
        gradients = [parameter.grad for parameter in run.parameters if parameter.grad is not None]
        return loss_unit(loss, max((float(gradient.abs().max()) for gradient in gradients), default=0.0))

    optimizer, cleared, reached, made, stop = fresh(), True, run.evaluations, 0, False
    unit = unit_here()
    if not run.noted:
        stop = run.note(evaluate(), reached)
    while made < steps and not stop:
        before = parameters_to_vector(run.parameters).detach()
        optimizer.step(counted)
        if torch.equal(before, parameters_to_vector(run.parameters)):
            if cleared:
                run.history.stopped = "converged"
                return
            optimizer, cleared, unit = fresh(), True, unit_here()
            continue
        made, cleared = made + 1, False
        run.step += 1
        run.optimizer = "lbfgs"
        values = evaluate()
        stop = run.note(values, run.evaluations)
        del seen[:-1]
