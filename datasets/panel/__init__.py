"""Many series on disk, read where they are looked at."""

from qkan.datasets.panel.prepare import PanelSummary, prepare_panel
from qkan.datasets.panel.series import PanelSeries, open_panel
from qkan.datasets.panel.store import is_panel

__all__ = ["PanelSeries", "PanelSummary", "is_panel", "open_panel", "prepare_panel"]
