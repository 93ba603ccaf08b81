"""Trials at the same time: in this process, in processes of this machine, or on Ray."""

from qkan.forecasting.executors.interface import RETRIES, Executor, ExecutorError
from qkan.forecasting.executors.processes import training_context, worker_count
from qkan.forecasting.executors.start import check_executor, start_executor

__all__ = [
    "RETRIES",
    "Executor",
    "ExecutorError",
    "check_executor",
    "start_executor",
    "training_context",
    "worker_count",
]
