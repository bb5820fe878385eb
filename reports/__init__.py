"""Results to pages. A report computes no number."""
