"""Numbers and plots that describe a series."""

from qkan.datasets.describe.plots import plot_series
from qkan.datasets.describe.statistics import autocorrelation, naive_test_mae

__all__ = ["autocorrelation", "naive_test_mae", "plot_series"]
