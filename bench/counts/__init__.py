"""Pixels counted by score: exact tallies, their keys and their compiled loops. No torch here."""
