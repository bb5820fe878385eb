"""Real frames and real weights, which lie beside the project and are no part of it."""

import pytest

WANTED = ("anomaly_val/RoadAnomaly21", "cityscapes_sample", "enet_cityscapes.pth", "weights/enet_training_void_ft")


@pytest.fixture
def real(shared, tmp_path, monkeypatch):
    """The folder of weights, with $BENCH_DATA at the frames; where one of them is absent, tests skip and name it."""
    folder = shared / "data"
    if absent := [name for name in WANTED if not (folder / name).exists()]:
        pytest.skip(f"../shared/data is without {', '.join(absent)}")
    places = tmp_path / "data"
    places.mkdir()
    (places / "validation_dataset").symlink_to(folder / "anomaly_val")
    (places / "cityscapes").symlink_to(folder / "cityscapes_sample")
    monkeypatch.setenv("BENCH_DATA", str(places))
    return folder
