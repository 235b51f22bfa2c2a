"""Turn the descriptors of an image into one vector: BagOfWords, VLAD, Identity."""
