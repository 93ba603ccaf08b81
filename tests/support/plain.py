"""The defaults of a single layer, for networks: fixed frequencies, no weights behind circuits, and a base branch."""

from qkan.layers.options import LayerOptions

PLAIN: LayerOptions = {"preact_trainable": False, "postact_weight_trainable": False, "base_activation": "silu"}
