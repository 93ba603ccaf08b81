"""From options to series, windows and batches."""
