"""From the descriptors of an image to one vector: BagOfWords, VLAD, Identity."""
