"""Two processes that each count some of the images have the figures of one that counts them all, digit for digit."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json
import sys
from pathlib import Path
import numpy as np
import torch
from torch import distributed
import bench
from bench.integrations.distributed import gathered

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
generator = np.random.default_rng(0)
truth = (generator.random((5, 30, 40)) < 0.1).astype(np.uint8)
scores = (generator.normal(size=truth.shape) + truth).astype(np.float32)

own, every = (bench.Metric("anomaly", "streethazards", resamples=20) for _ in range(2))
for index in range(5):
    if index % 2 == rank:
        own.update(torch.from_numpy(scores[index]), torch.from_numpy(truth[index]), id=f"image {index}")
    every.update(scores[index], truth[index], id=f"image {index}")
assert gathered(own).compute().record() == every.compute().record()
assert len(own) == (3, 2)[rank]

two_phases = bench.Metric("components", keep=Path(folder) / "maps", resamples=20)
alone = bench.Metric("components", keep="disk", resamples=20)
for index in range(5):
    if index % 2 == rank:
        two_phases.update(scores[index], truth[index], id=f"image {index}")
    alone.update(scores[index], truth[index], id=f"image {index}")
assert gathered(two_phases).compute().record() == alone.compute().record()

adapted = bench.Metric("anomaly", resamples=0).as_torchmetrics()
numbered = bench.Metric("anomaly", resamples=0)
for index in range(5):
    if index % 2 == rank:
        adapted.update(torch.from_numpy(scores[index]), torch.from_numpy(truth[index]))
    numbered.update(scores[index], truth[index])
figures = {name: value.item() for name, value in adapted.compute().items()}
assert figures == numbered.compute().to_dict()
assert len(adapted.counted) == (3, 2)[rank], "it is as it was before the processes were synchronised"
adapted.update(torch.from_numpy(scores[0]), torch.from_numpy(truth[0]))
step = bench.Metric("anomaly", resamples=0).as_torchmetrics(dist_sync_on_step=True)
batch = step(torch.from_numpy(scores[rank]), torch.from_numpy(truth[rank]))
both = bench.Metric("anomaly", resamples=0)
both.update(scores[:2], truth[:2])
assert {name: value.item() for name, value in batch.items()} == both.compute().to_dict()
print(json.dumps(figures))
distributed.destroy_process_group()
"""


def test_two_processes_have_the_figures_of_one(tmp_path):
    pytest.importorskip("torchmetrics")
    (tmp_path / "program.py").write_text(PROGRAM)
    both = [
        subprocess.Popen(
            [sys.executable, tmp_path / "program.py", str(rank), tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    printed = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], b"\n".join(error for _, error in printed).decode()
    assert json.loads(printed[0][0]) == json.loads(printed[1][0])
