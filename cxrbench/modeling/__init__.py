"""Keras models: assemble, embed, train, predict."""
