"""One trainer per file."""
