"""``python -m bench``."""

import sys

from bench.cli.main import main

if __name__ == "__main__":  # a spawned process imports this file too
    sys.exit(main())
