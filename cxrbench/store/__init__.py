"""What is decoded and computed once, and kept in the cache folder."""
