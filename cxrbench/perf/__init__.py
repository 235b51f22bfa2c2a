"""Where the time goes, and whether a change made a hot path slower."""
