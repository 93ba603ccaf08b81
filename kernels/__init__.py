"""Functions from tensors to tensors and their gradients."""
