from bench.core import errors as errors
from bench.core.values import Undefined as Undefined
from bench.core.values import Value as Value
from bench.corruptions.seeded import corrupt as corrupt
from bench.evaluate.computed import Computed as Computed
from bench.evaluate.metric import Metric as Metric
from bench.models.scorer import method as method
from bench.report.run import Run as Run
from bench.report.run import load as load
from bench.run.library import evaluate as evaluate
from bench.run.library import run as run
from bench.suite.by_name import dataset as dataset
from bench.suite.by_name import protocol as protocol

__version__: str
