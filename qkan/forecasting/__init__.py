"""Forecasting pipelines: train, compare, predict, evaluate."""
