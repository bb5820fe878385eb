"""Imports from the extra ``corruptions``: OpenCV, and the textures of frost."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import MissingPackage

INSTALL = 'pip install "ood-seg-bench[corruptions]"'
# The library draws from the first five of its six.
TEXTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def opencv(name: str) -> Any:
    """Return the module ``cv2`` for the corruption of this name. Raise MissingPackage without it."""
    try:
        return importlib.import_module("cv2")
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        raise MissingPackage(f"corruption {name} needs OpenCV, which is not installed; {INSTALL}") from None
    except ImportError as error:  # a shared library of the system, mostly libGL.so.1 of the build with windows
        hint = "if it is libGL, uninstall opencv-python and install opencv-python-headless"
        raise MissingPackage(f"corruption {name} needs OpenCV, which does not import: {error}; {hint}") from None


@lru_cache(maxsize=len(TEXTURES))
def texture(index: int) -> NDArray[np.uint8]:
    """uint8 [h, w, 3], BGR, read-only: a picture of ice from ``imagecorruptions``, which is found and not imported."""
    cv2 = opencv("frost")
    package = importlib.util.find_spec("imagecorruptions")
    if package is None or package.origin is None:
        raise MissingPackage(f"corruption frost needs the textures of imagecorruptions, not installed; {INSTALL}")
    path = Path(package.origin).parent / "frost" / TEXTURES[index]
    picture: NDArray[np.uint8] | None = cv2.imread(str(path))
    if picture is None:
        raise MissingPackage(f"{path} is absent or broken; pip install --force-reinstall imagecorruptions")
    picture.setflags(write=False)
    return picture
