"""Quantum-inspired sequence models for PyTorch."""

from qkan._version import __version__

__all__ = ["__version__"]
