"""Counts of pixels and the figures read off them. Imports no torch."""
