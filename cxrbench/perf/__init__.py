"""Time the hot paths, and compare their speed between two revisions."""
