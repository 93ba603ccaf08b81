"""Where training may start: the linear parts of a forecaster from least squares; and what to keep of that."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.forecasting.data.batches import Batch, WindowTensors, by_time
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.forecasting.model.losses import Loss
from qkan.forecasting.model.parts import Level, Skip
from qkan.forecasting.training.objective import Objective

_MOST_WINDOWS, _MOST_PRODUCTS = (
    20_000,
    4_000_000_000,
)  # evenly spread; windows times what one of them is multiplied with
_MOST_SORTED = 1_000_000  # of more windows, evenly spread, the newest are looked for among so many
_PIECE = 512  # windows of a step: what is known of all their targets is kept no longer
_JUDGED = 0.25  # of them, the newest, judge
_ENOUGH = 0.15  # of the error of repeating the last value: where lags leave more, the map bends too much to start from
_PENALTIES = (1e-9, 1e-7, 1e-5, 1e-3, 1e-1, 1.0)
"""In units of the mean square of the inputs, times the number of windows."""
_MOST_ROWS = 100_000  # the newest, of the regression of a mean season
_WAVE_PENALTY = 1e-4  # of the mean square of a wave, times the rows: the day is a part of the week, too


class Start(NamedTuple):
    """Weights that training started from, or could have.

    Attributes:
        weights: The state of the model.
        loss: Their loss on the windows that judge.
        begins: Whether the model has them, so that training starts there.
    """

    weights: dict[str, Tensor]
    loss: float
    begins: bool


def start_from_regression(
    model: RecurrentForecaster, train: WindowTensors, judge: WindowTensors, loss: Loss
) -> Start | None:
    """Find the linear parts of a fresh model by a ridge regression, and let training start there where they say much.

    Small steps of a gradient do not find the map of a smooth motion, whose lags are nearly the same; a regression does.
    It is one regression for all series, of the targets on the window and on what is known of the target steps (phases
    of the seasons, values one season back, covariates), with the levels taken away as the model does, and shrinks
    towards repeating the last value. The penalty is that of the smallest error on the newest quarter of the training
    windows. The head of the cell is zero in it, so that the whole forecast is that of the regression. Where that leaves
    more than 15 % of the error of repeating the last value, the model stays as it is, for there the last value is as
    good a begin; but the weights are returned all the same, as they may be better than what the training ends with.

    Args:
        model: Changed in place.
        train: Windows of the training part, on the CPU.
        judge: Windows that judge the weights of the regression, on the CPU.
        loss: Their loss.

    Returns:
        The weights; ``None`` where there is no linear skip, the regression is no better than the last value, or
        intervals are trained, of which it says nothing, and it does not begin.
    """
    if not isinstance(model.skip, Skip) or model.head is None or model.own is not None or len(train) < 2:
        return None
    found = _regression(_Linear(model), train)
    if found is None:
        return None
    drawn = copy.deepcopy(model.state_dict())
    _take(model, found)
    # What a mean season leaves over is small, and so is what is lost if the cell starts beside a whole regression.
    begins = found.error < (_ENOUGH if model.mean is None else 1.0)
    start = Start(copy.deepcopy(model.state_dict()), Objective(model, judge, loss).value(), begins)
    if begins:
        return start
    model.load_state_dict(drawn)
    return start if model.quantiles == 1 else None  # a regression says no quantiles but one


def start_mean(model: RecurrentForecaster, train: WindowTensors) -> None:
    """Let the mean season of a fresh model start as that of the training part: a ridge regression on its waves.

    Args:
        model: Changed in place; without a mean season it stays as it is.
        train: Windows of the training part, on the CPU.
    """
    mean = model.mean
    if mean is None:
        return
    tail = train.first[-_MOST_ROWS:]  # so many windows read as many rows
    begin, end = int(tail.min()), int(tail.max()) + train.window + train.horizon
    rows = begin + torch.nonzero(train.rows_of(tail - begin, end - begin))[:, 0]
    if train.weights is not None:
        rows = rows[train.weights[rows] > 0]
    rows = rows[-_MOST_ROWS:]
    values = train.values[rows][:, 0].double()
    phases = train.futr_exog[rows][:, -len(mean.circuits.seasons) :].double()
    angles = phases @ mean.circuits.frequencies.cpu().double()
    waves = torch.cat([angles.sin(), angles.cos(), torch.ones_like(angles[:, :1])], dim=1)
    penalty = torch.full((waves.shape[1],), _WAVE_PENALTY / 2 * len(waves), dtype=waves.dtype)
    penalty[-1] = 0.0  # the constant is free
    sines, cosines = torch.linalg.solve(waves.T @ waves + penalty.diag(), waves.T @ values).split(
        [angles.shape[1], angles.shape[1] + 1]
    )
    mean.start(sines, cosines[:-1], cosines[-1])


class _Design(NamedTuple):
    """Some windows as a regression sees them: float64, rows multiplied by the scale of the window.

    Attributes:
        lags: The window less its level, and ones where every target step has a constant of its own, (N, lags).
        known: What is known of every target step, and ones where they share a constant, (N, horizon, known).
        changes: Targets less the last value, or less a mean season, (N, horizon).
    """

    lags: Tensor
    known: Tensor
    changes: Tensor


class _Linear:
    """The linear parts of a model, as columns of a regression.

    The channels of a season are replaced by sines and cosines of its harmonics, where the model can say them: a circuit
    of trained angle is a wave of any phase.
    """

    def __init__(self, model: RecurrentForecaster) -> None:
        self.model, self.device = model, next(model.parameters()).device
        self.shared = model.decodes_steps or model.order.kind == "segments"  # a constant cannot be that of one step
        self.constant = not self.shared or model.order.kind == "steps"
        self.around_mean = model.mean is not None
        season = model.season
        self.channels = 0 if season is None else season.channels
        self.waves = season is not None and season.encoding in ("circuit", "sincos")
        around = model.around
        names = 0 if model.categories is None else sum(table.shape[1] for table in model.categories.tables)
        self.begin = around.futr_exog_channels - len(around.seasons) - len(around.category_sizes) + names

    @torch.no_grad()
    def of(self, batch: Batch) -> _Design:
        """Return the columns of some windows."""
        model = self.model
        inputs, window = batch.arguments[0], model.around.window
        futr_exog = batch.arguments[1] if len(batch.arguments) > 1 else None
        values, targets = inputs[..., 0].double(), batch.targets.double()
        if model.mean is not None and futr_exog is not None:
            of_inputs, of_targets = model.mean_of(inputs.to(self.device), futr_exog.to(self.device))
            values, targets = values - of_inputs.cpu(), targets - of_targets.cpu()
        level = Level.of(values[:, -window:], model.around.level)
        if level is not None:
            values, targets = level.remove(values), level.remove(targets)
        ahead = None if futr_exog is None else futr_exog.to(self.device)
        known = model.known_of_targets(values.float().to(self.device), ahead).cpu().double()
        known = self._with_waves(known, futr_exog)
        lags, ones = values[:, -window:], values.new_ones(())
        if self.constant and self.shared:
            known = torch.cat([known, ones.expand(*known.shape[:2], 1)], dim=2)
        elif self.constant:
            lags = torch.cat([lags, ones.expand(len(lags), 1)], dim=1)
        scale = ones.expand(len(lags), 1) if level is None or level.scale is None else level.scale
        changes = targets * scale if self.around_mean else (targets - values[:, -1:]) * scale
        return _Design(lags * scale, known * scale.unsqueeze(2), changes)

    def _with_waves(self, known: Tensor, futr_exog: Tensor | None) -> Tensor:
        season, end = self.model.season, self.begin + self.channels
        if self.around_mean:  # it says what is known of the steps
            return known[..., :0]
        if season is None or futr_exog is None:
            return known
        waves = known[..., :0]
        if self.waves:
            angles = (
                futr_exog[..., futr_exog.shape[2] - len(season.seasons) :].double() @ season.frequencies.cpu().double()
            )
            waves = torch.cat([angles.sin(), angles.cos()], dim=2)
        return torch.cat([known[..., : self.begin], waves, known[..., end:]], dim=2)


class _Sums:
    """Sums of products over windows: all that least squares needs of them."""

    def __init__(self, like: _Design) -> None:
        lags, known, steps = like.lags.shape[1], like.known.shape[2], like.changes.shape[1]
        new = like.lags.new_zeros
        self.count = 0
        self.lags, self.known, self.changes = new(lags, lags), new(known, known), new(())
        self.lags_known, self.lags_changes, self.known_changes = new(lags, steps, known), new(lags, steps), new(known)

    def add(self, own: _Design) -> None:
        """Add some windows."""
        known = own.known.flatten(0, 1)
        self.count += len(own.lags)
        self.lags += own.lags.T @ own.lags
        self.known += known.T @ known
        self.lags_known += (own.lags.T @ own.known.flatten(1)).view_as(self.lags_known)
        self.lags_changes += own.lags.T @ own.changes
        self.known_changes += known.T @ own.changes.flatten()

    def plus(self, other: _Sums) -> _Sums:
        """The sums over both."""
        both = copy.copy(self)
        for name, own in vars(self).items():
            setattr(both, name, own + vars(other)[name])
        return both

    def solve(self, penalty: float, *, free: bool) -> tuple[Tensor, Tensor]:
        """Weights of the lags (lags, horizon) and of what is known (known,), the same for all target steps.

        Args:
            penalty: In units of the mean square of a column, times the number of windows.
            free: Whether the last column of the lags is the constant, which is not penalised.
        """
        sizes = self.lags.diagonal()
        own = sizes[:-1] if free else sizes
        penalties = torch.full_like(sizes, penalty * float(own.mean()))
        if free:
            penalties[-1] = 1e-12 * self.count
        factor = self.lags + penalties.diag()
        weights = torch.linalg.solve(factor, self.lags_changes)
        if not len(self.known):
            return weights, self.known_changes
        through = torch.linalg.solve(factor, self.lags_known.flatten(1)).view_as(self.lags_known)
        left = self.known - torch.einsum("lhk,lhj->kj", self.lags_known, through)
        moment = self.known_changes - torch.einsum("lhk,lh->k", self.lags_known, weights)
        floor = 1e-12 * float(self.known.diagonal().mean()) + 1e-300
        known = torch.linalg.solve(left + (penalty * self.known.diagonal() + floor).diag(), moment)
        return weights - through @ known, known


class _Found(NamedTuple):
    """A regression.

    Attributes:
        linear: What its columns are.
        lags, known: Weights of the changes since the last value, as of :meth:`_Sums.solve`.
        gram: Sums of products of the lags, (lags, lags).
        error: Mean absolute error of the newest windows, in units of that of the last value.
    """

    linear: _Linear
    lags: Tensor
    known: Tensor
    gram: Tensor
    error: float


def _regression(linear: _Linear, train: WindowTensors) -> _Found | None:
    """The ridge regression of the best penalty; ``None`` if it is no better than the last value."""
    model = linear.model
    width = model.horizon * model.around.window * (1 + model.around.known_channels(model.horizon) + linear.channels)
    most = max(2, min(_MOST_WINDOWS, _MOST_PRODUCTS // width))
    train = train.evenly(_MOST_SORTED)
    order = by_time(train)
    places = order[torch.linspace(0, len(train) - 1, min(len(train), most)).round().long()]
    if train.weights is not None:
        observed = [train.batch(index).weights for index in places.split(_PIECE)]
        places = places[torch.cat([own.bool().all(dim=1) for own in observed if own is not None])]
    count = len(places) - round(_JUDGED * len(places))
    if len(places) - count < 2 or count <= model.around.window:
        return None

    def designs(index: Tensor) -> list[_Design]:
        return [linear.of(train.batch(piece)) for piece in index.split(_PIECE)]

    older, newer = designs(places[:count]), designs(places[count:])
    sums = [_Sums(older[0]), _Sums(older[0])]
    for own, parts in zip(sums, (older, newer), strict=True):
        for part in parts:
            own.add(part)
    naive = sum(float(part.changes.abs().sum()) for part in newer)
    if not naive > 0 or not float(sums[0].lags.diagonal().sum()) > 0:
        return None
    free = linear.constant and not linear.shared

    def error(penalty: float) -> float:
        lags, known = sums[0].solve(penalty, free=free)
        return sum(float((part.lags @ lags + part.known @ known - part.changes).abs().sum()) for part in newer) / naive

    errors = {penalty: error(penalty) for penalty in _PENALTIES}
    best = min(errors, key=lambda penalty: errors[penalty])
    if not errors[best] < 1:
        return None
    both = sums[0].plus(sums[1])
    return _Found(linear, *both.solve(best, free=free), both.lags, errors[best])


@torch.no_grad()
def _take(model: RecurrentForecaster, found: _Found) -> None:
    """Set the weights of a regression; the cell says nothing."""
    linear, skip, head = found.linear, model.skip, model.head
    if not isinstance(skip, Skip) or head is None:
        return
    lags, known, gram = found.lags, found.known, found.gram
    head.weight.zero_()
    head.bias.zero_()
    if linear.constant and linear.shared:
        head.bias.fill_(float(known[-1]))
        known = known[:-1]
    elif linear.constant:
        head.bias.copy_(lags[-1].repeat_interleave(model.quantiles))
        lags, gram = lags[:-1], gram[:-1, :-1]
    lags = lags.clone()
    lags[-1] += 0.0 if linear.around_mean else 1.0  # changes are those since the last value
    if skip.courses is None:
        skip.patterns.weight.copy_(lags.T)
    else:  # the courses of the regression's forecasts that vary most
        courses = torch.linalg.eigh(lags.T @ gram @ lags).eigenvectors[:, -len(skip.patterns.weight) :]
        skip.courses.weight.copy_(courses)
        skip.patterns.weight.copy_((lags @ courses).T)
    if model.known is not None and not linear.around_mean:
        model.known.weight.copy_(_of_channels(linear, known))


def _of_channels(linear: _Linear, known: Tensor) -> Tensor:
    """Weights of the model's channels for those of a regression; the angles of its circuits are set."""
    season, begin, channels = linear.model.season, linear.begin, linear.channels
    if season is None:
        return known
    width = 2 * season.frequencies.shape[1] if linear.waves else 0
    waves = known[begin : begin + width]
    if season.angles is not None:  # a cos x + b sin x = w cos(x + angle)
        sines, cosines = waves.chunk(2)
        season.angles.copy_(torch.atan2(-sines, cosines))
        waves = torch.hypot(sines, cosines)
    elif not linear.waves:
        waves = known.new_zeros(channels)
    return torch.cat([known[:begin], waves, known[begin + width :]])
