"""Your own folder: what a suite must say of it, how files are paired, and every way in which one can be wrong."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import CITYSCAPES
from bench.cli.main import main
from bench.core.errors import BadSuite, MissingData, UnknownName
from bench.datasets.cityscapes import LABEL_IDS, Cityscapes
from bench.datasets.folder import Folder
from bench.suite import expansion as suites
from bench.suite import registry

IDS = {7: "street", 26: "lorry", 8: "street"}
SIZES = {"a": (32, 48), "b": (40, 64), "c": (32, 48)}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Three frames of two sizes; values 7, 8, 26, 254 and 255."""
    root = tmp_path / "data" / "mine"
    rng = np.random.RandomState(0)
    for name, (height, width) in SIZES.items():
        save(root / "images" / f"{name}.jpg", rng.randint(0, 256, (height, width, 3)))
        save(root / "labels" / f"{name}.png", rng.choice([7, 8, 26, 254, 255], (height, width)))
    (root / "tags.csv").write_text("id,weather,place\na,rain,yard\nb,sun,\nc,rain,road\n")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return root


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def folder(**given):
    params = {"images": "mine/images/*.jpg", "labels": "mine/labels/*.png", "ids": IDS, "anomaly": [254]} | given
    return registry.build("dataset", "folder", params, where="x.yaml")


def complaint(data):
    with pytest.raises(MissingData) as caught:
        data.check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def stored(root, name):
    return np.array(Image.open(root / "labels" / f"{name}.png"))


def test_values_become_classes_anomalies_and_what_is_ignored(mine):
    data = folder()
    data.check()
    assert data.class_names == ("street", "lorry")
    assert (list(data.ids()), data.count, data.annotations) == (["a", "b", "c"], 3, {"labels", "anomaly"})
    for index, name in enumerate("abc"):
        sample, values = data.load(index), stored(mine, name)
        assert sample.size == SIZES[name] and sample.image().shape == (*SIZES[name], 3)
        np.testing.assert_array_equal(sample.labels == 0, np.isin(values, [7, 8]))
        np.testing.assert_array_equal(sample.labels == 1, values == 26)
        np.testing.assert_array_equal(sample.labels == 255, values >= 254)
        np.testing.assert_array_equal(sample.anomaly == 0, values < 254)
        np.testing.assert_array_equal(sample.anomaly == 1, values == 254)
        np.testing.assert_array_equal(sample.anomaly == 255, values == 255)


def test_the_order_of_classes_is_that_of_their_values_or_as_given(mine):
    assert folder(ids={26: "lorry", 7: "street", 8: "kerb"}).class_names == ("street", "kerb", "lorry")
    given = folder(classes=["lorry", "sky", "street"])
    assert given.class_names == ("lorry", "sky", "street")
    np.testing.assert_array_equal(given.load(0).labels == 0, stored(mine, "a") == 26)
    np.testing.assert_array_equal(given.load(0).labels == 2, np.isin(stored(mine, "a"), [7, 8]))


def test_masks_of_anomalies_alone_need_no_class(mine):
    data = folder(ids=None, usual=[7, 8], ignore=[26, 255])
    assert (data.annotations, data.class_names) == ({"anomaly"}, ())
    np.testing.assert_array_equal(data.load(1).anomaly == 0, np.isin(stored(mine, "b"), [7, 8]))
    assert data.load(1).labels is None
    assert folder(anomaly=[], ignore=[254, 255]).annotations == {"labels"}


def test_palette_indices_are_values(mine):
    values = stored(mine, "a")
    picture = Image.fromarray(values, "P")
    picture.putpalette(list(range(255, -1, -1)) * 3)
    picture.save(mine / "labels" / "a.png")
    np.testing.assert_array_equal(folder().load(0).anomaly == 1, values == 254)


def test_a_pattern_says_which_part_of_a_path_is_the_id(mine):
    for name in "ab":
        for kind, end in (("images", "jpg"), ("labels", "png")):
            target = mine / "drives" / f"d{name}" / f"1 {kind}.{end}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mine / kind / f"{name}.{end}", target)
            shutil.copy(target, target.with_name(f"preview {kind}.{end}"))
    places = {"images": "mine/drives/*/*images.jpg", "labels": "mine/drives/**/*.png"}
    data = folder(**places, pair=r"drives/(d.)/(\d+) (?:images|labels)", group=r"drives/d(.)")
    assert list(data.ids()) == ["da_1", "db_1"]
    assert [data.load(index).group for index in range(2)] == ["a", "b"]
    assert "are both the frame 1_images" in complaint(folder(**places))
    assert "holds no file drives/*/*images.jpg whose path fits pair: (x)" in complaint(folder(**places, pair="(x)"))
    assert "group 'z(.)' is not found in 'drives/da/1 images'" in complaint(
        folder(**places, pair=r"drives/(d.)/(\d+) (?:images|labels)", group="z(.)")
    )


def test_an_image_without_mask_and_a_mask_without_image_are_named(mine):
    (mine / "labels" / "b.png").unlink()
    assert complaint(folder()).startswith(
        f"{mine / 'images' / 'b.jpg'} has no mask: no file mine/labels/*.png has the id 'b'; ids there are such as 'a'"
    )
    (mine / "images" / "b.jpg").unlink()
    (mine / "images" / "c.jpg").unlink()
    assert complaint(folder()).startswith(
        f"{mine / 'labels' / 'c.png'} has no image: no file mine/images/*.jpg has the id 'c'; ids there are such as 'a'"
    )


def test_a_value_without_meaning_is_named_with_its_place(mine):
    values = stored(mine, "b")
    values[3, 5] = 9
    save(mine / "labels" / "b.png", values)
    assert complaint(folder()).startswith(
        f"{mine / 'labels' / 'b.png'} holds the value 9 at row 3, column 5, wanted 7..8, 26 or 254..255"
    )
    with pytest.raises(MissingData, match=r"holds the value 9"):
        folder().load(1)


def test_sizes_colours_and_truncated_files_are_named(mine):
    save(mine / "labels" / "c.png", np.full((32, 40), 7))
    assert f"{mine / 'labels' / 'c.png'} is 32x40, its image c.jpg is 32x48" in complaint(folder())
    save(mine / "labels" / "c.png", np.full((32, 48, 3), [7, 7, 8]))
    assert complaint(folder()).startswith(f"{mine / 'labels' / 'c.png'} is stored as RGB")
    save(mine / "labels" / "c.png", np.full((32, 48), 7))
    for path in (mine / "labels" / "a.png", mine / "images" / "a.jpg"):
        whole = path.read_bytes()
        path.write_bytes(whole[:-60])
        assert complaint(folder()).startswith(str(path))
        path.write_bytes(whole)


def test_a_number_of_frames_is_held_to(mine):
    folder(frames=3).check()
    assert "holds 3 frames, wanted 4" in complaint(folder(frames=4))


def test_a_folder_that_is_not_there_is_named_with_the_way_out(mine):
    line = complaint(folder(images="yours/images/*.jpg"))
    assert str(mine.parent / "yours") in line and "$BENCH_DATA" in line and "data.yaml" in line
    assert "holds no file images/*.webp; images says otherwise" in complaint(folder(images="mine/images/*.webp"))


def test_tags_come_from_a_table(mine):
    data = folder(tags="mine/tags.csv")
    data.check()
    assert [dict(data.load(index).tags) for index in range(3)] == [
        {"weather": "rain", "place": "yard"},
        {"weather": "sun"},
        {"weather": "rain", "place": "road"},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,weather\na,rain\nb,sun,x\n", ":3: 3 fields, wanted 2 (id, weather)"),
        ("id,weather\na,rain\nd,sun\n", ":3: no image has the id 'd'; one has 'a'"),
        ("id,weather\na,rain\n\na,sun\n", ":4: the id 'a' stands there a second time"),
        ("id,weather\na,rain\nb,sun\n", " has no row for c; a field may be empty"),
        ("name,weather\na,rain\n", ":1: the columns are name, weather; wanted id and others"),
        ("id,weather,weather\na,rain,sun\n", ":1: the columns are id, weather, weather"),
        ("", ":1: the columns are none"),
        ('id,weather\na,"rain\n', " cannot be read as CSV"),
    ],
)
def test_a_bad_table_of_tags_is_refused_with_the_line(mine, text, said):
    (mine / "tags.csv").write_text(text)
    assert f"{mine / 'tags.csv'}{said}" in complaint(folder(tags="mine/tags.csv"))


def test_a_table_of_tags_that_is_not_there_is_named(mine):
    assert f"{mine / 'none.csv'} does not exist" in complaint(folder(tags="mine/none.csv"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": "/mine/images/*.jpg"}, "is for $BENCH_DATA or data.yaml to say"),
        ({"images": "~/images/*.jpg"}, "is for $BENCH_DATA or data.yaml to say"),
        ({"labels": "C:/labels/*.png"}, "is for $BENCH_DATA or data.yaml to say"),
        ({"images": "*.jpg"}, "wanted the folder of the data and what lies in it"),
        ({"images": "mi*/a/*.jpg"}, "wanted the folder of the data and what lies in it"),
        ({"images": "mine/../../*.jpg"}, "wanted the folder of the data and what lies in it"),
        ({"pair": "(.+"}, "no regular expression"),
        ({"pair": ".+"}, "wanted brackets around the part that counts"),
        ({"ids": None, "anomaly": []}, "the masks mean nothing; say ids"),
        ({"anomaly": [7]}, "the value 7 has two meanings"),
        ({"ids": {256: "x"}}, "a whole number from 0 to 255"),
        ({"ids": {7: True}}, "wanted"),
        ({"classes": ["lorry"]}, "ids has the class 'street', which classes does not name"),
        ({"classes": ["lorry", "street", "street"]}, "classes names a class twice"),
    ],
)
def test_what_a_suite_says_is_checked_before_any_file_is_opened(given, said):
    with pytest.raises(BadSuite) as caught:
        folder(**given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_mistyped_parameter_is_answered_in_the_words_of_suites(mine):
    with pytest.raises(UnknownName, match=r"unknown parameter of dataset 'folder': 'idss'; did you mean 'ids'\?"):
        folder(idss={})
    with pytest.raises(
        BadSuite, match=r"ids.a of dataset 'folder' holds 'a', wanted a mapping of a whole number from 0 to 255"
    ):
        folder(ids={"a": "road"})


def test_the_digest_follows_masks_images_and_tags(mine):
    digests = [folder(tags="mine/tags.csv").digest()]
    assert folder(tags="mine/tags.csv").digest() == digests[0]
    (mine / "tags.csv").write_text((mine / "tags.csv").read_text().replace("yard", "lane"))
    digests.append(folder(tags="mine/tags.csv").digest())
    save(mine / "labels" / "a.png", np.full((32, 48), 7))
    digests.append(folder(tags="mine/tags.csv").digest())
    with (mine / "images" / "a.jpg").open("ab") as file:
        file.write(b"x")
    digests.append(folder(tags="mine/tags.csv").digest())
    assert len(set(digests)) == 4


def test_a_pickle_takes_no_path_along(mine):
    data = folder()
    data.ids()
    packed = pickle.dumps(data)
    assert str(mine).encode() not in packed
    assert isinstance(copy := pickle.loads(packed), Folder) and list(copy.ids()) == ["a", "b", "c"]  # noqa: S301


SUITE = """
protocols: [anomaly, misclassification, {{miou: {{classes: 19}}}}]
models: {models}
datasets:
  - folder:
      images: mine/images/*.jpg
      labels: mine/labels/*.png
      ids: {{7: street, 8: street, 26: lorry}}
      anomaly: [254]
      label: mine
{more}
methods: [{method}]
bootstrap: 0
"""
MAPPED = "      class_map: {street: road, lorry: truck}"


def written(tmp_path, more="", models="[toynet]", method="msp"):
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE.format(more=more, models=models, method=method))
    return path


def reasons(path, capsys):
    assert main(["check", str(path), "--no-network"]) == 0
    return [line.partition("n/a: ")[2] for line in capsys.readouterr().out.splitlines() if "n/a: " in line]


def test_other_class_names_are_not_applicable_and_the_reason_says_what_to_write(mine, tmp_path, capsys):
    first, second = reasons(written(tmp_path), capsys)
    assert first == second
    assert first.startswith(
        "toynet and mine name different classes; the network does not know street, lorry; write class_map:"
        " {street: ..., lorry: ...} in the entry of the data set, each a class of the network (road, sidewalk,"
    )
    assert first.endswith("bicycle) or ignore")


def test_a_class_map_brings_labels_under_the_names_of_the_network(mine, tmp_path):
    (cell, *_) = suites.load(written(tmp_path, MAPPED)).cells
    data = cell.dataset.build()
    assert data.class_names == CITYSCAPES
    for index, name in enumerate("abc"):
        sample, values = data.load(index), stored(mine, name)
        np.testing.assert_array_equal(sample.labels == CITYSCAPES.index("road"), np.isin(values, [7, 8]))
        np.testing.assert_array_equal(sample.labels == CITYSCAPES.index("truck"), values == 26)
        np.testing.assert_array_equal(sample.labels == 255, values >= 254)
        np.testing.assert_array_equal(sample.anomaly == 1, values == 254)


def test_several_classes_become_one_and_a_class_can_be_ignored(mine, tmp_path):
    many = "      ids: {7: street, 8: kerb, 26: lorry}\n      class_map: {street: road, kerb: road, lorry: ignore}"
    text = written(tmp_path).read_text().replace("      ids: {7: street, 8: street, 26: lorry}", many)
    (tmp_path / "mine.yaml").write_text(text)
    data = suites.load(tmp_path / "mine.yaml").cells[0].dataset.build()
    sample, values = data.load(0), stored(mine, "a")
    np.testing.assert_array_equal(sample.labels == 0, np.isin(values, [7, 8]))
    np.testing.assert_array_equal(sample.labels == 255, values >= 26)
    np.testing.assert_array_equal(sample.anomaly == 0, values < 254)  # what is ignored as a class is still usual


def test_the_run_is_that_of_the_same_labels_under_the_names_of_the_network(mine, tmp_path, capsys):
    """Mapped from other names, or named so in the first place and completed by an empty map."""
    plain = written(tmp_path, "      class_map: {}").read_text()
    plain = plain.replace("street", "road").replace("lorry", "truck")
    figures = []
    for number, text in enumerate((written(tmp_path, MAPPED).read_text(), plain)):
        path = tmp_path / f"mine{number}.yaml"
        path.write_text(text)
        assert main(["run", str(path), "--out", str(tmp_path / f"run{number}"), "--workers", str(number)]) == 0
        capsys.readouterr()
        assert main(["show", str(tmp_path / f"run{number}"), "--format", "json"]) == 0
        records = json.loads(capsys.readouterr().out)["records"]
        figures.append([(one["protocol"], one["dataset"], one["metric"], one["value"]) for one in records])
    assert figures[0] == figures[1]
    assert sum(value is not None for *_, value in figures[0]) > 3


def test_a_description_says_what_a_suite_makes_of_the_classes(mine, tmp_path, capsys):
    assert main(["describe", str(written(tmp_path, MAPPED))]) == 0
    said = capsys.readouterr().out
    assert "class map  lorry as truck, street as road" in said
    assert any(line.split() == ["26", *line.split()[1:3], "lorry", "/", "normal"] for line in said.splitlines())


def test_the_suite_beside_the_results_gives_the_same_cells(mine, tmp_path):
    suite = suites.load(written(tmp_path, MAPPED))
    again = tmp_path / "again.yaml"
    again.write_text(suite.text)
    assert [cell.key for cell in suites.load(again).cells] == [cell.key for cell in suite.cells]


def test_a_map_that_does_not_fit_names_the_class(mine, tmp_path):
    with pytest.raises(
        BadSuite, match=r"mine: the network does not know lorry; write class_map: \{street: road, lorry"
    ):
        suites.load(written(tmp_path, "      class_map: {street: road}"))
    with pytest.raises(BadSuite, match=r"does not know lorry \(as lorri\)"):
        suites.load(written(tmp_path, "      class_map: {street: road, lorry: lorri}"))
    with pytest.raises(UnknownName, match=r"unknown class in class_map 'stret'; did you mean 'street'"):
        suites.load(written(tmp_path, "      class_map: {stret: road, lorry: truck}"))
    with pytest.raises(BadSuite, match=r"class_map of 'folder' is \['road'\], wanted"):
        suites.load(written(tmp_path, "      class_map: [road]"))


def test_a_map_is_for_the_networks_that_it_fits(mine, tmp_path, capsys):
    (tmp_path / "net.py").write_text("def build(): ...")
    models = '[toynet, {python: {factory: "net.py:build", classes: [lane, van], label: two}}]'
    found = reasons(written(tmp_path, MAPPED, models), capsys)
    assert len(found) == 2
    assert found[0].startswith(
        "two and mine name different classes; the network does not know street (as road), lorry (as truck)"
    )


def test_a_fit_needs_classes_of_the_network_too(mine, tmp_path, capsys):
    def fitted(more):
        data = "{folder: {images: mine/images/*.jpg, labels: mine/labels/*.png, ids: {7: street, 8: street, 26: lorry}"
        return f"energy: {{fit: {{data: {data}, anomaly: [254]{more}}}}}}}}}"

    found = reasons(written(tmp_path, MAPPED, method=fitted("")), capsys)
    assert len(found) == 2 and all("cannot be fitted: toynet and folder[" in reason for reason in found)
    assert reasons(written(tmp_path, MAPPED, method=fitted(", class_map: {street: road, lorry: truck}")), capsys) == []


def test_where_data_lie_changes_no_key(mine, tmp_path, monkeypatch):
    def keys():
        return [cell.key for cell in suites.load(written(tmp_path, MAPPED)).cells]

    before, digest = keys(), folder().digest()
    other = tmp_path / "elsewhere" / "frames"
    shutil.move(mine, other)
    monkeypatch.delenv("BENCH_DATA")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data.yaml").write_text(f"mine: {other}\n")
    assert list(folder().ids()) == ["a", "b", "c"]
    assert (keys(), folder().digest()) == (before, digest)
    text = "".join(str(cell.spelled()) for cell in suites.load(written(tmp_path, MAPPED)).cells)
    assert str(tmp_path) not in text and str(Path.home()) not in text


def test_a_class_map_and_a_corruption_meet_in_one_entry(mine, tmp_path):
    both = MAPPED + "\n      corruption: {name: brightness, severity: 3}"
    plain = suites.load(written(tmp_path, MAPPED)).cells[0].dataset.build()
    data = suites.load(written(tmp_path, both)).cells[0].dataset.build()
    assert data.class_names == CITYSCAPES
    for index in range(3):
        np.testing.assert_array_equal(data.load(index).labels, plain.load(index).labels)
        assert (data.load(index).image() != plain.load(index).image()).any()


def test_the_real_frame_is_what_the_reader_of_cityscapes_makes_of_it(shared, tmp_path, monkeypatch):
    (tmp_path / "cityscapes").symlink_to(shared / "data" / "cityscapes_sample")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    data = folder(
        images="cityscapes/leftImg8bit/val/**/*.png",
        labels="cityscapes/gtFine/val/**/*_labelIds.png",
        pair=r".*/([^/]+)_(?:leftImg8bit|gtFine_labelIds)",
        group=r".*/([^/]+)_\d+_leftImg8bit",
        ids=dict(zip(LABEL_IDS, CITYSCAPES, strict=True)),
        anomaly=[],
        ignore=sorted({*range(34), 255} - {*LABEL_IDS}),
    )
    data.check()
    official = Cityscapes(frames=1)
    assert data.class_names == official.class_names and list(data.ids()) == list(official.ids())
    mine, theirs = data.load(0), official.load(0)
    np.testing.assert_array_equal(mine.labels, theirs.labels)
    np.testing.assert_array_equal(mine.image(), theirs.image())
    assert mine.group == theirs.group


def test_a_long_label_does_not_break_what_is_named_after_it(mine, tmp_path, capsys):
    text = written(tmp_path, MAPPED).read_text().replace("      label: mine\n", "")
    text = text.replace("26: lorry}", "26: lorry, " + ", ".join(f"{n}: street" for n in range(30, 90)) + "}")
    (tmp_path / "mine.yaml").write_text(text)
    assert max(len(str(cell.dataset.label)) for cell in suites.load(tmp_path / "mine.yaml").cells) > 300
    run = ["run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run"), "--workers", "0", "--keep-maps"]
    assert main([*run, "--only", "protocol=anomaly"]) == 0
    assert len(list((tmp_path / "run" / "spool").rglob("*.npy"))) >= 3


@pytest.mark.parametrize(
    ("orientation", "size", "ambiguous"),
    [(3, (32, 48), True), (6, (32, 48), False), (6, (32, 32), True), (1, (32, 32), False)],
)
def test_an_exif_rotation_that_a_mask_does_not_decide_is_refused(mine, orientation, size, ambiguous):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size[::-1]).save(mine / "images" / "c.jpg", exif=exif)
    save(mine / "labels" / "c.png", np.full(size, 7))
    if ambiguous:
        said = (
            f"{mine / 'images' / 'c.jpg'} has an EXIF orientation ({orientation}), and its mask fits it stored as well"
        )
        assert complaint(folder()).startswith(said)
    else:
        folder().check()
