"""Small circuits of several entangled qubits, simulated exactly."""
