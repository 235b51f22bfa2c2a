"""Run directories: written once, and read by everything else."""
