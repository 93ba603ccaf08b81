"""What a training and a comparison can be asked for, checked where it is given."""

from qkan.forecasting.config.configs import (
    CompareConfig,
    DataAndTrainingOptions,
    TrainConfig,
    context_steps,
    without_effect,
)
from qkan.forecasting.config.options import (
    CALENDAR,
    CELL_NAMES,
    CELL_OPTIONS,
    CELLS,
    EXPORT_FORMATS,
    FRAME,
    LEARNING_RATES,
    LINEAR_CELLS,
    LOSSES,
    OPTIONS,
    PRECISIONS,
    PROCESSES,
    STATISTICAL_BASELINES,
    STRATEGIES,
    TREATMENTS,
)

__all__ = [
    "CALENDAR",
    "CELLS",
    "CELL_NAMES",
    "CELL_OPTIONS",
    "EXPORT_FORMATS",
    "FRAME",
    "LEARNING_RATES",
    "LINEAR_CELLS",
    "LOSSES",
    "OPTIONS",
    "PRECISIONS",
    "PROCESSES",
    "STATISTICAL_BASELINES",
    "STRATEGIES",
    "TREATMENTS",
    "CompareConfig",
    "DataAndTrainingOptions",
    "TrainConfig",
    "context_steps",
    "without_effect",
]
