"""Scores with their intervals and tests: arrays in, numbers out."""
