"""The arithmetic that methods share."""
