"""Everything that makes a run directory: plans, prepared images, training, submissions."""
