"""Series by name."""
