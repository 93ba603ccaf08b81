"""A run as one ONNX or torch.export file."""
