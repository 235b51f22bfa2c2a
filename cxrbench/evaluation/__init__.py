"""Metrics, uncertainty and the leaderboard."""
