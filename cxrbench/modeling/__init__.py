"""Keras models: assembling, training, predicting."""
