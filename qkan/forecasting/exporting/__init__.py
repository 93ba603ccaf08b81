"""A run as one ONNX or torch.export file."""

#: The modules that other folders import.
__all__ = ["exported", "exporter"]
