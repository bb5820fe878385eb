"""Evaluate anomaly and misclassification detection in semantic segmentation."""

import logging
from pathlib import Path

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library is silent until its user says otherwise

# In a clone the plug-in folders stand beside this one; in the wheel they are inside it. Either way they are imported as
# bench.methods and so on, so that nothing generic lands in site-packages and a foreign "methods" does no harm.
_root = Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file() and (_root / "methods").is_dir():
    __path__.append(str(_root))
# Modules under the names that version 0.1 documented.
__path__.append(str(Path(__file__).parent / "core" / "old_modules"))
