"""TorchScript and torch.export files as networks: the same numbers as in process, and what is refused."""

import io
import json
import pickle
import warnings
import zipfile

import pytest
import torch
from running import Silent
from torch import nn

from bench.api import View
from bench.contract.network import loaded as load
from bench.core.errors import BadPlugin, MissingData, UserError
from bench.models.exported import checked
from bench.run.engine import Options
from bench.run.engine import run as run_suite
from bench.suite import expansion as suites
from bench.suite import registry
from bench.suite.registry import from_file

ANY = torch.export.Dim.DYNAMIC


def as_script(network, path, image=(1, 3, 32, 64)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(network, torch.zeros(image), strict=False), path)
    return path


def as_program(network, path, *, fixed=False):
    sides = None if fixed else ({2: ANY, 3: ANY},)
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 32, 64),), dynamic_shapes=sides), path)
    return path


def model(kind, path, **params):
    made = registry.build("model", kind, {"file": str(path)} | params, where="x")
    made.check()
    return load(made, "cpu")


def view(pixels):
    size = int(pixels.shape[1]), int(pixels.shape[2])
    return View("one", pixels, 1.0, False, (0, 0, *size), size, size)


def noise(*size):
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


class Heads(nn.Module):
    """What a deployed network gives: a class map and how sure it is of it; and its logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Conv2d(3, 4, 3, padding=1, stride=2)

    def forward(self, x):
        logits = self.net(x)
        sure, labels = logits.softmax(1).max(1)
        return {"labels": labels, "confidence": sure[:, None], "logits": logits.half()}


CLASSES = {"classes": ["a", "b", "c", "d"]}


SUITE = """
protocols: [misclassification, miou]
models:
  - python: {factory: "net.py:build", label: tiny}
  - torchscript: {file: net.pt, label: script}
  - exported: {file: net.pt2, label: program}
datasets:
  - toytown: {split: anomaly, images: 6, height: 32, width: 64}
methods: [msp, maxlogit]
bootstrap: 0
"""


def figures(path, tmp_path):
    """Metrics by model, protocol and method."""
    results = run_suite(suites.load(path), tmp_path / "run", Options(workers=0), Silent())
    by_model = {}
    for result in results:
        labels = dict(result.labels.by_axis)
        by_model.setdefault(labels.pop("model"), {})[tuple(labels.values())] = dict(result.metrics)
    return by_model


def test_files_give_the_figures_of_the_network_in_process(tiny, tmp_path):
    network = from_file(tiny.with_name("net.py"), "tiny_net").build().eval()
    as_script(network, tiny.with_name("net.pt"))
    as_program(network, tiny.with_name("net.pt2"))
    tiny.write_text(SUITE)
    found = figures(tiny, tmp_path)
    assert len(found["tiny"]) == 3
    assert found["script"] == found["tiny"]
    assert found["program"] == found["tiny"]


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_pixels_are_prepared_as_the_suite_says(kind, tmp_path):
    path = {"torchscript": as_script, "exported": as_program}[kind](nn.Identity(), tmp_path / f"net.{kind}.pt2")
    names = {"outputs": ["features"], "channels": "bgr", "scale": 2, "mean": [1, 2, 3], "std": [4, 5, 6]}
    pixels = noise(6, 8)
    given = model(kind, path, **names).predict([view(pixels)])[0].raw["features"]
    shift, spread = torch.tensor([1.0, 2, 3]).reshape(3, 1, 1), torch.tensor([4.0, 5, 6]).reshape(3, 1, 1)
    torch.testing.assert_close(given, (pixels.flip(0).float() / 2 - shift) / spread)


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_a_class_map_and_a_confidence_become_labels_and_a_score(kind, tmp_path):
    path = {"torchscript": as_script, "exported": as_program}[kind](Heads().eval(), tmp_path / "net.pt2")
    made = model(kind, path, outputs=["labels", "confidence"], **CLASSES)
    assert made.model.outputs == {"labels", "score", "raw", "image", "again"}
    pixels = noise(12, 20)
    given = made.predict([view(pixels)])[0]
    logits = Heads().eval()(pixels[None].float() / 255)["logits"][0].float()
    expected = logits.argmax(0).byte().repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert given.labels.dtype == torch.uint8 and torch.equal(given.labels, expected)
    assert set(given.raw) == {"score"}
    torch.testing.assert_close(given.raw["score"], 1 - logits.softmax(0).amax(0), rtol=0, atol=2e-3)


def test_half_precision_outputs_become_single(tmp_path):
    made = model("torchscript", as_script(Heads().eval(), tmp_path / "net.pt"), outputs=["logits"], **CLASSES)
    assert made.predict([view(noise(8, 8))])[0].raw["logits"].dtype == torch.float32


class Given(nn.Module):
    """Outputs that are always the same, in a tuple or alone."""

    def __init__(self, *outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        given = tuple(output + 0 * x.mean().to(output.dtype) for output in self.outputs)
        return given if len(given) > 1 else given[0]


ONE = torch.zeros(1, 4, 4, 4)


@pytest.mark.parametrize(
    ("outputs", "names", "words"),
    [
        ([torch.zeros(1, 5, 4, 4)], ["logits"], r"gives logits \[5, 4, 4\], wanted \[4, h, w\], one per class"),
        ([torch.zeros(2, 4, 4, 4)], ["logits"], r"gives logits \[2, 4, 4, 4\], wanted a batch of one in front"),
        ([torch.zeros(1, 2, 4, 4)], ["score"], r"gives score \[2, 4, 4\], wanted \[h, w\]"),
        ([torch.full((1, 4, 4), 1.5)], ["confidence"], r"gives a confidence beyond 0\.\.1; name it score"),
        ([torch.zeros(1, 4, 4)], ["labels"], r"gives labels of torch\.float32, wanted whole numbers"),
        ([torch.full((1, 4, 4), 4)], ["labels"], r"gives the class 4, wanted 0 to 3"),
        ([torch.full((1, 4, 4), -1)], ["labels"], r"gives the class -1, wanted 0 to 3"),
        ([ONE, ONE], ["logits"], r"gives 2 outputs, the suite's outputs are logits; name each, in their order"),
    ],
)
def test_outputs_that_are_not_what_their_names_say_are_refused(outputs, names, words, tmp_path):
    made = model("torchscript", as_script(Given(*outputs), tmp_path / "net.pt"), outputs=names, **CLASSES)
    with pytest.raises(BadPlugin, match=words) as caught:
        made.predict([view(noise(8, 8))])[0]
    assert "\n" not in str(caught.value)


def test_a_dict_without_a_wanted_name_is_refused_with_both_lists(tmp_path):
    made = model("torchscript", as_script(Heads().eval(), tmp_path / "net.pt"), outputs=["logits", "score"], **CLASSES)
    with pytest.raises(BadPlugin, match=r"gives confidence, labels, logits, the suite's outputs name score too"):
        made.predict([view(noise(8, 8))])[0]


def test_queries_alone_are_added_up_to_class_scores(tmp_path):
    from bench.ops import queries

    logits, masks = torch.randn(1, 3, 5), torch.randn(1, 3, 4, 4)
    path = as_script(Given(logits, masks), tmp_path / "net.pt")
    made = model("torchscript", path, outputs=["query_logits", "query_masks"], **CLASSES)
    assert "class_scores" in made.model.outputs
    given = made.predict([view(noise(8, 12))])[0]
    torch.testing.assert_close(given.raw["class_scores"], queries.class_scores(logits[0], masks[0], (8, 12)))


@pytest.mark.parametrize(
    ("names", "words"), [([], "each once"), (["score", "confidence"], "either score or confidence")]
)
def test_names_that_cannot_be_are_refused_before_anything_is_read(names, words, tmp_path):
    with pytest.raises(UserError, match=words):
        registry.build("model", "torchscript", {"file": str(tmp_path / "net.pt"), "outputs": names}, where="x")


def test_a_file_that_takes_one_size_says_which(tmp_path):
    made = model(
        "exported", as_program(Heads().eval(), tmp_path / "net.pt2", fixed=True), outputs=["logits"], **CLASSES
    )
    assert made.predict([view(noise(32, 64))])[0].raw["logits"].shape == (4, 16, 32)
    with pytest.raises(
        BadPlugin, match=r"takes images of \[32, 64\] alone, this one is \[32, 48\]; say inference: \{size"
    ):
        made.predict([view(noise(32, 48))])[0]


def test_a_script_that_fails_is_one_line_with_a_hint(tmp_path):
    class Narrow(nn.Module):
        def forward(self, x):
            return x.reshape(1, 4, 3, 64 * 8)

    made = model("torchscript", as_script(Narrow(), tmp_path / "net.pt"), **CLASSES)
    with pytest.raises(BadPlugin, match=r"fails on \[1, 3, 8, 8\]: .*images of one size only") as caught:
        made.predict([view(noise(8, 8))])[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["torchscript", "exported"])
def test_missing_and_damaged_files_are_one_line(kind, tmp_path):
    path = tmp_path / "net.pt2"
    with pytest.raises(MissingData, match=r"net\.pt2 does not exist; paths in a suite are relative to its file"):
        model(kind, path)
    path.write_bytes(b"not a network")
    with pytest.raises(MissingData, match=r"net\.pt2 cannot be read") as caught:
        model(kind, path)
    assert "\n" not in str(caught.value)


def test_every_run_of_a_script_gives_the_same_bits(tmp_path):
    """The interpreter would optimise after its first runs; a shard begun anew must not differ from the one before."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.Conv2d(8, 4, 3), nn.GELU()).eval()
    made = model("torchscript", as_script(net, tmp_path / "net.pt"), **CLASSES)
    given = [made.predict([view(noise(24, 24))])[0].raw["logits"] for _ in range(5)]
    assert all(torch.equal(one, given[0]) for one in given)


def test_the_digest_follows_the_file(tmp_path):
    digests = {
        model("torchscript", as_script(nn.Conv2d(3, 4, 1), tmp_path / "net.pt")).model.digest() for _ in range(2)
    }
    assert len(digests) == 2


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def altered(path, member, content):
    """The archive with one member replaced or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for info in old.infolist():
            if info.filename != f"{root}/{member}":
                new.writestr(info.filename, old.read(info))
        new.writestr(f"{root}/{member}", content)
    path.write_bytes(out.getvalue())
    return path


def member(path, name):
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(found for found in archive.namelist() if found.endswith(name)))


def test_a_program_that_would_run_code_when_read_is_refused_unread(tmp_path, capsys):
    path = as_program(nn.Conv2d(3, 4, 1), tmp_path / "net.pt2")
    assert len(checked(path).getvalue()) > 0
    evil = io.BytesIO()
    torch.save({"more": Evil()}, evil)
    weights = json.loads(member(path, "model_weights_config.json"))
    weights["config"]["weight"]["use_pickle"] = True
    constants = {"config": {"thing": {"path_name": "custom_obj_0", "is_param": False, "use_pickle": False}}}
    for name, content, words in (
        ("data/sample_inputs/model.pt", evil.getvalue(), r"sample_inputs/model\.pt, which is more than tensors"),
        ("data/weights/model_weights_config.json", json.dumps(weights), r"weight in .*, which is pickled"),
        ("data/constants/model_constants_config.json", json.dumps(constants), r"thing in .*, which is pickled"),
        ("data/aotinductor/model/model.so", b"\x7fELF", r"which is machine code"),
        ("data/AOTInductor/model/model.so", b"\x7fELF", r"which is machine code"),
    ):
        bad = altered(as_program(nn.Conv2d(3, 4, 1), tmp_path / "bad.pt2"), name, content)
        with pytest.raises(BadPlugin, match=words):
            model("exported", bad)
    assert "code ran" not in capsys.readouterr().out


def evil():
    content = io.BytesIO()
    torch.save({"more": Evil()}, content)
    return content.getvalue()


SAMPLE = "data/sample_inputs/model.pt"
PLACES = {  # of a member that torch would find in place of the one that was looked at, without and beside it
    "upper case": lambda root: f"{root}/data/sample_inputs/model.PT",
    "a capital": lambda root: f"{root}/data/sample_inputs/Model.Pt",
    "a folder in capitals": lambda root: f"{root}/DATA/sample_inputs/model.pt",
    "weights": lambda root: f"{root}/data/weights/model.PT",
    "constants": lambda root: f"{root}/data/constants/MODEL.pt",
    "objects": lambda root: f"{root}/data/constants/custom_obj_0.PT",
    "absolute": lambda root: f"/{root}/{SAMPLE}",
    "doubled slash": lambda root: f"{root}//{SAMPLE}",
    "backslashes": lambda root: f"{root}\\{SAMPLE}",
    "climbing": lambda root: f"{root}/../{root}/{SAMPLE}",
    "another folder": lambda root: f"other/{SAMPLE}",
    "twice": lambda root: f"{root}/{SAMPLE}",
    "old": lambda root: "serialized_state_dict.json",
    "a nested archive": lambda root: f"{root}/{SAMPLE}/archive.pt2",
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_code_does_not_run_wherever_and_however_it_is_named(place, beside, first, tmp_path, capsys):
    path = as_program(nn.Conv2d(3, 4, 1), tmp_path / "net.pt2")
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    root = members[0][0].split("/")[0]
    hidden = (PLACES[place](root), evil())
    kept = [(name, content) for name, content in members if beside or not name.endswith(SAMPLE)]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [hidden, *kept] if first else [*kept, hidden]:
            archive.writestr(name, content)
    with pytest.raises(UserError) as caught:
        model("exported", path)
    assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_archives_in_archives_are_opened_no_further(tmp_path, capsys):
    inner = as_program(nn.Conv2d(3, 4, 1), tmp_path / "inner.pt2")
    path = altered(as_program(nn.Conv2d(3, 4, 1), tmp_path / "net.pt2"), SAMPLE, inner.read_bytes())
    with pytest.raises(UserError):
        model("exported", path)


def test_programs_of_torch_before_2_8_are_looked_at_alike(tmp_path, capsys):
    tensors = io.BytesIO()
    torch.save({}, tensors)
    for name in ("serialized_state_dict", "serialized_constants", "serialized_example_inputs", "SERIALIZED_STATE_DICT"):
        with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
            archive.writestr("version", "8.2")
            archive.writestr("serialized_exported_program.json", "{}")
            for each in ("serialized_state_dict", "serialized_constants", "serialized_example_inputs"):
                archive.writestr(f"{each}.pt", evil() if each == name else tensors.getvalue())
            if name.isupper():
                archive.writestr(f"{name}.PT", evil())
        with pytest.raises(BadPlugin, match=r"would run code when read|there twice|no part of a program"):
            model("exported", tmp_path / "old.pt2")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["data.pkl", "DATA.PKL", "Data.Pkl", "constants.pkl", "CONSTANTS.PKL"])
@pytest.mark.parametrize("first", [True, False])
def test_no_pickle_of_a_script_or_a_checkpoint_runs_whatever_its_case(name, first, tmp_path, capsys):
    from bench.core.weights import read_state_dict

    torch.save({"weight": torch.zeros(1)}, tmp_path / "w.pth")
    as_script(nn.Conv2d(3, 4, 1), tmp_path / "net.pt")
    for path in (tmp_path / "w.pth", tmp_path / "net.pt"):
        with zipfile.ZipFile(path) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        hidden = (f"{members[0][0].split('/')[0]}/{name}", pickle.dumps(Evil(), 2))
        with zipfile.ZipFile(path, "w") as archive:
            for member_name, content in [hidden, *members] if first else [*members, hidden]:
                archive.writestr(member_name, content)
    for read in (lambda: read_state_dict(tmp_path / "w.pth"), lambda: model("torchscript", tmp_path / "net.pt")):
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error)
    assert "code ran" not in capsys.readouterr().out


def test_a_script_is_not_unpickled(tmp_path, capsys):
    path = altered(as_script(nn.Conv2d(3, 4, 1), tmp_path / "net.pt"), "data.pkl", pickle.dumps(Evil()))
    with pytest.raises(MissingData, match=r"cannot be read as TorchScript"):
        model("torchscript", path)
    assert "code ran" not in capsys.readouterr().out
