"""What must be equal for numbers to be equal to the last bit.

Chosen once when a run is planned and handed to every process. On a CPU torch gets a fixed number of threads: its sums
come out differently with another number (measured: 80 % of the logits of a small network, by up to 5e-7).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import torch
from threadpoolctl import threadpool_limits

from bench.core.errors import BadSuite
from bench.suite.schema import NumericsRule


@dataclass(frozen=True)
class Numerics:
    """Equal numerics give equal bits, whatever the number of processes, workers, shards and their order."""

    device: str  # cpu or cuda
    device_name: str
    threads: int  # of torch in each process
    capability: str  # of the CPU's vector kernels
    dtype: str = "float32"
    tf32: bool = False
    deterministic: bool = True
    scoring: str = "torch"  # reductions and counting; fused: compiled, on a CPU
    batch: int = 1  # equally sized views, of several images, in one forward pass
    channels_last: bool = False
    compile: bool = False
    graphs: bool = False

    @property
    def on_device(self) -> bool:
        """Scores are counted where the network runs, by torch; else on the host, by the compiled loops."""
        return self.scoring == "torch"

    def digest(self) -> str:
        record = asdict(self)
        for name in ("channels_last", "compile", "graphs"):  # results of before there was a choice stay fresh
            if not record[name]:
                del record[name]
        if self.batch > 1:
            record["batch"] = f"{self.batch} views of several images"  # those of one, before
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


def resolve(rule: NumericsRule) -> Numerics:
    """The numerics of this machine under a suite's rule."""
    device = rule.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise BadSuite("numerics.device is cuda, but torch sees no GPU; install a CUDA build of torch or say cpu")
    if rule.graphs and device != "cuda":
        raise BadSuite(
            "numerics.graphs are CUDA graphs, and the device is the CPU; leave them out, or say device: cuda"
        )
    if rule.graphs and rule.compile:
        raise BadSuite("numerics say compile and graphs, which are two ways to save the same launches; say one of them")
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    compiler = find_spec("numba") is not None  # there are platforms without it
    scoring = rule.scoring if rule.scoring != "auto" else "fused" if device == "cpu" and compiler else "torch"
    if scoring == "fused" and not (device == "cpu" and compiler):
        raise BadSuite("numerics.scoring is fused, which is a pass of the CPU and needs numba; say auto or torch")
    return Numerics(
        device,
        name,
        rule.threads,
        torch.backends.cpu.get_cpu_capability(),
        dtype=rule.dtype,
        tf32=rule.tf32,
        scoring=scoring,
        batch=rule.batch,
        channels_last=rule.channels_last,
        compile=rule.compile,
        graphs=rule.graphs,
    )


@contextmanager
def kept() -> Iterator[None]:
    """Leave torch and BLAS as they were found, for a run inside of a program that goes on."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    before = torch.get_num_threads(), cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    with threadpool_limits(None, user_api="blas"):
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before[1:]


def apply(numerics: Numerics) -> None:
    """Set this process up. Settings are global in torch, so a process runs one numerics only."""
    torch.set_num_threads(numerics.threads)
    torch.backends.cuda.matmul.allow_tf32 = numerics.tf32
    torch.backends.cudnn.allow_tf32 = numerics.tf32
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = numerics.deterministic
    # BLAS of NumPy and SciPy: a scheduler sets OMP_NUM_THREADS as it likes, and sums come out differently.
    threadpool_limits(numerics.threads, user_api="blas")
