"""A run as C99: layers, cells, what stands around them, and tables of circuits with proven error bounds."""

#: The modules that other folders import.
__all__ = ["calls", "cells", "file", "source"]
