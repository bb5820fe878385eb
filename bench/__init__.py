"""Evaluate anomaly and misclassification detection in semantic segmentation."""

from pathlib import Path

__version__ = "0.1.0"

# In a clone the plug-in folders stand beside this one; in the wheel they are inside it. Either way they are imported as
# bench.methods and so on, so that nothing generic lands in site-packages and a foreign "methods" does no harm.
_root = Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file() and (_root / "methods").is_dir():
    __path__.append(str(_root))
