"""From cells to results: checks, passes, workers, figures, and the training of what methods need."""
