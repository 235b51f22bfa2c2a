"""From recipes to run directories: what is written, what is shared, what is used again."""
