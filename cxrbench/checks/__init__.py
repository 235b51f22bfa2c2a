"""What is checked of a cohort before it is trusted, one module for each family of checks."""
