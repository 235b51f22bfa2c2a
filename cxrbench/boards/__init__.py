"""Leaderboards, ablations, comparisons, figures and reports, from run directories alone."""
