"""What a training and a comparison can be asked for, checked where it is given."""

from qkan.forecasting.config.cells import CELL_OPTIONS, CELLS, LINEAR_CELLS
from qkan.forecasting.config.configs import (
    CompareConfig,
    DataAndTrainingOptions,
    TrainConfig,
    context_steps,
    without_effect,
)
from qkan.forecasting.config.names import (
    BASELINE_NAMES,
    BASELINE_PACKAGES,
    CELL_NAMES,
    EXPORT_EDGES,
    EXPORT_FORMATS,
    METRIC_NAMES,
    model_name,
)
from qkan.forecasting.config.options import (
    CALENDAR,
    FRAME,
    LEARNING_RATES,
    LOSSES,
    OPTIONS,
    PRECISIONS,
    PROCESSES,
    STRATEGIES,
    TREATMENTS,
)
from qkan.forecasting.config.tuning import Tuning

__all__ = [
    "BASELINE_NAMES",
    "BASELINE_PACKAGES",
    "CALENDAR",
    "CELLS",
    "CELL_NAMES",
    "CELL_OPTIONS",
    "EXPORT_EDGES",
    "EXPORT_FORMATS",
    "FRAME",
    "LEARNING_RATES",
    "LINEAR_CELLS",
    "LOSSES",
    "METRIC_NAMES",
    "OPTIONS",
    "PRECISIONS",
    "PROCESSES",
    "STRATEGIES",
    "TREATMENTS",
    "CompareConfig",
    "DataAndTrainingOptions",
    "TrainConfig",
    "Tuning",
    "context_steps",
    "model_name",
    "without_effect",
]
