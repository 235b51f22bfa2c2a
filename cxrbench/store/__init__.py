"""The cache folder: what is decoded and computed once, and kept."""
