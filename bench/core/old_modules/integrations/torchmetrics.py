"""``bench.integrations.torchmetrics``: the module of that name in ``bench.evaluate.integrations``, the same object."""

import sys
from importlib import import_module

sys.modules[__name__] = import_module("bench.evaluate.integrations.torchmetrics")
