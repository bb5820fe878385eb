"""What is known of a finished run: the store, records, means, operating points, curves and comparisons."""
