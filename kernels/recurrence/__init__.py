"""Whole recurrences in one call: a walk over time whose gates are features times a matrix."""
