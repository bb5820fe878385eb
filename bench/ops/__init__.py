"""The arithmetic that methods share."""

NUMBERS = 2  # raised when a change here moves a number; results made under another one are computed again
