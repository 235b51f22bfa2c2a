"""From run directories to leaderboards, comparisons, figures and reports."""
