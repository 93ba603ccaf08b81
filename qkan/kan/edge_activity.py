"""How much every edge of a layer does on given inputs."""

from __future__ import annotations

from torch import Tensor

from qkan.layers.qkan_layer import QKANLayer


def edge_samples(layer: QKANLayer, x: Tensor) -> Tensor:
    """What every edge adds for ``x`` (..., in_features): (samples, out_features, in_features)."""
    edges = layer.edge_outputs(x)
    return edges.flatten(0, -3) if edges.dim() > 2 else edges.unsqueeze(0)


def edge_activity(layer: QKANLayer, x: Tensor) -> Tensor:
    """Mean absolute deviation of every edge from its mean over the samples.

    That is the L1 norm of an activation function (arXiv 2404.19756, eq. 2.17) without the constant of the edge: edges
    of a QKAN carry constants, and a constant passes nothing of its input on. Gradients reach parameters and ``x``.

    Args:
        layer: the layer whose edges are measured.
        x: (..., in_features), real; all leading dimensions count as samples.

    Returns:
        (out_features, in_features), 0 or more, in the dtype of the parameters.

    Raises:
        ValueError, TypeError: an ``x`` that the layer refuses, or one without samples.
    """
    edges = edge_samples(layer, x)
    if edges.shape[0] == 0:
        raise ValueError(f"x of shape {tuple(x.shape)} holds no samples; the activity of an edge needs one or more")
    return (edges - edges.mean(0)).abs().mean(0)
