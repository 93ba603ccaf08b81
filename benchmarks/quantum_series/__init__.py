"""The 27 tasks of a benchmark of quantum models (arXiv 2504.12416); run by ``python -m benchmarks.quantum_series``."""

__all__: list[str] = []
