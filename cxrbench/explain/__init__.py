"""Why a run's model gives an image its scores: saliency maps and visual words."""
