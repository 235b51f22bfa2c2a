"""Checks of a cohort: damaged images, duplicates, shortcuts, wrong tables."""
