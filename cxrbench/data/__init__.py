"""Cohorts, splits, images, and the stores that one decode per image fills."""
