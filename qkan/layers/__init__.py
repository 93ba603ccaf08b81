"""Layers: DARUAN activations, QKAN layers with access to their edges, rational activations."""
