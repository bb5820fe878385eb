"""Synthetic scenes written to disk as publishers lay their data sets out."""
