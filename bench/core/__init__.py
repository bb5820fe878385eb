"""Errors, values, files and what untrusted files are read with: the floor that everything stands on. No torch here."""
