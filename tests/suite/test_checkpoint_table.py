"""Published weights: their table, their fetching, and the errors that name the command."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core import downloads
from bench.core.errors import MissingData, UnknownName
from bench.suite import checkpoints, expansion, registry
from tests.serving import serving

CONTENT = b"weights" * 1000
SPECIFICATION = Path(__file__).parents[3] / "shared" / "specs" / "field_2026.md"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "WAITS", ())
    return tmp_path / "home" / "checkpoints"


@pytest.fixture
def served():
    with serving() as server:
        yield server


def offered(monkeypatch, served, name, content=CONTENT):
    """Have an entry of the table lead to a server, with the beginning of the checksum of what it gives."""
    source = checkpoints.of(name)
    (archive,) = source.files
    address = served.add(f"/{archive.file}", content)
    archive = replace(archive, url=(address,), sha256=hashlib.sha256(CONTENT).hexdigest()[:8], about=None)
    monkeypatch.setattr(checkpoints, "sources", lambda: {name: replace(source, files=(archive,))})
    return archive.file


@pytest.mark.parametrize("name", ["segformer_b2_cityscapes", "enet_training_void"])
def test_weights_are_fetched_by_name_and_verified_by_the_beginning_of_their_checksum(
    name, served, kept, monkeypatch, capsys
):
    file = offered(monkeypatch, served, name)
    assert main(["models", "fetch", name]) == 2 and not served.asked
    assert main(["models", "fetch", name, "--accept"]) == 0
    assert (kept / file).read_bytes() == CONTENT
    assert main(["models", "fetch", name]) == 0 and len(served.asked) == 1
    capsys.readouterr()
    (kept / file).unlink()
    offered(monkeypatch, served, name, b"other")
    assert main(["models", "fetch", name]) == 2 and not (kept / file).exists()
    assert f"wanted {hashlib.sha256(CONTENT).hexdigest()}" in capsys.readouterr().err


def test_a_checkpoint_of_another_beginning_is_refused(served, kept, monkeypatch, capsys):
    file = offered(monkeypatch, served, "segformer_b2_cityscapes", b"other")
    assert main(["models", "fetch", "segformer_b2_cityscapes", "--accept"]) == 2
    wrong, wanted = (hashlib.sha256(content).hexdigest() for content in (b"other", CONTENT))
    assert f"sha256 {wrong}, wanted {wanted[:8]}; put it" in capsys.readouterr().err.replace("); put", "; put")
    assert not (kept / file).exists()


def test_errors_about_missing_weights_name_the_command(kept, tmp_path):
    network = registry.build("model", "segformer_b2_cityscapes", {}, where="test")
    with pytest.raises(MissingData, match="fetch it: 'bench models fetch segformer_b2_cityscapes'"):
        network.check()
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "protocols: [anomaly]\ndatasets: [toytown: {split: anomaly}]\nmethods: [msp]\n"
        "models:\n  - enet: {label: a, weights: enet_training_void/model_best.pth}\n"
        "  - enet: {label: b, weights: mine.pth}\n"
    )
    advice = {cell.model.label: cell.model.obtain for cell in expansion.load(suite).cells}
    assert advice == {"a": "fetch it: 'bench models fetch enet_training_void'", "b": ""}
    command = checkpoints.command("swin_b_1dl.zip")
    assert command == "bench models fetch rba_swin_b_1dl" and checkpoints.command("mine.pth") == ""
    with pytest.raises(UnknownName, match="pebal"):
        checkpoints.of("pebel")


def test_every_entry_says_what_it_must():
    files = [archive.file for source in checkpoints.sources().values() for archive in source.files]
    assert len({*files}) == len(files)
    for name, source in checkpoints.sources().items():
        assert re.fullmatch("[a-z0-9_]+", name) and source.terms and source.page
        for archive in source.files:
            assert archive.url and all(re.fullmatch(r"https://[\w./?=-]+", address) for address in archive.url)
            ending = re.search(r"-([0-9a-f]{8})\.pth$", archive.file)
            assert not ending or archive.sha256 == ending[1], "OpenMMLab ends names with the beginning of the sha256"
    claims = (Path(expansion.__file__).parents[2] / "suites" / "course_anomaly.yaml").read_text(encoding="utf-8")
    for name in ("enet_training_void", "enet_training_void_ft"):
        (archive,) = checkpoints.of(name).files
        assert f"weights: {archive.sha256}\n" in claims and f"weights: {archive.file}" in claims


@pytest.mark.skipif(not SPECIFICATION.is_file(), reason="../shared/specs is not here: it holds the specification")
def test_addresses_of_methods_are_those_of_the_specification():
    text = SPECIFICATION.read_text(encoding="utf-8").split("## 3. ")[1].split("## 4. ")[0]
    for source in checkpoints.sources().values():
        for address in (address for archive in source.files for address in archive.url):
            if "drive.google.com" in address:
                assert address.rpartition("=")[2] in text
            elif "/RbA/" in address:
                assert "github.com/NazirNayal8/RbA/releases/download/model-weights/" in text
                assert re.search(rf"[{{,]{Path(address).stem}[}},]", text)
