"""Finished runs: the store, records, means, operating points, curves and comparisons."""
