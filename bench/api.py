"""The contract: the only module that methods, datasets, models, trainers and protocols must import.

Every array is one image, never a batch. H and W are the pixels of the label image, to which outputs are resized, never
the labels. Readers and protocols see NumPy only; torch is imported when a network or a method runs, not before, so that
data workers and ``bench score`` start without it.
"""

from bench.contract import deprecated
from bench.contract.board import Board, Claim, Compared, Made, Masks, Option, Part, Rerun, Submission, Trial, Verdict
from bench.contract.dataset import CITYSCAPES, Dataset, Sample
from bench.contract.format import Format
from bench.contract.method import Constants, Decision, Fitting, Method, Refinement
from bench.contract.network import Inference, Network, SegModel, ShardModel, ShardNetwork, View
from bench.contract.plugin import DatasetEntry, Entry, File, ModelEntry, PlugIn, Positive
from bench.contract.prediction import Context, Prediction, Scored
from bench.contract.protocol import (
    Breakdown,
    CarriesThreshold,
    Counts,
    Pointwise,
    Presented,
    Protocol,
    Quantized,
    RefinementAware,
    TwoPhase,
)
from bench.contract.training import Estimator, Finetuner, LongTrainer, Source, Trainer, TrainingContext
from bench.core.archives import Archive, Failure, Refused
from bench.core.values import IGNORE, Labels, Metric, Quantity, Row, Rows, Scores, SignedRate, State, Undefined, Value

__all__ = [
    "CITYSCAPES",
    "IGNORE",
    "Archive",
    "Board",
    "Breakdown",
    "CarriesThreshold",
    "Claim",
    "Compared",
    "Constants",
    "Context",
    "Counts",
    "Dataset",
    "DatasetEntry",
    "Decision",
    "Entry",
    "Estimator",
    "Failure",
    "File",
    "Finetuner",
    "Fitting",
    "Format",
    "Inference",
    "Labels",
    "LongTrainer",
    "Made",
    "Masks",
    "Method",
    "Metric",
    "ModelEntry",
    "Network",
    "Option",
    "Part",
    "PlugIn",
    "Pointwise",
    "Positive",
    "Prediction",
    "Presented",
    "Protocol",
    "Quantity",
    "Quantized",
    "Refinement",
    "RefinementAware",
    "Refused",
    "Rerun",
    "Row",
    "Rows",
    "Sample",
    "Scored",
    "Scores",
    "SegModel",
    "ShardModel",
    "ShardNetwork",
    "SignedRate",
    "Source",
    "State",
    "Submission",
    "Trainer",
    "TrainingContext",
    "Trial",
    "TwoPhase",
    "Undefined",
    "Value",
    "Verdict",
    "View",
]


def __getattr__(name: str) -> object:
    return globals()[deprecated.renamed(name)]
