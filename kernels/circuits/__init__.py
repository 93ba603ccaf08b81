"""Circuits of one qubit: their ansätze, a readable state-vector reference, and the fast simulation as rotations."""

#: The modules that other folders import.
__all__ = ["ansatz", "statevector"]
