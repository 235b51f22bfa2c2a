"""Functions for Python and notebooks: boards, comparisons, figures, predictions, evaluation."""
