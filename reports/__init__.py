"""Results to pages. A report computes no number; means over a grid are those of ``bench.results.summary``."""
