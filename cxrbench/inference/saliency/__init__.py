"""Saliency maps of a trained model: Grad-CAM and occlusion."""
