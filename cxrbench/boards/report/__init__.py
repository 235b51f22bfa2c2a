"""The HTML report of several runs in one file."""
