"""References of plug-ins: what the file holds, what is refused, and which plug-in cites what."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.core.errors import BadPublished
from bench.report import bibliography
from bench.suite import registry

HERE = Path("references.bib")
GOOD = """@article{brier1950verification,
  author = {Brier, Glenn W.},
  title = {Verification of {Forecasts}},
  journal = {Monthly Weather Review},
  year = {1950},
}
"""
OWN = """@misc{me2026score,
  author = {Me, Myself},
  title = {My Score},
  year = {2026},
  eprint = {2601.00001},
  archiveprefix = {arXiv},
}
"""
# Ours, or whatever the user has: nothing to cite.
UNPUBLISHED = {
    "method": {"own"},
    "dataset": {"folder", "hf", "in_memory", "toytown", "toytown_layout", "toytown_outliers", "validation_dataset"},
    "model": {
        *("command", "exported", "in_memory", "onnx", "precomputed", "python", "retrained", "torchscript"),
        *("toynet", "toynet_entropy_max", "toyquery"),
    },
    "trainer": set(),
}


def keys(source):
    return [entry.key for entry in bibliography.of(source)]


def test_the_shipped_file_is_read_whole_and_sorted():
    text = (Path(bibliography.__file__).parents[2] / "reports" / "references.bib").read_text(encoding="ascii")
    entries = bibliography.entries()
    assert list(entries) == sorted(entries) and len(entries) == text.count("\n@") + 1
    for entry in entries.values():
        assert re.fullmatch(r"(19|20)[0-9]{2}", entry.fields["year"])
        assert entry.key.endswith(tuple(f"{entry.fields['year']}{word}" for word in (re.sub(r".*\d", "", entry.key),)))
        assert entry.fields.get("archiveprefix", "arXiv") == "arXiv"
        assert ("eprint" in entry.fields) == ("archiveprefix" in entry.fields)
        assert re.fullmatch(r"[0-9]{4}\.[0-9]{4,5}", entry.fields.get("eprint", "1234.5678"))
        assert " et al" not in entry.fields["author"] and "," in entry.fields["author"] + ","
        for author in entry.fields["author"].split(" and "):
            assert re.fullmatch(r"[^,]+, [^,]+|\{[^{}]+\}|others", author), author


def test_no_work_stands_there_twice():
    entries = bibliography.entries().values()
    for name in ("eprint", "doi", "title"):
        values = [entry.fields[name].lower() for entry in entries if name in entry.fields]
        assert len(values) == len(set(values))


@pytest.mark.parametrize("kind", ["method", "dataset", "model", "trainer", "protocol"])
def test_every_number_that_a_plug_in_names_is_there(kind):
    for name, plugin in registry.available(kind).items():
        numbers = bibliography.ARXIV.findall(plugin.source)
        assert {entry.fields.get("eprint") for entry in bibliography.of(plugin.source)} >= set(numbers), name


@pytest.mark.parametrize("kind", UNPUBLISHED)
def test_every_plug_in_cites_a_work_or_is_known_to_have_none(kind):
    silent = {name for name, plugin in registry.available(kind).items() if not keys(plugin.source)}
    assert silent == UNPUBLISHED[kind]


def test_every_work_is_cited():
    kinds = ("method", "dataset", "model", "trainer", "protocol")
    cited = {key for kind in kinds for plugin in registry.available(kind).values() for key in keys(plugin.source)}
    assert cited == set(bibliography.entries())


def test_works_are_found_by_number_and_by_name():
    found = registry.available("method")
    assert keys(found["msp"].source) == ["hendrycks2017baseline"]
    assert keys(found["sml"].source) == ["jung2021standardized"]
    assert keys(registry.available("protocol")["calibration"].source) == ["brier1950verification", "guo2017calibration"]
    assert keys(registry.available("model")["segformer_b2_cityscapes"].source) == ["mmseg2020", "xie2021segformer"]
    assert keys("arXiv:1610.0213") == keys("nothing") == keys("") == []


def test_the_command_prints_each_work_once_with_those_that_cite_it(capsys):
    assert main(["list", "methods", "--bibtex"]) == 0
    text = capsys.readouterr().out
    assert text.count("@inproceedings{chan2021entropy,") == 1
    assert "% entropy, entropy_meta\n@inproceedings{chan2021entropy,\n" in text
    assert text.rstrip().endswith("% without a published source: own")
    assert "called =" not in text
    # What stands between entries must not look like one.
    assert all("@" not in line for line in text.splitlines() if line.startswith("%"))
    again = bibliography.parse(re.sub(r"^%.*\n", "", text, flags=re.M).encode(), HERE)
    cited = {key for method in registry.available("method").values() for key in keys(method.source)}
    assert sorted(entry.key for entry in again) == sorted(cited) and len(cited) >= 12


def test_what_ones_own_method_cites_is_found_in_a_file_of_ones_own(tmp_path, monkeypatch):
    sources = [("mine", "Me, My Score, arXiv:2601.00001"), ("theirs", "arXiv:2601.00002"), ("plain", "a talk")]
    text = bibliography.render(sources)
    assert text.splitlines() == [
        "% mine: arXiv:2601.00001 is in no references.bib",
        "% theirs: arXiv:2601.00002 is in no references.bib",
        "% without a published source: plain",
    ]
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path))
    (tmp_path / "references.bib").write_text(OWN)
    assert bibliography.render(sources[:1]) == f"% mine\n{OWN}".rstrip()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD.replace("Glenn W.", "Glénn"), r"references\.bib:2: not ASCII; write letters as BibTeX does"),
        (GOOD.replace("@article", "@book"), r":1: brier1950verification is of type book, wanted article or"),
        (GOOD.replace("@article", "@Article"), r":1: wanted an entry"),
        (GOOD.replace("{brier1950verification", "{"), r":1: wanted an entry"),
        (GOOD.replace("  year = {1950},\n", ""), r"brier1950verification has no year"),
        (GOOD.replace("{1950}", "{ }"), r"brier1950verification has no year"),
        (GOOD.replace("year =", "colour ="), r"'  colour = \{1950\},\\n' is no 'name = "),
        (GOOD.replace("title =", "author ="), r"'  author = \{Verification .* each once"),
        (GOOD.replace("{Forecasts}", "{Forecasts"), r"'  title = \{Verification"),
        (GOOD.replace("{Forecasts}", "Forecasts}"), r"'  title = \{Verification"),
        (GOOD.replace("{1950}", '"1950"'), r"""'  year = "1950",\\n' is no"""),
        (GOOD.replace("},\n}", "}\n}"), r"is no 'name = "),
        (GOOD + GOOD, r":1: .*"),
        ("% comment\n" + GOOD, r":1: wanted an entry"),
        (GOOD + "\n" + GOOD.replace("@article", "@art"), r":8: brier1950verification is of type art,"),
    ],
    ids=range(15),
)
def test_what_is_no_entry_is_refused_with_its_line(content, said):
    assert [entry.key for entry in bibliography.parse(GOOD.encode(), HERE)] == ["brier1950verification"]
    with pytest.raises(BadPublished, match=said) as refused:
        bibliography.parse(content.encode(), HERE)
    assert "\n" not in str(refused.value)


def test_a_key_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path))
    (tmp_path / "references.bib").write_text(GOOD)
    with pytest.raises(BadPublished, match=r"the key brier1950verification stands there twice, or in two files"):
        bibliography.entries()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, len(GOOD)), length=st.integers(0, 12), text=st.text("{}\\,=@ \na1", max_size=6))
def test_a_damaged_file_is_refused_or_read(start, length, text):
    damaged = GOOD[:start] + text + GOOD[start + length :]
    try:
        for entry in bibliography.parse(damaged.encode(), HERE):
            (again,) = bibliography.parse(f"{entry}\n".encode(), HERE)
            assert again.fields == {name: value for name, value in entry.fields.items() if name != "called"}
    except BadPublished as refused:
        assert "\n" not in str(refused)
