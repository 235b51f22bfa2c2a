"""Finished runs on images: predict, explain, localise, time, export."""
