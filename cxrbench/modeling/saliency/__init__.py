"""Saliency maps: where in the picture a label's logit comes from."""
