"""Band-limited circuits as one matrix product: bases, coefficients, the fused product and its engines."""
