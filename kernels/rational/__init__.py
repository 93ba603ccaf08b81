"""Rational functions shared by groups of channels (GR-KAN), and their engines."""
