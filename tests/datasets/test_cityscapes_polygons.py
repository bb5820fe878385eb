"""Label ids drawn from polygons: the official order and exceptions, and files that are no annotation, in one line."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.errors import MissingData
from bench.data.layouts import writers
from bench.datasets import cityscapes_polygons
from bench.datasets.cityscapes import Cityscapes
from bench.datasets.cityscapes_polygons import IDS, draw
from bench.datasets.toytown.scenes import Toytown


def box(label, left, top, right, bottom, **more):
    return {"label": label, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]]} | more


def annotation(*objects, height=4, width=8):
    return {"imgHeight": height, "imgWidth": width, "objects": list(objects)}


def drawn(folder, content):
    path = folder / "x_gtFine_polygons.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return draw(path)


def test_each_polygon_covers_those_before_it_and_its_outline_belongs_to_it(tmp_path):
    content = annotation(
        box("road", 0, 1, 7, 3),
        box("cargroup", 1, 0, 2, 2),  # a group is its class
        box("polegroup", 3, 0, 3, 1),  # but for this one, which is a label of its own
        box("sky", 4, 0, 7, 0, deleted=1),
        box("license plate", 1, 1, 1, 1),  # has no id
        box("person", 6, 2, 99, 99),  # leaves the image
    )
    assert drawn(tmp_path, content).tolist() == [
        [0, 26, 26, 18, 0, 0, 0, 0],
        [7, 26, 26, 18, 7, 7, 7, 7],
        [7, 26, 26, 7, 7, 7, 24, 24],
        [7, 7, 7, 7, 7, 7, 24, 24],
    ]
    assert drawn(tmp_path, annotation()).tolist() == [[0] * 8] * 4


def test_pixels_are_those_of_the_official_script(tmp_path):
    official = pytest.importorskip(
        "cityscapesscripts.preparation.json2labelImg", reason="cityscapesscripts is not here"
    )
    from cityscapesscripts.helpers.annotation import Annotation

    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(20, 200, 2).tolist()
        objects = [
            {"label": str(label), "polygon": rng.integers(-30, 230, (int(rng.integers(2, 20)), 2)).tolist()}
            for label in rng.choice(list(IDS), 20)
        ]
        content = annotation(*objects, height=height, width=width)
        theirs = Annotation()
        theirs.fromJsonText(json.dumps(content))
        np.testing.assert_array_equal(drawn(tmp_path, content), official.createLabelImage(theirs, "ids"))


def test_a_set_of_polygons_alone_is_read_as_its_label_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    writers.write("cityscapes", Toytown(images=2, height=32, width=64), tmp_path / "cityscapes")
    for path in tmp_path.rglob("*_labelIds.png"):
        content = annotation(box("road", 0, 16, 63, 31), box("car", 8, 8, 15, 20), height=32, width=64)
        path.with_name(path.name.replace("labelIds.png", "polygons.json")).write_text(json.dumps(content))
    assert Cityscapes(frames=2, labels="polygons").load(0).labels[20, 8:17].tolist() == [13] * 8 + [0]
    assert Cityscapes(frames=2).scan()[0].encoding.name == "labelTrainIds"
    before = Cityscapes(frames=2, labels="polygons").digest()
    for path in [*tmp_path.rglob("*_labelIds.png"), *tmp_path.rglob("*_labelTrainIds.png")]:
        path.unlink()
    data = Cityscapes(frames=2)
    data.check()
    assert data.scan()[0].encoding.name == "polygons"
    assert np.unique(data.load(1).labels).tolist() == [0, 13, 255]
    assert data.digest() == before
    rectangle = cityscapes_polygons.ImageDraw.ImageDraw.polygon
    with monkeypatch.context() as other:  # another Pillow draws outlines otherwise
        other.setattr(
            cityscapes_polygons.ImageDraw.ImageDraw,
            "polygon",
            lambda self, corners, **options: rectangle(self, [(x, y + 1) for x, y in corners], **options),
        )
        assert Cityscapes(frames=2).digest() != before
    path = next(tmp_path.rglob("*_polygons.json"))
    path.write_text(json.dumps(annotation(height=31, width=64)))
    with pytest.raises(MissingData, match=r"polygons.json is 31x64, its image .* is 32x64; labels are never resized"):
        Cityscapes(frames=2).check()


MALFORMED = [
    "", "{", "[]", "null", "3", '"x"', "{}", "\0", "[" * 100_000,
    '{"imgHeight": 1, "imgWidth": 1}',
    annotation(height=0), annotation(width=-1), annotation(height=2**40), annotation(height="a"), annotation(height=[]),
    annotation(1), annotation([]), annotation({}), annotation({"label": "road"}),
    annotation(box("dragon", 0, 0, 1, 1)), annotation(box(["road"], 0, 0, 1, 1)), annotation(box(None, 0, 0, 1, 1)),
    annotation({"label": "road", "polygon": 3}), annotation({"label": "road", "polygon": [[1]]}),
    annotation({"label": "road", "polygon": [["a", "b"]] * 3}), annotation({"label": "road", "polygon": [[0, 0]]}),
    annotation({"label": "road", "polygon": [[0, 1e300], [1, 1], [2, 2]]}),
    '{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "road", "polygon": [[NaN, 0], [1, Infinity], [2, 2]]}]}',
    '{"imgHeight": 4, "imgWidth": 4, "objects": [{"label": "\\u001b[31m\\n", "polygon": []}]}',
]  # fmt: skip


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: str(content)[:40])
def test_what_is_no_annotation_is_refused_in_one_line(content, tmp_path):
    with pytest.raises(MissingData) as caught:
        drawn(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'x_gtFine_polygons.json'} is no annotation of Cityscapes: ")
    assert message.isprintable()
    assert len(message) < 600


def test_a_file_that_is_absent_or_too_large_is_named(tmp_path, monkeypatch):
    with pytest.raises(MissingData, match="does not exist"):
        draw(tmp_path / "none.json")
    monkeypatch.setattr(cityscapes_polygons, "LARGEST", 10)
    with pytest.raises(MissingData, match="more than 10 bytes"):
        drawn(tmp_path, annotation())


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(list(IDS)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["label", "polygon", "deleted", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=JUNK, height=JUNK | st.integers(1, 40), width=st.integers(1, 40))
def test_whatever_is_in_a_file_is_drawn_or_refused(objects, height, width, tmp_path):
    try:
        labels = drawn(tmp_path, json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects}))
    except MissingData as error:
        assert str(error).isprintable()
    else:
        assert labels.dtype == np.uint8
        assert labels.max(initial=0) <= max(IDS.values())
