"""The Milan grid: download, import, sample."""
