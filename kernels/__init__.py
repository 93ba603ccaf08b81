"""Functions from tensors to tensors and their gradients."""

#: The modules that other folders import.
__all__ = ["backend_choice", "backends", "layer", "registry"]
