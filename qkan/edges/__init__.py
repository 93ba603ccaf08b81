"""Layers that choose among families of edge functions."""

from qkan.edges.mixture import KANMixture

__all__ = ["KANMixture"]
