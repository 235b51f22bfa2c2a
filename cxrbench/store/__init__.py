"""The cache folder: decoded images and computed features that later commands reuse."""
