"""Forecasting pipelines: train, compare, predict, evaluate.

Importing this package loads no torch, lightning, pandas or matplotlib: its names load when they are first used.
"""

from typing import TYPE_CHECKING

from qkan._util.lazy import lazy_exports

if TYPE_CHECKING:
    from qkan.forecasting.automatic.forecaster import AutoForecaster as AutoForecaster
    from qkan.forecasting.comparison.comparison import Comparison as Comparison
    from qkan.forecasting.comparison.comparison import compare as compare
    from qkan.forecasting.config import CELLS as CELLS
    from qkan.forecasting.config import EXPORT_FORMATS as EXPORT_FORMATS
    from qkan.forecasting.config import CompareConfig as CompareConfig
    from qkan.forecasting.config import TrainConfig as TrainConfig
    from qkan.forecasting.config import Tuning as Tuning
    from qkan.forecasting.exporting.exported import Exported as Exported
    from qkan.forecasting.exporting.exported import load_exported as load_exported
    from qkan.forecasting.exporting.exporter import Export as Export
    from qkan.forecasting.exporting.exporter import export as export
    from qkan.forecasting.forecaster import Forecaster as Forecaster
    from qkan.forecasting.io.files import RunError as RunError
    from qkan.forecasting.model.build import RecurrentForecaster as RecurrentForecaster
    from qkan.forecasting.model.build import build_forecaster as build_forecaster
    from qkan.forecasting.runs.inference import evaluate as evaluate
    from qkan.forecasting.runs.inference import predict as predict
    from qkan.forecasting.runs.run import Run as Run
    from qkan.forecasting.runs.run import load_run as load_run
    from qkan.forecasting.runs.run import read_config as read_config
    from qkan.forecasting.runs.run import train as train
    from qkan.forecasting.season.plot import save_season_plot as save_season_plot
    from qkan.forecasting.season.profile import SeasonProfile as SeasonProfile
    from qkan.forecasting.season.profile import season_profile as season_profile
    from qkan.forecasting.streaming.stream import Stream as Stream
    from qkan.forecasting.training.progress import CompareProgress as CompareProgress
    from qkan.forecasting.training.progress import Progress as Progress

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "automatic.forecaster": ("AutoForecaster",),
        "comparison.comparison": (
            "Comparison",
            "compare",
        ),
        "config": (
            "CELLS",
            "EXPORT_FORMATS",
            "CompareConfig",
            "TrainConfig",
            "Tuning",
        ),
        "exporting.exporter": (
            "Export",
            "export",
        ),
        "exporting.exported": (
            "Exported",
            "load_exported",
        ),
        "forecaster": ("Forecaster",),
        "io.files": ("RunError",),
        "model.build": (
            "RecurrentForecaster",
            "build_forecaster",
        ),
        "runs.inference": (
            "evaluate",
            "predict",
        ),
        "runs.run": (
            "Run",
            "load_run",
            "read_config",
            "train",
        ),
        "season.plot": ("save_season_plot",),
        "season.profile": (
            "SeasonProfile",
            "season_profile",
        ),
        "streaming.stream": ("Stream",),
        "training.progress": (
            "CompareProgress",
            "Progress",
        ),
    },
)
