"""What a training run and a comparison can be asked for: plain, validated, JSON-able options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeVar

from qkan.forecasting.config.cells import CELL_OPTIONS, COMPARED_CELLS, LINEAR_CELLS, RECURRENT_OPTIONS
from qkan.forecasting.config.idle import OF_PROTOCOLS, asked_for, refuse_idle
from qkan.forecasting.config.names import model_name
from qkan.forecasting.config.options import CALENDAR, DEFAULT_LEVELS, METRIC_LOSSES, OPTIONS
from qkan.forecasting.config.reading import chosen_order

_Config = TypeVar("_Config", bound="DataAndTrainingOptions")


def context_steps(window: int, lags: Sequence[int]) -> int:
    """Return the input steps of a model: its window and, before it, those that seasonal lags of these lengths need."""
    return window + max(lags, default=1) - 1


def _documented(config: type[_Config]) -> type[_Config]:
    """Append what each option means to the docstring of a configuration."""
    lines = [f"        {field.name}: {OPTIONS[field.name].help}" for field in fields(config)]
    config.__doc__ = "\n".join([f"{config.__doc__}", "    Args:", *lines, ""])
    return config


@dataclass(frozen=True, kw_only=True)
class DataAndTrainingOptions:
    """The options that one training run and a comparison share; :data:`OPTIONS` says what each means and allows.

    ``loss`` and ``scaler`` of ``"auto"`` become those that metric and protocol ask for. Losses are those of scaled
    values; ``"huber"`` turns linear at 1. A level of 90 is the 5 % and 95 % quantile,
    the forecast itself is the median, and no levels are :data:`DEFAULT_LEVELS`. ``batch_size`` of ``None`` is the
    choice of :func:`qkan.forecasting.data.loaders.resolve_batch_size`. The one-cycle schedule raises the
    validation loss while the rate is high, so by default (``patience`` of ``None``) training goes to the end of the
    cycle and takes the best epoch. No ``series`` named keeps all of them.

    Raises:
        ValueError: a value is out of its range or of the wrong type.
    """

    data: str
    protocol: str | None = None
    time_col: str | None = None
    time_format: str | None = None
    time_zone: str | None = None
    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    target_col: str | None = None
    id_col: str | None = None
    series: tuple[str, ...] = ()
    past_cols: tuple[str, ...] = ()
    future_cols: tuple[str, ...] = ()
    static_cols: tuple[str, ...] = ()
    category_cols: tuple[str, ...] = ()
    category_sizes: tuple[int, ...] = ()
    calendar: tuple[str, ...] = ()
    missing: str = "refuse"
    freq: str | None = None
    season: str | tuple[int, ...] = "auto"
    num_layers: int = 1
    reps: int = 1
    ansatz: str = "pz"
    latent_features: int = 2
    terms: int = 8
    preact_trainable: bool = False
    preact_init: str = "ones"
    base_activation: str | None = None
    group: int | Literal["edge", "input"] = "input"
    qubits: int = 4
    circuit_layers: int = 1
    bias: bool = True
    window: int = 12
    horizon: int = 1
    level: str = "auto"
    skip: int = 2
    season_encoding: str = "auto"
    season_terms: int = 6
    seasonal_lags: bool | None = None
    per_series: bool | int = False
    decoder: str = "steps"
    order: str = "auto"
    segment: int | None = None
    gate: bool = True
    dropout: float = 0.0
    strategy: str = "direct"
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    scaler: str = "auto"
    metric: str | None = None
    loss: str = "auto"
    levels: tuple[float, ...] = ()
    epochs: int = 30
    batch_size: int | None = None
    patience: int | None = None
    lr_frequencies: float | None = None
    lbfgs_steps: int | None = None
    restarts: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        for field in fields(self):
            option = OPTIONS[field.name]
            object.__setattr__(self, field.name, option.taken(getattr(self, field.name)))
            option.check(field.name, getattr(self, field.name))
        self._follow_protocol()
        self._follow_metric()
        refuse_idle(self)
        if self.ansatz == "px":
            raise ValueError(
                "ansatz 'px' encodes acos(x), which has no value beyond the training range and no slope at its ends; "
                "choose pz, rpz, real or mix"
            )
        if self.levels and self.loss != "quantile":
            raise ValueError(
                f"levels={self.levels!r} need the loss that trains quantiles: loss='quantile', not loss={self.loss!r}"
            )
        if self.loss == "quantile" and self.strategy == "recursive" and self.horizon > 1:
            raise ValueError(
                "loss='quantile' with strategy='recursive' would give intervals that ignore the uncertainty of the "
                "steps before; use strategy='direct' or another loss"
            )

    def _follow_protocol(self) -> None:
        """Refuse what the protocol of a benchmark prescribes.

        Raises:
            ValueError: an option is set that the protocol leaves no choice of.
        """
        if self.protocol is None:
            return
        for name in asked_for(self, OF_PROTOCOLS):
            raise ValueError(
                f"{name}={getattr(self, name)!r} has no effect with protocol={self.protocol!r}, which prescribes "
                "columns, times and parts; leave one of them out"
            )

    def _follow_metric(self) -> None:
        """Decide on loss and scaler where they are left open: errors weigh in the training as in the judgement.

        Raises:
            ValueError: a loss or a scaler was asked for that trains for another metric.
        """
        losses = METRIC_LOSSES[self.metric] if self.metric else ("mae" if self.protocol == "m4" else "mse",)
        in_changes = self.metric == "mase" or (self.metric is None and self.protocol == "m4")
        scaler = "change" if in_changes else "standard" if self.protocol == "ltsf" else "minmax"
        for name, value in (("loss", losses[0]), ("scaler", scaler)):
            if getattr(self, name) == "auto":
                object.__setattr__(self, name, value)
        if self.metric and self.loss not in losses:
            raise ValueError(
                f"loss={self.loss!r} does not train for metric={self.metric!r}; leave out one of them, or use "
                f"loss={' or '.join(map(repr, losses))}"
            )
        if self.metric == "mase" and self.scaler != "change":
            raise ValueError(
                f"scaler={self.scaler!r} does not count errors in the unit of metric='mase'; leave out one of them, or "
                "use scaler='change'"
            )

    @property
    def judged_by(self) -> str:
        """The metric that tables show first and that names the best method."""
        return self.metric or "mae"

    @property
    def effort(self) -> str:
        """How long a training may be, in words: ``30 epochs, up to 300 steps of LBFGS, best of 3 starts``."""
        steps, unsaid = self.lbfgs_steps, ", a finish by LBFGS where the model is small"
        finish = f", up to {steps:,} steps of LBFGS" if steps else unsaid if steps is None else ""
        starts = f", best of {self.restarts} starts" if self.restarts > 1 else ""
        return f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}{finish}{starts}"

    @property
    def interval_levels(self) -> tuple[float, ...]:
        """Percentages of the intervals that the model predicts, ascending; none without the quantile loss."""
        return tuple(sorted(self.levels or DEFAULT_LEVELS)) if self.loss == "quantile" else ()

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Quantiles that the model predicts, ascending: the ends of every interval around the median."""
        tails = [(100 - level) / 200 for level in reversed(self.interval_levels)]
        return (*tails, 0.5, *(1 - tail for tail in reversed(tails)))

    @property
    def seasons(self) -> tuple[int, ...]:
        """Lengths of the seasons that the model knows, in steps.

        Raises:
            ValueError: they are still to be found in the data.
        """
        if self.season == "auto":
            raise ValueError("season='auto' is what the data say; cut them first, and take the seasons they have")
        return () if isinstance(self.season, str) else self.season

    @property
    def context(self) -> int:
        """Input steps: the window and, before it, those that seasonal lags need."""
        return context_steps(self.window, self.seasons if self.seasonal_lags else ())

    @property
    def futr_exog_channels(self) -> int:
        """Input channels that are known in advance: covariates, calendar features, categories, with ``per_series`` the
        number of the series, one phase a season."""
        covariates = len(self.future_cols) + len(self.static_cols) + len(self.category_cols)
        calendar = sum(CALENDAR[name] for name in self.calendar)
        return covariates + calendar + bool(self.per_series) + len(self.seasons)

    @property
    def channels(self) -> int:
        """All input channels: value, observed or not (``missing="mask"``), past covariates, those known in advance."""
        return 1 + (self.missing == "mask") + len(self.past_cols) + self.futr_exog_channels

    @property
    def trained_horizon(self) -> int:
        """Steps that the model itself predicts."""
        return self.horizon if self.strategy == "direct" else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-able values; tuples become lists."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls: type[_Config], options: Mapping[str, Any]) -> _Config:
        """Rebuild the options that :meth:`to_dict` returned.

        Raises:
            ValueError: a key is unknown or missing, or a value is out of its range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"unknown option {unknown[0]!r}; known options are {', '.join(sorted(known))}")
        if "data" not in options:
            raise ValueError("the option 'data' is missing: name a built-in series or a file")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
        return cls(**values)


@_documented
@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataAndTrainingOptions):
    """Every option of one training run; :data:`OPTIONS` says what each means and allows.

    ``batch_size`` is that of all processes together. ``shards`` is a multiple of the processes, each of which holds
    only the windows of its own groups of neighbouring series; with 1, batches are drawn from all windows alike, and
    every process holds all of them.

    Raises:
        ValueError: a value is out of its range, or an option is set that the cell does not have.

    Examples:
        >>> from qkan.forecasting import TrainConfig
        >>> config = TrainConfig(data="telecom", cell="hqkan", hidden_size=4, horizon=24)
        >>> config.cell, config.horizon
        ('hqkan', 24)
    """

    cell: str = "qkan"
    hidden_size: int = 4
    lr: float = 3e-2
    seed: int = 0
    precision: str = "32-true"
    devices: int = 1
    num_nodes: int = 1
    shards: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shards > 1 and self.shards % self.processes:
            raise ValueError(
                f"shards must be 1 or a multiple of the {self.processes} processes, got {self.shards}; "
                f"use shards={-(-self.shards // self.processes) * self.processes}"
            )
        _refuse_without_effect(self, (self.cell,), "choose")

    def decided(self) -> TrainConfig:
        """Return the options with all decided that was left to the season, the window and the horizon.

        An order of ``auto`` that means steps stays as it is.

        Raises:
            ValueError: the seasons are still to be found in the data, or the window does not fit the order.
        """
        linear = self.cell in LINEAR_CELLS
        if self.cell in ("cycle", "sparse") and not self.seasons and self.segment is None:
            raise ValueError(f"cell={self.cell!r} needs a season, and the series has none; name it, such as season=24")
        asked = "periods" if self.cell == "sparse" else "steps" if linear else self.order
        order, segment = chosen_order(asked, self.segment, self.seasons, self.window, self.trained_horizon)
        level = self.level
        if level == "auto":
            level = "window" if self.cell == "cycle" else "mean" if order == "periods" else "last"
        order = self.order if linear or order == "steps" else order
        lags, encoding = self.seasonal_lags, self.season_encoding
        if self.seasons and not linear:
            lags = bool(lags)
            if encoding == "auto":
                encoding = "none" if self.protocol == "m4" else "circuit"
        return replace(self, order=order, segment=segment, level=level, season_encoding=encoding, seasonal_lags=lags)

    @property
    def model_name(self) -> str:
        """What the trained model is called wherever it is named: ``QKAN-LSTM``, ``LSTM``, ..."""
        return model_name(self.cell)

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.num_nodes


@_documented
@dataclass(frozen=True, kw_only=True)
class CompareConfig(DataAndTrainingOptions):
    """Every option of a comparison; :data:`OPTIONS` says what each means and allows.

    Options of one cell only (``reps``, ``ansatz``, ...) go to the cells that have them. Learning rates are the first
    ``trials`` of :data:`LEARNING_RATES`, tried with the first ``tuning_seeds`` of the ``seeds``; the median validation
    error chooses, in each of the ``folds`` by itself. A cell takes the largest hidden size that fits each of
    ``budget_params``. Every worker has one thread; results depend neither on their number nor on ``executor``.

    Raises:
        ValueError: a value is out of its range.

    Examples:
        >>> from qkan.forecasting import CompareConfig
        >>> config = CompareConfig(data="telecom", cells=("qkan", "lstm"), budget_params=(200,), out="compared")
        >>> config.seeds
        5
    """

    out: str
    cells: tuple[str, ...] = COMPARED_CELLS
    seeds: int = 5
    tuning_seeds: int = 1
    trials: int = 3
    budget_params: tuple[int, ...] = (160, 250, 400)
    folds: int = 1
    baselines: tuple[str, ...] = ()
    workers: int | None = None
    executor: str = "processes"

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_without_effect(self, self.cells, "compare")
        linear = [cell for cell in self.cells if cell in LINEAR_CELLS]
        for name in ("per_series", "seasonal_lags"):
            if linear and getattr(self, name):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} changes what all cells read, and cell {linear[0]!r} cannot read "
                    "it; leave out one of them"
                )
        if self.tuning_seeds > self.seeds:
            raise ValueError(f"tuning_seeds must be at most seeds={self.seeds}, got {self.tuning_seeds}")
        if self.folds > 1 and self.protocol is not None:
            raise ValueError(
                f"folds={self.folds} cut the data anew, but protocol={self.protocol!r} says where its parts end; "
                "leave out one of them"
            )
        if self.split[1] == 0:
            raise ValueError(
                f"a comparison tunes on the validation part, which split={self.split} leaves empty; give it a share"
            )

    def tuning_seeds_in_words(self) -> str:
        """Return the seeds that learning rates are tried with, as a table or a plan names them."""
        return "seed 0" if self.tuning_seeds == 1 else f"seeds 0 to {self.tuning_seeds - 1}"

    def train_config(self, *, cell: str, hidden_size: int, lr: float, seed: int) -> TrainConfig:
        """Return the options of one of the comparison's runs; circuit options go only to cells that have them."""
        own = {field.name for field in fields(DataAndTrainingOptions)}
        shared = {name: getattr(self, name) for name in own - without_effect(cell)}
        return TrainConfig(**shared, cell=cell, hidden_size=hidden_size, lr=lr, seed=seed)


def _refuse_without_effect(config: DataAndTrainingOptions, cells: Sequence[str], verb: str) -> None:
    """Refuse an option that was asked for and that none of the cells has.

    Args:
        config: The options.
        cells: What they are for.
        verb: What to do with other cells, in the sentence.

    Raises:
        ValueError: there is one.
    """
    for name in asked_for(config, sorted(frozenset.intersection(*map(without_effect, cells)))):
        own = f"cell {cells[0]!r}" if len(cells) == 1 else f"the cells {', '.join(cells)}"
        takers = ", ".join(cell for cell in CELL_OPTIONS if name not in without_effect(cell))
        raise ValueError(
            f"{name}={getattr(config, name)!r} has no effect on {own}; leave it out or {verb} one of the cells {takers}"
        )


def without_effect(cell: str) -> frozenset[str]:
    """The options that have no effect on a cell."""
    of_others = frozenset[str]().union(*CELL_OPTIONS.values()) - CELL_OPTIONS[cell]
    if cell not in LINEAR_CELLS:
        return of_others
    return of_others | RECURRENT_OPTIONS | (frozenset() if cell == "sparse" else {"segment"})
