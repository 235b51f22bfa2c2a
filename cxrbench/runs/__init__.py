"""Run directories: their files, and how to write and read them."""
