"""The machinery of submissions: archives, checks, cards and dry runs."""
