"""``bench.evaluate`` on images that the program holds: the figures of the same images in files, or a line of error."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_library_runs import network
from torch.utils.data import DataLoader, Dataset

import bench

SAMPLES = list(bench.dataset("toytown", split="anomaly", images=4, height=32, width=64))
PIXELS = np.stack([sample.image() for sample in SAMPLES])
MASKS = np.stack([sample.anomaly for sample in SAMPLES])
LABELS = np.stack([sample.labels for sample in SAMPLES])
IDS = [sample.id for sample in SAMPLES]


class Frames(Dataset):
    """A map-style data set of torch, as torchvision's ToTensor leaves images."""

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        pixels = torch.from_numpy(PIXELS[index]).permute(2, 0, 1).float() / 255
        return pixels, torch.from_numpy(MASKS[index]).long(), IDS[index]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def figures(run):
    frame = run.frame()[["protocol", "method", "metric", "value", "lo", "hi"]].astype(object)
    return frame.where(frame.notna(), None).to_dict("list")


def evaluated(data, out, **options):
    return bench.evaluate(network(), data, ["msp", "energy"], bootstrap=20, name="tiny", out=out, **options)


def forms():
    yield "arrays", zip(PIXELS, MASKS, IDS, strict=True)
    yield "pictures", [(Image.fromarray(a), Image.fromarray(b), c) for a, b, c in zip(PIXELS, MASKS, IDS, strict=True)]
    yield "data set", Frames()
    yield "loader", DataLoader(Frames(), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(0))
    yield "named", {"validation": DataLoader(Frames(), batch_size=2)}


def test_images_have_the_figures_of_the_same_images_in_files_whatever_their_form():
    params = {"split": "anomaly", "images": 4, "height": 32, "width": 64}
    expected = figures(evaluated({"toytown": params}, "files", protocols="anomaly"))
    for name, data in forms():
        run = evaluated(data, name)
        assert figures(run) == expected, name
        assert set(run.frame().dataset) == {"validation" if name == "named" else "images"}


def test_train_ids_are_judged_where_the_protocols_ask_for_classes():
    asked = ["misclassification", "miou"]
    params = {"split": "anomaly", "images": 4, "height": 32, "width": 64}
    run = evaluated(list(zip(PIXELS, LABELS, IDS, strict=True)), "held", protocols=asked)
    assert figures(run) == figures(evaluated({"toytown": params}, "files", protocols=asked))


def test_cells_are_computed_again_when_a_pixel_or_a_label_is_another():
    pairs = list(zip(PIXELS, MASKS, strict=True))
    run = evaluated(pairs, "run")
    before = {path: path.stat().st_mtime_ns for path in (run.path / "cells").glob("*.json")}
    evaluated(pairs, "run")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()), "the same images are not looked at"
    other = MASKS.copy()
    other[0, 0, 0] ^= 1
    evaluated(list(zip(PIXELS, other, strict=True)), "run")
    assert all(path.stat().st_mtime_ns > time for path, time in before.items())
    with pytest.raises(bench.errors.MissingData, match="images of a Python program"):
        bench.run(run.path / "suite.yaml", "again", model="toynet")


def refusals():
    """What is evaluated, and the words of the error."""
    pixels, mask = PIXELS[0], MASKS[0]
    yield "nothing", iter(()), {}, "hold no image"
    yield "three axes", [(pixels[..., 0], mask)], {}, "images .* and labels .*, wanted"
    yield "channels", [(np.zeros((32, 64, 4), np.uint8), mask)], {}, "wanted RGB"
    yield "normalised", [(torch.randn(3, 32, 64), mask)], {}, "no pixels divided by 255.* mean="
    yield "numbers", [(pixels.astype(int), mask)], {}, "wanted uint8, or pixels divided by 255"
    yield "alone", iter(PIXELS), {}, r"item 0 of data is ndarray; wanted \(image, labels\)"
    yield "mapping", iter([{"image": pixels, "mask": mask}]), {}, "item 0 of data is dict"
    yield "four", [(pixels, mask, "a", "b")], {}, "is 4 values"
    yield "fractions", [(pixels, mask / 2)], {}, "wanted whole numbers"
    yield "values", [(pixels, LABELS[0])], {}, "for train ids say protocols="
    yield "classes", [(pixels, np.full_like(mask, 19))], {"protocols": "miou"}, "hold the value 19"
    yield "ids", [(PIXELS, MASKS, ["a", "b"])], {}, "has 4 images and 2 ids"
    yield "same ids", [(pixels, mask, "a"), (pixels, mask, "a")], {}, "two images are called 'a'"
    yield "batch", [(PIXELS, MASKS[:3])], {}, "has images .* and labels"
    yield "both", [(pixels, mask)], {"protocols": ["anomaly", "miou"]}, "some protocols need masks, some classes"
    yield "workers", [(pixels, mask)], {"workers": 2}, "workers cannot reach images"


@pytest.mark.parametrize(("data", "options", "words"), [pytest.param(*rest, id=name) for name, *rest in refusals()])
def test_what_is_no_image_with_labels_is_refused_in_one_line(data, options, words, here):
    with pytest.raises(bench.errors.UserError, match=words) as refused:
        evaluated(data, "run", **options)
    assert "\n" not in str(refused.value)
    assert not list(here.iterdir()), "nothing is written"
