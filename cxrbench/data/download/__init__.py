"""Fetching published cohorts: resumable, verified, and whole or not there."""
