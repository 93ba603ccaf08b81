"""The options of trainings and comparisons: what values each allows and what it means.

Nothing heavy is imported here, so the command line can read defaults and refuse bad values at once.
"""

from __future__ import annotations

from qkan.forecasting.config.cells import CELL_OPTIONS, CELLS, LINEAR_CELLS
from qkan.forecasting.config.kinds import (
    CHARACTER,
    COLUMNS,
    DEVICE,
    EXECUTOR,
    FLAG,
    GROUP,
    LEVEL,
    NAMES,
    PER_SERIES,
    RATE,
    SHARE,
    TEXT,
    Choice,
    Option,
    Seasons,
    Several,
    Split,
    Whole,
)
from qkan.forecasting.config.names import BASELINE_NAMES

SCALERS: tuple[str, ...] = ("minmax", "standard", "robust", "none", "change")

PROTOCOLS: tuple[str, ...] = ("ltsf", "m4")
"""Benchmarks whose files, parts and errors are known; see :mod:`qkan.datasets.read.protocols`."""

TREATMENTS: tuple[str, ...] = ("refuse", "mask", "interpolate", "zero")
"""What can be done about missing values; see :mod:`qkan.datasets.read.missing`."""

CALENDAR: dict[str, int] = {"minute": 2, "hour": 2, "weekday": 2, "monthday": 2, "month": 2, "yearday": 2, "weekend": 1}
"""Input channels of every calendar feature; see :mod:`qkan.datasets.windows.calendar`."""

FRAME = "<data frame>"
"""The ``data`` of a model that was trained on a data frame in memory."""

INTERVALS: tuple[str, ...] = ("split", "adaptive")
"""How conformal intervals are made: from the errors on the validation part, or from all that are known by then."""

NEW_SERIES: tuple[str, ...] = ("refuse", "scale")
"""What can be done about series that a forecaster was not trained on."""

LOSSES: tuple[str, ...] = ("mse", "mae", "huber", "quantile")

METRIC_LOSSES: dict[str, tuple[str, ...]] = {
    "mae": ("mae", "huber", "quantile"), "mse": ("mse", "huber"),
    "rmse": ("mse", "huber"), "mase": ("mae", "huber", "quantile"),
}  # fmt: skip
"""Errors that forecasts can be judged by, each with the losses that train for it, the default first."""

STRATEGIES: tuple[str, ...] = ("direct", "recursive")

LEVELS_REMOVED: tuple[str, ...] = ("auto", "last", "mean", "window", "season", "none")
"""What can be taken from every window and put back on its forecast; see :mod:`qkan.forecasting.model.parts`."""

MEAN_HARMONICS = 32
"""Harmonics of every season of the mean season that can be the level: most of a day's course of five minutes."""

SHORT_SEASON = 48
"""Steps of a season that is a horizon by default, and that the phases' few harmonics say well enough."""

SEASON_ENCODINGS: tuple[str, ...] = ("auto", "circuit", "sincos", "table", "none")

DECODERS: tuple[str, ...] = ("last", "steps")

ORDERS: tuple[str, ...] = ("auto", "steps", "segments", "periods")
"""In what order a cell reads its window; see :mod:`qkan.forecasting.model.orders`."""

PRECISIONS: tuple[str, ...] = ("32-true", "bf16-mixed", "16-mixed", "64-true")
"""Lightning's names of what training computes in; weights are kept in the wider of the two."""

PROCESSES: tuple[str, ...] = ("devices", "num_nodes")
"""Options that a run may be resumed with other values of: they do not change what is computed."""

FINISH_STEPS, FINISH_PARAMETERS, FINISH_VALUES = 1_000, 1_000, 30_000
"""Steps of LBFGS behind the epochs by default, of models of at most so many parameters, and at most so many values in
all training windows; see :func:`qkan.forecasting.training.lbfgs.finish_steps`."""

DEFAULT_LEVELS: tuple[float, ...] = (80.0, 90.0)
"""Percentages of the intervals that the quantile loss trains unless asked for others."""

PREACT_INITS: tuple[str, ...] = ("ones", "binary", "ternary", "auto")
"""Frequencies that circuits can start with; see :mod:`qkan.layers.frequencies`."""

LEARNING_RATES: tuple[float, ...] = (1e-2, 3e-2, 1e-1, 3e-3, 1e-3, 3e-1, 3e-4, 1e-4)
"""The grid that ``compare`` tries, in this order: ``trials=3`` means the first three, for every cell alike."""

HIDDEN_SIZE = Whole(1, 4096)
HORIZON = Whole(1, 10_000)
SEASON = Seasons(100_000)


_SIMPLE = ("naive", "drift", "seasonal-naive", "seasonal-mean", "ridge")  # always there
_ASKED = [name for name in BASELINE_NAMES if name not in _SIMPLE]
_FEATURES = Several(
    Choice(tuple(CALENDAR), "choose from"), "names, each of them once", "name", item_name="calendar feature"
)
_LEVELS = Several(LEVEL, "percentages, each of them once", "percentage", "80,90")
_CELLS = Several(
    Choice((*CELLS, *LINEAR_CELLS)), "one or more values, each named once", "cell", item_name="cell", least=1
)
_BUDGETS = Several(Whole(1, 100_000_000), "one or more values, each named once", "whole number", "50,125,375", least=1)
_BASELINES = Several(
    Choice(tuple(BASELINE_NAMES), "choose from"), "names, each of them once", "baseline", item_name="baseline"
)

OPTIONS: dict[str, Option] = {
    "data": Option(
        "A built-in series (see `qkan data list`), a .csv, .csv.gz, .parquet or .xlsx file, or a panel "
        "(`qkan data prepare`).",
        TEXT,
    ),
    "protocol": Option(
        "Read the file, split it and judge forecasts as papers do: ltsf (a wide file with a column date, such as "
        "ETTh1.csv) or m4 (Hourly-train.csv beside Hourly-test.csv).",
        Choice(PROTOCOLS),
        True,
    ),
    "time_col": Option(
        "Column of the file that holds the time, or rows for their order.  [default: ds, else the only one that holds "
        "times, else rows]",
        TEXT,
        True,
    ),
    "time_format": Option(
        "How the times are written, such as %d/%m/%Y; 'unix s' (ms, us); or steps for whole numbers that look like "
        "dates.  [default: ISO 8601; whole numbers such as 20240131 are dates]",
        TEXT,
        True,
    ),
    "time_zone": Option(
        "Zone of times that name none, such as Europe/Rome: an hour that comes twice when clocks are put back is told "
        "apart by its order.",
        TEXT,
        True,
    ),
    "sep": Option(
        "What stands between the columns of a CSV file, such as ';' or tab.  [default: found]", CHARACTER, True
    ),
    "decimal": Option("Decimal mark of a CSV file.  [default: found]", Choice((".", ",")), True),
    "encoding": Option("Encoding of a CSV file, such as cp1252.  [default: found]", TEXT, True),
    "target_col": Option("Column of the file to forecast.  [default: y, or the only numeric column]", TEXT, True),
    "id_col": Option(
        "Column that tells the series of the file apart.  [default: unique_id if there is one]", TEXT, True
    ),
    "new_series": Option(
        "Series that the forecaster was not trained on, and other steps of time: refuse them, or scale each new series "
        "by its own last window.",
        Choice(NEW_SERIES),
    ),
    "intervals": Option(
        "Conformal intervals: split (from the errors on the validation part), or adaptive (from the last errors that "
        "are known at each moment, so that coverage holds when the level moves).",
        Choice(INTERVALS),
    ),
    "freq": Option(
        "Step between two times of the file: an alias of pandas such as h, 5min or MS.  [default: found in the times]",
        TEXT,
        True,
    ),
    "past_cols": Option("Covariates of the file known up to now only, separated by commas.", COLUMNS),
    "future_cols": Option(
        "Covariates of the file known in advance; for the steps to predict, the file goes on with rows without a "
        "value.",
        COLUMNS,
    ),
    "static_cols": Option("Columns with one value for every series, numbers or names, separated by commas.", COLUMNS),
    "category_cols": Option(
        "Columns of names that may change with time and are known in advance, separated by commas; one that never "
        "changes in a series stays as it is.",
        COLUMNS,
    ),
    "category_sizes": Option(
        "How many names every category has.", Several(Whole(1, 100_000), "sizes", "size", twins=True), computed=True
    ),
    "calendar": Option(
        f"Features of the time, known in advance, separated by commas: {', '.join(CALENDAR)}.", _FEATURES
    ),
    "missing": Option(
        "Missing values and gaps: refuse them; mask (repeat the last value and tell the model), interpolate, or zero.",
        Choice(TREATMENTS),
    ),
    "series": Option("Series to keep of many, by their names, separated by commas.", NAMES, flags=("--square",)),
    "cell": Option(
        "Recurrent cell. lowrank is hqkan without its circuits; gr-kan has rational functions in their place, fourier, "
        "rff (random frequencies), spline and chebyshev sums with free coefficients, mlp an MLP; qlstm is the "
        "published quantum LSTM; fwp programs a layer of circuits step by step, fwp-linear a linear one. linear, cycle "
        "(CycleNet) and sparse (SparseTSF) are linear maps without a cell.",
        Choice(tuple(CELL_OPTIONS)),
    ),
    "cells": Option("Cells to compare, separated by commas.", _CELLS),
    "hidden_size": Option("Width of the recurrent state.", HIDDEN_SIZE),
    "num_layers": Option("Stacked recurrent layers.", Whole(1, 32)),
    "reps": Option("Times that each circuit reads its input (qkan, hqkan, fwp).", Whole(1, 64)),
    "ansatz": Option("Circuit: pz, rpz, real or mix (qkan, hqkan, fwp).", TEXT),
    "latent_features": Option(
        "Width of the bottleneck (hqkan, lowrank, fwp, fwp-linear, gr-kan, fourier, rff, spline, chebyshev, mlp).",
        Whole(1, 1024),
    ),
    "terms": Option(
        "Functions of every edge (fourier, rff, spline, chebyshev), or width of the hidden layer (mlp).", Whole(1, 512)
    ),
    "preact_trainable": Option("Train a weight and a bias for each reading of the input (qkan, hqkan).", FLAG),
    "preact_init": Option(
        "Frequencies that circuits start with (qkan, hqkan): ones, binary (1, 2, 4, ...), ternary (1, 3, 9, ...), or "
        "auto: those that the training part shows. Without --preact-trainable they stay. --restarts tries more.",
        Choice(PREACT_INITS),
    ),
    "base_activation": Option(
        "Activation of a branch beside the circuits, such as silu (qkan, hqkan, fwp).  [default: none, silu for fwp]",
        Choice(("none", "silu", "gelu", "relu", "tanh", "identity")),
        True,
    ),
    "group": Option(
        "Circuits: edge (one per edge, as published), input (one per input), or how many are shared (qkan).", GROUP
    ),
    "qubits": Option("Qubits of each gate's circuit (qlstm).", Whole(1, 12)),
    "circuit_layers": Option("Entangling layers of each gate's circuit (qlstm).", Whole(1, 64)),
    "bias": Option("Bias of the gates.", FLAG),
    "season": Option(
        "Seasons in steps, separated by commas; none; or auto: those of the series or usual for the step of its times, "
        "else those that the training part shows and that help to forecast it.",
        SEASON,
    ),
    "window": Option(
        "Past values that the model sees, in steps.  [default: two of the shortest season of up to 48 steps, or 12; "
        "one of the longest season where several series are read by periods]",
        Whole(1, 100_000),
    ),
    "horizon": Option(
        "Future values to predict, in steps.  [default: the shortest season of up to 48 steps, or 1]", HORIZON
    ),
    "level": Option(
        "What is subtracted from every window and added to its forecast again: its last value, its mean, mean and "
        "scale (window), the mean season (a circuit per harmonic), or nothing. auto: window for several series and "
        "cycle, mean in order of periods, else last, season or none, as the series says.",
        Choice(LEVELS_REMOVED),
    ),
    "skip": Option("Rank of a linear map of the window beside the cell; 0 for none.", Whole(0, 1024)),
    "season_encoding": Option(
        "How the model sees the season: a circuit per harmonic, sines and cosines, a table with a number per step, or "
        "none: the phase is not an input. auto: circuit, but none with protocol m4, whose series have no common clock.",
        Choice(SEASON_ENCODINGS),
    ),
    "season_terms": Option("Harmonics of every season (circuit, sincos).", Whole(1, 64)),
    "seasonal_lags": Option(
        "Give the model the values one season back.  [default: where seasons of several series exceed the window]",
        FLAG,
        True,
    ),
    "per_series": Option("Give every series a season, level and amplitude of its own beside the cell.", PER_SERIES),
    "dropout": Option("Share of the window that training hides from the linear skip at random.", SHARE),
    "gate": Option(
        "Forecast the last value again where the validation part shows no gain over it; not with level none, skip 0.",
        FLAG,
    ),
    "decoder": Option(
        "last maps the cell's last output to all target steps; steps lets the cell read what is known of each.",
        Choice(DECODERS),
    ),
    "order": Option(
        "How the cell reads the window: steps one by one, segments of it, or periods: one sequence of a value per "
        "period for every phase of the season.  auto: segments with --segment, periods in long windows of a season.",
        Choice(ORDERS),
    ),
    "segment": Option(
        "Steps of a segment, or of a period; the window is a multiple of it.  [default: the shortest season]",
        Whole(2, 10_000),
        True,
    ),
    "strategy": Option("direct predicts all steps at once, recursive feeds predictions back.", Choice(STRATEGIES)),
    "split": Option("Training, validation and test fractions of each series, in the order of time.", Split()),
    "scaler": Option(
        "Scaling, fitted on the training part; robust goes by the middle half of the values, not by spikes, change by "
        "the mean change over a season, the unit of MASE. auto: standard with protocol ltsf, change with metric mase "
        "or protocol m4, else minmax.",
        Choice((*SCALERS, "auto")),
    ),
    "metric": Option(
        "The error that forecasts are judged by: it chooses the loss (mae and mase the absolute one, mse and rmse the "
        "squared one) and with mase the scaler, so it chooses the epoch and what a comparison tunes by; tables show it "
        "first.  [default: none: the loss decides, and tables show mae first]",
        Choice(tuple(METRIC_LOSSES)),
        True,
    ),
    "loss": Option(
        "What training minimises; quantile gives prediction intervals. auto follows the metric; without one it is mae "
        "for several series, else mse.",
        Choice((*LOSSES, "auto")),
    ),
    "levels": Option("Intervals in percent, separated by commas, of the quantile loss.  [default: 80,90]", _LEVELS),
    "epochs": Option("Passes over the training windows, at most.", Whole(1, 100_000)),
    "batch_size": Option(
        "Windows per training step.  [default: by the number of windows, 8 to 8192]", Whole(1, 1_000_000), True
    ),
    "lr": Option("Peak learning rate of the one-cycle schedule.", RATE),
    "lr_frequencies": Option(
        "Learning rate of circuits' trained frequencies and phases, times --lr: 0.3 is worth a try (qkan, hqkan).  "
        "[default: 1]",
        RATE,
        True,
    ),
    "lbfgs_steps": Option(
        "Steps of LBFGS behind the epochs, each on all training windows, for small models: the validation part stops "
        f"them, and they are kept if it gains.  [default: {FINISH_STEPS:,} for at most {FINISH_PARAMETERS:,} "
        f"parameters and {FINISH_VALUES:,} values in training windows, else 0]",
        Whole(0, 100_000),
        True,
    ),
    "restarts": Option(
        "Trainings from different initial weights, of which the one with the lowest validation loss is kept; with "
        "--preact-init auto from the data's frequencies, binary, ternary, ones and so on.",
        Whole(1, 100),
    ),
    "patience": Option(
        "Stop after this many epochs without a lower validation loss.  [default: train all epochs, take the best]",
        Whole(1, 100_000),
        True,
    ),
    "seed": Option("Seed of the initial weights and of the order of the windows.", Whole(0, 2**32 - 1)),
    "precision": Option(
        "What training computes in; bf16-mixed and 16-mixed keep weights in 32 bits, 16-mixed needs CUDA.",
        Choice(PRECISIONS),
    ),
    "devices": Option("Processes that train together on every node, one per CUDA device or core.", Whole(1, 1024)),
    "num_nodes": Option("Machines that train together.", Whole(1, 10_000)),
    "shards": Option(
        "Groups of series that batches take equal shares of; each process holds its own groups only.",
        Whole(1, 1_000_000),
    ),
    "device": Option("auto, cpu, cuda or cuda:N. auto takes a CUDA device if there is one.", DEVICE),
    "seeds": Option("Training runs of every cell and size, with seeds 0, 1, ...", Whole(1, 100)),
    "tuning_seeds": Option("Seeds that every learning rate is tried with.", Whole(1, 100)),
    "trials": Option("Learning rates tried for every cell and size.", Whole(1, len(LEARNING_RATES))),
    "tune": Option(
        "Learning rates of compare to try first, of which the lowest validation error chooses.  [default: none]",
        Whole(2, len(LEARNING_RATES)),
    ),
    "folds": Option(
        "Origins to judge by: the training part grows from fold to fold, each is tuned on a validation part of its own "
        "and tested on what comes next.",
        Whole(1, 100),
    ),
    "budget_params": Option("Sizes to compare at, as numbers of trained parameters, separated by commas.", _BUDGETS),
    "baselines": Option(
        f"Baselines to fit beside the simple ones, separated by commas: {', '.join(_ASKED)}.", _BASELINES
    ),
    "workers": Option("Models that train at a time.  [default: one per core, at most 8]", Whole(1, 256), True),
    "executor": Option(
        "Where they train: processes or ray (on this machine), or a Ray cluster: HOST:6379 from one of its machines, "
        "ray://HOST:10001 from elsewhere. The results are the same; Ray needs the extra ray.",
        EXECUTOR,
    ),
    "out": Option("Folder for the results.", TEXT),
}
"""Every option, in the order in which the command line shows them."""
