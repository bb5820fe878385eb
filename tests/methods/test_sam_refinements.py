"""Refinements by a second network: a small random SAM, the published steps by hand, and the whole way through a run."""

import numpy as np
import pytest
import torch
from pyarrow import parquet
from running import run
from small_sam import write_sam
from transformers import SamModel

from bench.api import Inference, Prediction
from bench.core.errors import BadSuite, MissingData
from bench.fit import sam as sam_module
from bench.fit.sam import nearest
from bench.methods.objectomaly import cleared
from bench.models.toynet import ToyNet
from bench.ops import smoothing
from bench.suite import registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sam")
    write_sam(place)
    return place


def build(name, **parameters):
    return registry.build("method", name, parameters, where="suite.yaml")


class Finding:
    """What finds given masks in place of SAM."""

    def __init__(self, *masks):
        self.masks, self.boxes = [np.array(mask, bool) for mask in masks], None

    def everything(self, image, per_side, least_iou, least_stability):
        assert (per_side, least_iou, least_stability) == (32, 0.88, 0.95)
        return [(mask, 0.9) for mask in self.masks]

    def inside(self, image, boxes):
        self.boxes = boxes.tolist()
        yield from ((mask, 0.9) for mask in self.masks)


def refined(method, finding, score, monkeypatch, truth=None):
    monkeypatch.setattr(sam_module, "_loaded", lambda folder, device: finding)
    score = np.array(score, np.float32)
    seen = Prediction({}, score.shape, image=torch.zeros(3, *finding.masks[0].shape, dtype=torch.uint8))
    rows = {"a": method.describe(seen, score, truth)}
    decision = method.decide(rows, {"a": ""}, {}, 0)
    return method.apply(score.copy(), truth, decision.rows["a"]), rows["a"], decision


def test_the_largest_mask_of_a_pixel_gives_it_the_mean_of_the_map(monkeypatch, tmp_path):
    """The small mask has the mean (1 + 2) / 2, the large one, which also covers its first pixel, (1 + 0 + 5) / 3."""
    small, large = [[1, 1, 0, 0]], [[1, 0, 1, 1]]
    method = build("objectomaly", of="own", sam=str(tmp_path))
    monkeypatch.setattr(type(method), "changed", lambda self, score, owned, level: np.where(owned, level, score))
    truth = np.array([[0, 1, 1, 255]], np.uint8)
    score, row, decision = refined(method, Finding(large, small), [[1, 2, 0, 5]], monkeypatch, truth)
    assert score.tolist() == [[2, 1.5, 2, 2]]
    assert row["segments.area"].tolist() == [2, 3] and row["segments.level"].tolist() == [1.5, 2]
    assert row["segments.anomaly"].tolist() == [1, 1]
    assert (row["runs.mask"].tolist(), row["runs.length"].tolist()) == ([2, 1, 2], [1, 1, 2])
    assert decision.report == {"segments": 2, "images without": 0}


def test_pixels_below_their_neighbours_become_the_mean_of_the_even_ones_around_them_as_in_the_authors_loop():
    """The authors go pixel by pixel, with OpenCV's Laplacian; what they change they never read again."""
    cv2 = pytest.importorskip("cv2")
    draws = np.random.default_rng(0)
    even = np.kron(draws.random((4, 5)), np.ones((6, 6))).astype(np.float32)
    even[draws.integers(24, size=40), draws.integers(30, size=40)] -= 0.5  # holes, some side by side
    edges, expected = cv2.Laplacian(even, cv2.CV_32F), even.copy()
    for row in range(1, even.shape[0] - 1):
        for col in range(1, even.shape[1] - 1):
            block = slice(row - 1, row + 2), slice(col - 1, col + 2)
            flat = even[block][edges[block] == 0]
            if edges[row, col] > 0 and flat.size:
                expected[row, col] = flat.mean()
    assert (expected != even).sum() > 20
    np.testing.assert_allclose(cleared(even), expected, rtol=1e-6)


def test_objectomaly_ends_with_the_gaussian(monkeypatch, tmp_path):
    draws = np.random.default_rng(1).random((12, 16)).astype(np.float32)
    mask = np.zeros((12, 16), bool)
    mask[3:9, 4:12] = True
    score, *_ = refined(build("objectomaly", of="own", sam=str(tmp_path)), Finding(mask), draws, monkeypatch)
    even = np.where(mask, draws[mask].mean(), draws).astype(np.float32)
    expected = smoothing.gaussian(torch.from_numpy(cleared(even))).numpy()
    np.testing.assert_allclose(score, expected, rtol=1e-5)


def test_boxes_of_regions_become_the_masks_in_them(monkeypatch, tmp_path):
    """Two regions, of means 0.7 and 0.95, one pixel alone that is too small; SAM sees twice the resolution."""
    heat = [[0.6, 0.8, 0.1, 0.2, 0.0], [0.1, 0.1, 0.1, 1.0, 0.9], [0.9, 0.2, 0.1, 0.1, 0.3]]
    first, second = np.zeros((6, 10), bool), np.zeros((6, 10), bool)
    first[:4, :6] = True
    second[2:6, 4:10] = True
    finding = Finding(first, second)
    method = build("sam_boxes", of="own", sam=str(tmp_path), threshold=0.5, pixels=2)
    score, row, _ = refined(method, finding, heat, monkeypatch)
    assert finding.boxes == [[0, 0, 4, 2], [6, 2, 10, 4]]
    low, high = np.float32(0.7), np.float32(0.95)
    expected = [[low, low, low, 0.2, 0], [low, low, high, high, high], [0.5, 0.2, high, high, high]]
    np.testing.assert_allclose(score, np.array(expected, np.float32), rtol=1e-6)
    assert row["segments.region"].tolist() == [2, 2]


def test_masks_are_those_of_transformers_at_the_size_of_the_image(folder):
    """The random network is asked about 3 x 3 points; what it answers to one of them is worked out beside it."""
    sam = sam_module._loaded(str(folder), torch.device("cpu"))
    image = torch.randint(256, (3, 30, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = sam.everything(image, 3, -torch.inf, 0.0)
    assert found and all(mask.shape == (30, 48) and mask.any() for mask, _ in found)
    overlaps = [overlap for _, overlap in found]
    assert overlaps == sorted(overlaps, reverse=True)
    assert len(sam.everything(image, 3, -torch.inf, 0.99)) <= len(found)
    assert sam.everything(image, 3, torch.inf, 0.0) == []
    (mask, overlap), *_ = sam.inside(image, np.array([[8.0, 6.0, 40.0, 24.0]]))
    network = SamModel.from_pretrained(folder).eval()
    embedded, size = sam._embedded(image)
    assert size == (40, 64)  # the longer side is SAM's own
    with torch.no_grad():
        box = torch.tensor([[[8.0, 6.0, 40.0, 24.0]]]) * 64 / 48
        answer = network(image_embeddings=embedded, input_boxes=box, multimask_output=False)
        square = torch.nn.functional.interpolate(answer.pred_masks[0], (64, 64), mode="bilinear")
        whole = torch.nn.functional.interpolate(square[..., :40, :64], (30, 48), mode="bilinear")
    assert np.array_equal(mask, whole[0, 0].numpy() > 0) and overlap == pytest.approx(answer.iou_scores.item())


def test_a_mask_at_another_size_takes_the_pixel_under_its_corner():
    assert nearest(np.array([[True, False, True]]), (2, 6)).tolist() == [[True, True, False, False, True, True]] * 2


def test_parts_of_an_image_and_folders_that_hold_no_sam_are_refused(folder, tmp_path):
    method = build("sam_boxes", sam=str(folder))
    method.check(ToyNet())
    with pytest.raises(BadSuite, match="sam_boxes shows SAM the image as the network sees it, and toynet sees it in"):
        method.check(ToyNet(inference=Inference(flip=True)))
    with pytest.raises(MissingData, match=r"sam_boxes: sam .* does not exist"):
        build("sam_boxes", sam=str(tmp_path / "absent")).check(ToyNet())
    (tmp_path / "config.json").write_text('{"architectures": ["Sam2Model"]}')
    with pytest.raises(BadSuite, match=r"is of .*Sam2Model.*, wanted a SamModel"):
        build("sam_boxes", sam=str(tmp_path)).check(ToyNet())
    with pytest.raises(BadSuite, match="of names entropy_meta, which is a refinement itself"):
        build("sam_boxes", of="entropy_meta", sam=str(folder)).check(ToyNet())
    assert build("sam_boxes", sam=str(folder)).digest() != build("sam_boxes", of="energy", sam=str(folder)).digest()


SUITE = """
protocols: [anomaly, segments]
models:
  - toynet: {{label: whole}}
  - toynet: {{label: windows, inference: {{window: [32, 48]}}}}
  - toyquery: {{label: queries}}
datasets:
  - toytown: {{split: anomaly, images: 3, height: 48, width: 96}}
methods:
  - msp: {{models: [whole]}}
  - sam_boxes: {{sam: {folder}, threshold: 0.3, pixels: 4, models: [whole, windows]}}
  - sam_boxes:
      sam: {folder}
      threshold: 0.3
      pixels: 4
      of: {{entropy: {{normalised: true}}}}
      label: of entropy
      models: [whole]
  - objectomaly: {{sam: {folder}, points_per_side: 3, least_iou: -10, least_stability: 0, models: [queries]}}
bootstrap: 0
"""


def test_maps_are_refined_alike_in_this_process_and_in_others(tmp_path, folder):
    (tmp_path / "suite.yaml").write_text(SUITE.format(folder=folder))
    figures = []
    for number, options in enumerate(({"workers": 0}, {"workers": 1, "processes": 2})):
        results = run(tmp_path / "suite.yaml", tmp_path / f"run{number}", **options)
        figures.append(
            {(r.labels.protocol, r.labels.model, r.labels.method.partition("[")[0]): r.metrics for r in results}
        )
    assert figures[0] == figures[1]
    auroc = {key[1:]: metrics["auroc"] for key, metrics in figures[0].items() if key[0] == "anomaly"}
    for pair in (("whole", "sam_boxes"), ("whole", "of entropy"), ("queries", "objectomaly")):
        assert 0 < auroc[pair].value < 1
    assert auroc["whole", "sam_boxes"].value != auroc["whole", "msp"].value
    assert auroc["windows", "sam_boxes"].reason.startswith("sam_boxes")
    segments = figures[0]["segments", "whole", "sam_boxes"]
    assert all("masks in place of segments" in figure.reason for figure in segments.values())
    tables = [parquet.read_table(path) for path in (tmp_path / "run0" / "segments").glob("*.parquet")]
    assert len(tables) == 3 and all({"id", "level", "area", "anomaly"} <= set(table.column_names) for table in tables)
    assert len(list((tmp_path / "run0" / "runs").glob("*.parquet"))) == 3
