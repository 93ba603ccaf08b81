"""Cells compared with equal tuning."""
