"""Small circuits of several entangled qubits, simulated exactly."""

#: The modules that other folders import.
__all__ = ["circuit", "pauli", "statevector"]
