"""Evaluate anomaly and misclassification detection in semantic segmentation.

The names of docs/python.md are imported when they are first used: ``import bench`` alone costs next to nothing.
``__init__.pyi`` has them for type checkers.
"""

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library is silent until its user says otherwise

# In a clone the plug-in folders stand beside this one; in the wheel they are inside it. Either way they are imported as
# bench.methods and so on, so that nothing generic lands in site-packages and a foreign "methods" does no harm.
_root = Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file() and (_root / "methods").is_dir():
    __path__.append(str(_root))
# Modules under the names that documents have, whatever folder they stand in.
__path__.append(str(Path(__file__).parent / "core" / "old_modules"))

# The names of the library, and the modules that have them.
_HOMES = {
    "Computed": "bench.evaluate.computed",
    "Metric": "bench.evaluate.metric",
    "Run": "bench.report.run",
    "Undefined": "bench.core.values",
    "Value": "bench.core.values",
    "corrupt": "bench.corruptions.seeded",
    "dataset": "bench.suite.by_name",
    "load": "bench.report.run",
    "method": "bench.models.scorer",
    "protocol": "bench.suite.by_name",
}
_CALLED = {"evaluate": "bench.run.library", "run": "bench.run.library"}  # names that packages have, too


class _Called(ModuleType):
    """A package that is a function as well: ``bench.run("demo")`` beside ``from bench.run import engine``."""

    def __call__(self, *arguments: object, **options: object) -> object:
        return self._function(*arguments, **options)

    @property
    def _function(self):
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(_CALLED[name]), name)

    @property
    def __signature__(self):
        from inspect import signature

        return signature(self._function)


for _name in _CALLED:
    import_module(f"bench.{_name}").__class__ = _Called


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("bench.core.errors")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "errors"})
