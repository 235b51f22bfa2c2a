"""Cohorts and their tables: datasets, labels, patients, splits, downloads."""
