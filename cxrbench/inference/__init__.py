"""A finished run on new images: finding them, predicting in a stream, writing what comes out."""
