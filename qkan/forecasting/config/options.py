"""What a training run and a comparison can be asked for: plain, validated, JSON-able options.

Nothing heavy is imported here, so the command line can read defaults and refuse bad values at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from qkan.forecasting.config.checks import (
    check_bool,
    check_choice,
    check_int,
    check_levels,
    check_names,
    check_number,
    check_split,
    check_text,
)

CELLS: tuple[str, ...] = ("qkan", "hqkan", "lowrank", "lstm", "gru", "qlstm", "gr-kan")
"""Every cell that can be trained. ``lowrank`` is HQKAN-LSTM with a linear latent: the same bottleneck, no circuit;
``gr-kan`` has a GR-KAN there: rational functions and linear maps."""

CELL_NAMES: dict[str, str] = {
    "qkan": "QKAN-LSTM",
    "hqkan": "HQKAN-LSTM",
    "lowrank": "low-rank LSTM",
    "lstm": "LSTM",
    "gru": "GRU",
    "qlstm": "QLSTM",
    "gr-kan": "GR-KAN-LSTM",
}
"""What the columns of forecasts are called, by cell."""

COMPARED_CELLS: tuple[str, ...] = ("qkan", "hqkan", "lowrank", "lstm", "gru")
"""What ``compare`` compares unless asked for other cells."""

SCALERS: tuple[str, ...] = ("minmax", "standard", "none")

TREATMENTS: tuple[str, ...] = ("refuse", "mask", "interpolate", "zero")
"""What can be done about missing values; see :mod:`qkan.datasets.read.missing`."""

CALENDAR: dict[str, int] = {"minute": 2, "hour": 2, "weekday": 2, "monthday": 2, "month": 2, "yearday": 2, "weekend": 1}
"""Input channels of every calendar feature; see :mod:`qkan.datasets.windows.calendar`."""

FRAME = "<data frame>"
"""The ``data`` of a model that was trained on a data frame in memory."""

LOSSES: tuple[str, ...] = ("mse", "mae", "huber", "quantile")

EXPORT_FORMATS: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
"""What a run can be exported to, with the ending of the file."""

STRATEGIES: tuple[str, ...] = ("direct", "recursive")

PRECISIONS: tuple[str, ...] = ("32-true", "bf16-mixed", "16-mixed", "64-true")
"""Lightning's names of what training computes in; weights are kept in the wider of the two."""

PROCESSES: tuple[str, ...] = ("devices", "num_nodes")
"""Options that a run may be resumed with other values of: they do not change what is computed."""

DEFAULT_LEVELS: tuple[float, ...] = (80.0, 90.0)
"""Percentages of the intervals that the quantile loss trains unless asked for others."""

CELL_OPTIONS: dict[str, frozenset[str]] = {
    "qkan": frozenset({"reps", "ansatz", "preact_trainable", "base_activation", "group"}),
    "hqkan": frozenset({"reps", "ansatz", "preact_trainable", "base_activation", "latent_features"}),
    "lowrank": frozenset({"latent_features"}),
    "lstm": frozenset(),
    "gru": frozenset(),
    "qlstm": frozenset({"qubits", "circuit_layers"}),
    "gr-kan": frozenset({"latent_features"}),
}
"""The options that shape one cell only, by cell. All other options apply to every cell."""

STATISTICAL_BASELINES: tuple[str, ...] = ("ets", "sarima", "theta")
"""Exponential smoothing, seasonal ARIMA and the theta method, which ``compare`` fits when asked to."""

LEARNING_RATES: tuple[float, ...] = (1e-2, 3e-2, 1e-1, 3e-3, 1e-3, 3e-1, 3e-4, 1e-4)
"""The grid that ``compare`` tries, in this order: ``trials=3`` means the first three, for every cell alike."""

_SHARED_INTEGERS = (
    *("num_layers", "reps", "latent_features", "qubits", "circuit_layers"),
    *("window", "horizon", "epochs", "patience"),
)
_LARGEST_LEARNING_RATE = 10.0
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")

_Config = TypeVar("_Config", bound="DataAndTrainingOptions")


@dataclass(frozen=True, kw_only=True)
class DataAndTrainingOptions:
    """The options that one training run and a comparison share.

    Args:
        data: Name of a built-in series or path of a ``.csv``, ``.csv.gz`` or ``.parquet`` file.
        time_col, target_col, id_col: Columns of such a file; ``None`` lets ``qkan.datasets`` find them.
        series: Names of the series to keep of many; all if empty.
        past_cols: Covariate columns whose values are known up to now.
        future_cols: Covariate columns whose values are known in advance.
        calendar: Keys of :data:`CALENDAR`: features of the time that the model sees for the next step.
        missing: One of :data:`TREATMENTS`: what to do about missing values and gaps in time.
        num_layers: Stacked recurrent layers.
        reps: Re-uploading repetitions of each circuit (``qkan``, ``hqkan``).
        ansatz: Name of the circuit (``qkan``, ``hqkan``).
        latent_features: Width of the bottleneck (``hqkan``, ``lowrank``, ``gr-kan``).
        preact_trainable: Train the circuits' input weights and biases (``qkan``, ``hqkan``).
        base_activation: Name of the base branch's activation, ``None`` for no such branch (``qkan``, ``hqkan``).
        group: ``"edge"``, a circuit for every edge as in the paper; ``"input"``, one circuit per input, shared by all
            gates that weigh it; or a number of circuits that inputs share (``qkan``).
        qubits: Qubits of each gate's circuit (``qlstm``).
        circuit_layers: Entangling layers of each gate's circuit (``qlstm``).
        bias: Whether the gates have a bias.
        window: Past values that the model sees, in steps.
        horizon: Future values to predict, in steps.
        strategy: ``"direct"``, the model predicts the whole horizon at once; ``"recursive"``, it is trained for the
            next step, and its predictions become inputs until the horizon is reached.
        split: Fractions (train, validation, test) of each series, in the order of time.
        scaler: ``"minmax"`` (to [-1, 1]), ``"standard"`` or ``"none"``, fitted on the training part.
        loss: One of :data:`LOSSES`, of scaled values; ``"huber"`` turns linear at 1.
        levels: With the quantile loss, the intervals to predict, in percent: 90 is the 5 % and the 95 % quantile. None
            given are :data:`DEFAULT_LEVELS`. The forecast itself is the median.
        epochs: Passes over the training windows, at most.
        batch_size: Windows per step; ``None`` takes :func:`qkan.forecasting.training.loop.resolve_batch_size`'s choice.
        patience: Epochs without a lower validation loss after which training stops. The one-cycle schedule raises the
            validation loss while the rate is high, so a small patience stops before the rate comes down.
        device: ``"auto"`` (a CUDA device if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises:
        ValueError: a value is out of its range (:data:`LIMITS`) or of the wrong type.
    """

    data: str
    time_col: str | None = None
    target_col: str | None = None
    id_col: str | None = None
    series: tuple[str, ...] = ()
    past_cols: tuple[str, ...] = ()
    future_cols: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    missing: str = "refuse"
    num_layers: int = 1
    reps: int = 1
    ansatz: str = "pz"
    latent_features: int = 2
    preact_trainable: bool = False
    base_activation: str | None = None
    group: int | Literal["edge", "input"] = "input"
    qubits: int = 4
    circuit_layers: int = 1
    bias: bool = True
    window: int = 12
    horizon: int = 1
    strategy: str = "direct"
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    scaler: str = "minmax"
    loss: str = "mse"
    levels: tuple[float, ...] = ()
    epochs: int = 30
    batch_size: int | None = None
    patience: int = 20
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in _SHARED_INTEGERS:
            check_int(name, getattr(self, name))
        if self.batch_size is not None:
            check_int("batch_size", self.batch_size)
        for name in ("preact_trainable", "bias"):
            check_bool(name, getattr(self, name))
        for name in ("data", "ansatz", "device"):
            check_text(name, getattr(self, name))
        if self.ansatz == "px":
            raise ValueError(
                "ansatz 'px' encodes acos(x), which has no value beyond the training range and no slope at its ends; "
                "choose pz, rpz, real or mix"
            )
        for name in ("time_col", "target_col", "id_col", "base_activation"):
            check_text(name, getattr(self, name), optional=True)
        check_names("series", self.series)
        number = isinstance(self.group, int) and not isinstance(self.group, bool) and self.group >= 1
        if not (self.group in ("edge", "input") or number):
            raise ValueError(f"group must be 'edge', 'input' or a positive integer, got {self.group!r}")
        choices = {"scaler": SCALERS, "missing": TREATMENTS, "loss": LOSSES, "strategy": STRATEGIES}
        for name, known in choices.items():
            check_choice(name, getattr(self, name), known)
        for name in ("past_cols", "future_cols"):
            check_names(name, getattr(self, name))
        check_names("calendar", self.calendar, CALENDAR)
        check_levels(self.levels, self.loss)
        if self.loss == "quantile" and self.strategy == "recursive" and self.horizon > 1:
            raise ValueError(
                "loss='quantile' with strategy='recursive' would give intervals that ignore the uncertainty of the "
                "steps before; use strategy='direct' or another loss"
            )
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {self.device!r}")
        check_split(self.split)

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
    def known_channels(self) -> int:
        """Input channels that are known in advance: future covariates and calendar features."""
        return len(self.future_cols) + sum(CALENDAR[name] for name in self.calendar)

    @property
    def channels(self) -> int:
        """All input channels: value, observed or not (with ``missing="mask"``), past covariates, known ones."""
        return 1 + (self.missing == "mask") + len(self.past_cols) + self.known_channels

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


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataAndTrainingOptions):
    """Every option of one training run; see :class:`DataAndTrainingOptions` for the rest.

    Args:
        cell: One of :data:`CELLS`.
        hidden_size: Width of the recurrent state.
        lr: Peak learning rate of the one-cycle schedule.
        seed: Seed of the initial weights and of the order of the windows.
        precision: One of :data:`PRECISIONS`.
        devices: Processes that train together on every node, one per CUDA device or CPU core. ``batch_size`` is that
            of all processes together.
        num_nodes: Machines that train together.
        shards: Groups of neighbouring series that a batch takes its windows from in equal shares, a multiple of the
            processes; each process holds only the windows of its own groups. With 1, batches are drawn from all
            windows alike, and every process holds all of them.

    Raises:
        ValueError: a value is out of its range, or an option is set that the cell does not have.
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
        check_choice("cell", self.cell, CELLS)
        for name in ("hidden_size", "seed", "devices", "num_nodes", "shards"):
            check_int(name, getattr(self, name))
        check_choice("precision", self.precision, PRECISIONS)
        if self.shards > 1 and self.shards % self.processes:
            raise ValueError(
                f"shards must be 1 or a multiple of the {self.processes} processes, got {self.shards}; "
                f"use shards={-(-self.shards // self.processes) * self.processes}"
            )
        if not 0 < check_number("lr", self.lr) <= _LARGEST_LEARNING_RATE:
            raise ValueError(f"lr must be above 0 and at most {_LARGEST_LEARNING_RATE:g}, got {self.lr!r}")
        for name in sorted(_ALL_CELL_OPTIONS - CELL_OPTIONS[self.cell]):
            if getattr(self, name) != getattr(type(self), name):
                takers = ", ".join(cell for cell in CELLS if name in CELL_OPTIONS[cell])
                raise ValueError(
                    f"{name}={getattr(self, name)!r} has no effect on cell {self.cell!r}; "
                    f"leave it out or choose one of the cells {takers}"
                )

    @property
    def processes(self) -> int:
        """Processes that train together."""
        return self.devices * self.num_nodes


@dataclass(frozen=True, kw_only=True)
class CompareConfig(DataAndTrainingOptions):
    """Every option of a comparison; see :class:`DataAndTrainingOptions` for the rest.

    Circuit options (``reps``, ``ansatz``, ...) go to the cells that have them.

    Args:
        out: Folder for tables and picture.
        cells: Cells to compare, each with the same budget of runs.
        seeds: Seeds 0, 1, ... of the runs with the chosen learning rate.
        tuning_seeds: With how many of the seeds learning rates are tried; the median validation error chooses.
        trials: Learning rates tried for every cell and size: the first ones of :data:`LEARNING_RATES`.
        budget_params: Parameter budgets; a cell takes the largest hidden size that fits each.
        baselines: Statistical baselines beside the naive ones, some of :data:`STATISTICAL_BASELINES`.
        workers: Processes that train at the same time, with one thread each; ``None`` takes one per core, at most 8.
            The results do not depend on it.

    Raises:
        ValueError: a value is out of its range.
    """

    out: str
    cells: tuple[str, ...] = COMPARED_CELLS
    seeds: int = 5
    tuning_seeds: int = 1
    trials: int = 3
    budget_params: tuple[int, ...] = (50, 125, 375, 1250)
    baselines: tuple[str, ...] = ()
    workers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text("out", self.out)
        for name in ("seeds", "tuning_seeds", "trials"):
            check_int(name, getattr(self, name))
        if self.tuning_seeds > self.seeds:
            raise ValueError(f"tuning_seeds must be at most seeds={self.seeds}, got {self.tuning_seeds}")
        if self.workers is not None:
            check_int("workers", self.workers)
        if self.split[1] == 0:
            raise ValueError(
                f"a comparison tunes on the validation part, which split={self.split} leaves empty; give it a share"
            )
        for name in ("cells", "budget_params"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values or len(set(values)) != len(values):
                raise ValueError(f"{name} must be a tuple of one or more values, each named once, got {values!r}")
        for cell in self.cells:
            check_choice("cell", cell, CELLS)
        for name in self.baselines:
            check_choice("baseline", name, STATISTICAL_BASELINES)
        for budget in self.budget_params:
            check_int("budget_params", budget)

    def tuning_seeds_in_words(self) -> str:
        """Return the seeds that learning rates are tried with, as a table or a plan names them."""
        return "seed 0" if self.tuning_seeds == 1 else f"seeds 0 to {self.tuning_seeds - 1}"

    def train_config(self, *, cell: str, hidden_size: int, lr: float, seed: int) -> TrainConfig:
        """Return the options of one of the comparison's runs; circuit options go only to cells that have them."""
        own = {field.name for field in fields(DataAndTrainingOptions)}
        skipped = _ALL_CELL_OPTIONS - CELL_OPTIONS[cell]
        shared = {name: getattr(self, name) for name in own - skipped}
        return TrainConfig(**shared, cell=cell, hidden_size=hidden_size, lr=lr, seed=seed)


_ALL_CELL_OPTIONS: frozenset[str] = frozenset().union(*CELL_OPTIONS.values())
