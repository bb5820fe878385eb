"""Suite files: what they expand to, what is part of a cell's key, and the exact words of the refusals."""

import re

import pytest

from bench.cli.main import main
from bench.core.errors import BadSuite, BadYaml, UnknownName, UsageError
from bench.suite import expansion as suites

GOOD = """
protocols: [anomaly]
models: [toynet]
datasets: [toytown]
methods: [energy]
"""


def write(folder, text, name="x.yaml"):
    (folder / name).write_text(text)
    return folder / name


def only_cell(folder, text):
    (cell,) = suites.load(write(folder, text)).cells
    return cell


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("energy", "enrgy", "unknown method 'enrgy'; did you mean 'energy'?"),
        ("energy", "{energy: {temp: 2}}", "unknown parameter of method 'energy': 'temp'; did you mean 'temperature'?"),
        (
            "energy",
            "{energy: {temperature: yes}}",
            "temperature of method 'energy' is true, wanted a number of more than 0",
        ),
        (
            "energy",
            "{energy: {temperature: 0}}",
            "temperature of method 'energy' is 0, wanted a number of more than 0",
        ),
        ("models: [toynet]\n", "", "missing models"),
        ("[toynet]", "toynet", "models: 'toynet' must be a list, even of one"),
        ("datasets:", "dataset:", "unknown key 'dataset'; did you mean 'datasets'?"),
        ("anomaly", "ood", "unknown protocol 'ood'; "),
        ("[energy]", "[energy, energy]", "anomaly / toynet / toytown / energy stands there twice"),
        ("[energy]", "[]", "missing methods, which 'anomaly' ranks"),
        ("energy", "{maxlogit: {fit: {data: toytown}}}", "'maxlogit' has nothing to fit"),
        ("energy", "{energy: {fit: toytown}}", "fit of 'energy' is 'toytown', wanted {data: a data set}"),
        ("[toytown]", "[{toytown: {split: tset}}]", "split of dataset 'toytown' is 'tset', wanted "),
        (
            "[toynet]",
            "[{toynet: {inference: {scale: 1}}}]",
            "unknown parameter of model 'toynet': 'scale'; did you mean",
        ),
        ("[energy]", "[energy]\nseed: one", "seed is 'one', wanted a whole number"),
        ("energy", "{energy: {sweep: {temperature: []}}}", "sweep of 'energy' must name parameters with a list"),
        (
            "energy",
            "{energy: {temperature: 1, sweep: {temperature: [2]}}}",
            "'temperature' of 'energy' stands in",
        ),
        (
            "energy",
            f"{{energy: {{sweep: {{temperature: {[1] * 400}, x: {[1] * 400}}}}}}}",
            "the sweep of 'energy'",
        ),
        (
            "[energy]",
            "[energy]\nresample: image",
            "resample is 'image', wanted 'images' or 'groups'; did you mean 'images'",
        ),
        ("[energy]", "[energy]\nnumerics: {threads: 0}", "numerics.threads is 0, wanted a whole number from 1 to"),
        ("[toytown]", "[eomt]", "unknown dataset 'eomt'; not built in: 'bench list datasets' says what is"),
        ("[energy]", "[energy]\nnumerics: {thread: 2}", "unknown key 'thread'; did you mean 'threads'?"),
    ],
)
def test_a_wrong_suite_is_refused_in_one_line_with_the_file(tmp_path, capsys, old, new, words):
    path = write(tmp_path, GOOD.replace(old, new))
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    place, _, message = said.removeprefix(f"bench: {path}").partition(": ")
    assert re.fullmatch(r"|:[1-9]", place)
    assert message.startswith(words)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{name: m, protocol: miou}", "it does not match protocol 'miou'; the suite has anomaly"),
        ("{name: m, protocol: anomaly, dataset: coco*}", "it does not match any data set of the suite"),
        ("{name: m, protocol: anomaly, severity: 3}", "it does not match any data set of the suite"),
    ],
)
def test_a_summary_that_matches_nothing_is_left_out_with_a_word(tmp_path, capsys, rule, words):
    path = write(tmp_path, GOOD + f"summaries:\n  - {rule}\n")
    assert main(["check", str(path)]) == 0
    assert f"the summary 'm' is left out: {words}" in capsys.readouterr().err


def test_a_summary_is_matched_by_the_name_of_its_protocol_and_a_point_without_a_target_is_said(tmp_path):
    text = GOOD.replace("[anomaly]", "[{anomaly: {label: things}}]") + "summaries: [{name: m, protocol: anomaly}]\n"
    assert suites.load(write(tmp_path, text)).remarks == ()
    point = "operating_points: [{name: p, protocol: anomaly, calibrate: toytown}]\n"
    (said,) = suites.load(write(tmp_path, GOOD + point)).remarks
    assert said.endswith("the point 'p' is left out: toytown is the only data set")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{name: p, protocol: misclassification, calibrate: toytown}", "is of misclassification, which the suite does"),
        ("{name: p, protocol: anomaly, calibrate: toytwn}", "'toytwn'; did you mean 'toytown'?"),
    ],
)
def test_a_point_that_no_cell_has_is_refused(tmp_path, capsys, rule, words):
    path = write(tmp_path, GOOD + f"operating_points:\n  - {rule}\n")
    assert main(["check", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_what_is_not_yaml_is_refused_with_its_line(tmp_path):
    with pytest.raises(BadYaml, match=r"x\.yaml:3: not YAML"):
        suites.load(write(tmp_path, "protocols: [anomaly]\nmodels: [toynet\ndatasets: x\n"))


def test_only_what_stands_under_sweep_multiplies(tmp_path):
    text = GOOD.replace("energy", "{energy: {sweep: {temperature: [1, 2, 4]}}}")
    labels = [cell.method.label for cell in suites.load(write(tmp_path, text)).cells]
    assert labels == ["energy", "energy[temperature=2]", "energy[temperature=4]"]


def test_a_label_shows_of_nested_parameters_those_that_are_not_the_default(tmp_path):
    text = GOOD.replace("[toynet]", "[toynet: {inference: {size: [64, 128], flip: true}}]")
    (cell, *_) = suites.load(write(tmp_path, text)).cells
    assert cell.model.label == "toynet[inference={size=64x128,flip=True}]"


@pytest.mark.parametrize("same", ["{energy: {temperature: 1}}", "{energy: {temperature: 1.0}}", "{energy: {label: E}}"])
def test_two_ways_to_write_one_thing_have_one_key(tmp_path, same):
    assert only_cell(tmp_path, GOOD).key == only_cell(tmp_path, GOOD.replace("energy", same)).key


@pytest.mark.parametrize(
    "other",
    [
        GOOD.replace("energy", "{energy: {temperature: 2}}"),
        GOOD.replace("energy", "{energy: {fit: {data: toytown}}}"),
        GOOD.replace("[toytown]", "[{toytown: {seed: 1}}]"),
        GOOD.replace("[toynet]", "[{toynet: {inference: {scales: [0.5, 1]}}}]"),
        GOOD + "seed: 1\n",
        GOOD + "budget: 65536\n",
    ],
)
def test_what_changes_a_number_changes_the_key(tmp_path, other):
    assert only_cell(tmp_path, GOOD).key != only_cell(tmp_path, other).key


def test_where_a_file_lies_is_no_part_of_the_key(tmp_path):
    keys = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        text = GOOD.replace("[toynet]", "[{python: {factory: 'net.py:build', weights: w.pth}}]")
        cell = only_cell(folder, text)
        keys.add(cell.key)
        assert str(folder / "net.py") in str(cell.model.arguments)
    assert len(keys) == 1


def test_a_protocol_without_scores_has_one_cell_per_network(tmp_path):
    text = GOOD.replace("[anomaly]", "[anomaly, miou]").replace("energy", "energy, msp")
    assert [str(cell.method and cell.method.label) for cell in suites.load(write(tmp_path, text)).cells] == [
        "energy",
        "msp",
        "None",
    ]


def test_the_text_of_a_suite_gives_the_same_cells_from_any_folder(tmp_path, tiny):
    suite = suites.load(tiny)
    again = suites.load(write(tmp_path, suite.text, "again.yaml"))
    assert [cell.key for cell in again.cells] == [cell.key for cell in suite.cells]
    assert [cell.labels for cell in again.cells] == [cell.labels for cell in suite.cells]


def test_only_keeps_what_matches_and_refuses_what_matches_nothing(tiny):
    suite = suites.load(tiny)
    assert len(suite.only({"method": "energy*", "protocol": "anomaly"}).cells) == 1
    assert len(suite.only({"cell": suite.cells[3].key}).cells) == 1
    with pytest.raises(UsageError, match="no cell matches --only method=nosuch"):
        suite.only({"method": "nosuch", "protocol": "anomaly"})
    with pytest.raises(UnknownName, match="did you mean 'method'"):
        suite.only({"methods": "msp"})


def test_shipped_suites_load_by_name_and_by_path():
    known = suites.shipped()
    assert "demo" in known
    for name in known:
        assert suites.load(suites.locate(name)).cells == suites.load(suites.locate(f"suites/{name}.yaml")).cells


def test_an_unknown_suite_is_named_with_its_nearest():
    with pytest.raises(UnknownName, match="unknown suite 'dmo'; did you mean 'demo'"):
        suites.locate("dmo")
    with pytest.raises(UsageError, match=r"absent/x\.yaml: no such file; shipped suites: "):
        suites.locate("absent/x.yaml")


def test_methods_of_the_command_line_replace_those_of_the_suite(tiny):
    suite = suites.load(tiny, {"methods": [{"energy": {"temperature": 3}}]})
    assert {cell.method.label for cell in suite.cells if cell.method} == {"energy[temperature=3]"}


def test_paths_on_the_command_line_are_relative_to_the_current_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suite = suites.load(tiny, {"models": [{"python": {"factory": "mine/net.py:build"}}]})
    assert str(tmp_path / "mine" / "net.py") in str(suite.cells[0].model.arguments)
    with pytest.raises(UnknownName, match=r"^--method: unknown method 'enrgy'; did you mean 'energy'"):
        suites.load(tiny, {"methods": ["enrgy"]})


TWO_FILES = """
protocols: [anomaly]
models:
  - enet: {weights: first/model_best.pth}
  - enet: {weights: second/model_best.pth}
datasets: [{toytown: {split: anomaly, images: 2}}]
methods: [msp]
"""


def test_files_of_one_name_are_told_apart_by_what_they_hold(tmp_path):
    for folder, content in (("first", b"1"), ("second", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model_best.pth").write_bytes(content)
    suite = tmp_path / "two.yaml"
    suite.write_text(TWO_FILES)
    with pytest.raises(BadSuite, match=r"'enet\[weights=model_best.pth\]' \(their files differ\); give each a label"):
        suites.load(suite)
    suite.write_text(TWO_FILES.replace("second/model_best.pth", "second/model_best.pth, label: second"))
    keys = [cell.key for cell in suites.load(suite).cells]
    assert len(set(keys)) == 2
    (tmp_path / "moved").mkdir()
    (tmp_path / "first" / "model_best.pth").rename(tmp_path / "moved" / "model_best.pth")
    suite.write_text(suite.read_text().replace("first/", "moved/"))
    assert [cell.key for cell in suites.load(suite).cells] == keys, "a folder is no part of a key"
    (tmp_path / "moved" / "model_best.pth").write_bytes(b"3")
    assert suites.load(suite).cells[0].key != keys[0]
    assert suites.load(suite).cells[0].model.build().weights.endswith("moved/model_best.pth")


def test_two_things_of_one_label_are_refused(tmp_path):
    for methods in (
        "[{msp: {label: x}}, {maxlogit: {label: x}}]",
        "[{energy: {label: e, sweep: {temperature: [1, 2]}}}]",
    ):
        with pytest.raises(BadSuite, match=r"two methods have the label '.'; give each a label of its own"):
            suites.load(write(tmp_path, GOOD.replace("[energy]", methods)))


def test_a_data_set_for_no_protocol_of_the_suite_is_refused(tmp_path):
    text = GOOD.replace("[toytown]", "[{toytown: {protocols: [miou]}}]")
    with pytest.raises(BadSuite, match="toytown is for miou, which the suite does not list"):
        suites.load(write(tmp_path, text))


def test_a_pattern_that_no_method_matches_is_refused_although_cells_without_a_method_stay(tiny):
    with pytest.raises(UsageError, match="no cell matches --only method=nix"):
        suites.load(tiny).only({"method": "nix"})
    assert any(cell.method is None for cell in suites.load(tiny).only({"method": "msp"}).cells)


def test_a_method_for_some_networks_meets_no_others(tmp_path):
    path = tmp_path / "suite.yaml"
    text = """
protocols: [misclassification]
models: [toynet, python: {factory: net.py:build, label: mine}]
datasets: [toytown]
methods: [msp, energy: {models: [toynet]}]
"""
    path.write_text(text)
    pairs = [(cell.model.name, cell.method.name) for cell in suites.load(path).cells]
    assert pairs == [("toynet", "msp"), ("toynet", "energy"), ("python", "msp")]
    again = tmp_path / "again.yaml"
    again.write_text(suites.load(path).text)
    assert [cell.key for cell in suites.load(again).cells] == [cell.key for cell in suites.load(path).cells]
    path.write_text(text.replace("models: [toynet]", "models: [toynot]"))
    with pytest.raises(UnknownName, match="did you mean 'toynet'"):
        suites.load(path)
    path.write_text(text.replace("models: [toynet]", "models: [onnx]").replace("onnx", "mmseg"))
    with pytest.raises(BadSuite, match="energy is for mmseg, which the suite does not list"):
        suites.load(path)


def test_a_data_set_for_some_networks_and_methods_meets_no_others(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("""
protocols: [misclassification, miou]
models: [toynet, toyquery]
datasets:
  - toytown: {split: val, label: all}
  - toytown: {split: val, images: 8, label: few, protocols: [misclassification], models: [toynet], methods: [energy]}
methods: [msp, energy, energy: {temperature: 2}]
""")
    few = [cell for cell in suites.load(path).cells if cell.dataset.label == "few"]
    assert [(cell.protocol.name, cell.model.name, cell.method.label) for cell in few] == [
        ("misclassification", "toynet", "energy"),
        ("misclassification", "toynet", "energy[temperature=2]"),
    ]
    again = tmp_path / "again.yaml"
    again.write_text(suites.load(path).text)
    assert [cell.key for cell in suites.load(again).cells] == [cell.key for cell in suites.load(path).cells]
    alone = suites.load(path, {"methods": ["msp"]}).cells
    assert {cell.dataset.label for cell in alone} == {"all"}, "what is for other methods goes with them"
    path.write_text(path.read_text().replace("methods: [energy]", "methods: [entropy]"))
    with pytest.raises(BadSuite, match="few is for entropy, which the suite does not list"):
        suites.load(path)


def test_a_method_for_some_data_sets_meets_no_others(tmp_path):
    path = tmp_path / "suite.yaml"
    text = """
protocols: [misclassification]
models: [toynet]
datasets: [toytown, toytown: {images: 8, label: few, methods: [energy]}]
methods: [msp, energy: {datasets: [few]}]
"""
    path.write_text(text)
    pairs = [(cell.dataset.label, cell.method.name) for cell in suites.load(path).cells]
    assert pairs == [("toytown", "msp"), ("few", "energy")]
    again = tmp_path / "again.yaml"
    again.write_text(suites.load(path).text)
    assert [cell.key for cell in suites.load(again).cells] == [cell.key for cell in suites.load(path).cells]
    other = suites.load(path, {"methods": ["entropy"]}).cells
    assert [(cell.dataset.label, cell.method.name) for cell in other] == [("toytown", "entropy")]
    path.write_text(text.replace("datasets: [few]", "datasets: [cityscapes]"))
    with pytest.raises(BadSuite, match="energy is for cityscapes, which the suite does not list"):
        suites.load(path)


def test_a_network_for_some_methods_meets_no_others(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("""
protocols: [misclassification, miou]
models: [toynet, toyquery: {methods: [rba]}]
datasets: [toytown]
methods: [msp, rba: {models: [toyquery]}]
""")
    cells = suites.load(path).cells
    pairs = [(cell.model.name, cell.method.name) for cell in cells if cell.method]
    assert pairs == [("toynet", "msp"), ("toyquery", "rba")]
    assert [cell.model.name for cell in cells if not cell.method] == ["toynet", "toyquery"]


def test_what_the_command_line_puts_in_place_leaves_out_networks_for_other_methods(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("""
protocols: [misclassification, miou]
models: [toynet, toyquery: {methods: [rba]}]
datasets: [toytown]
methods: [rba: {models: [toyquery]}, msp]
""")
    suite = suites.load(path, {"methods": ["energy"]})
    assert {cell.model.name for cell in suite.cells} == {"toynet"}
    again = tmp_path / "again.yaml"
    again.write_text(suite.text)
    assert [cell.key for cell in suites.load(again).cells] == [cell.key for cell in suite.cells]
