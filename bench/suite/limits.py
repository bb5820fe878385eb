"""The largest numbers that a suite or an option may ask for: what is beyond them is a slip, and fills memory."""

SEED = 2**63 - 1
RESAMPLES = 100_000
PROCESSES = 1024  # and threads, readers, views in one pass
CELLS = 100_000  # of a suite, or entries of one sweep
