"""Published figures: what the tables hold, what is refused, and which rows stand beside which table."""

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.core.errors import BadPublished, UnknownName
from bench.report import published, published_text
from bench.report.published import COLUMNS, METRICS, Place
from bench.results import definitions
from bench.suite import expansion as suites
from bench.suite import registry

GOOD = {
    "method": "MSP",
    "variant": "",
    "backbone": "DeepLabV3+ ResNet-101",
    "retraining": "no",
    "ood_data": "no",
    "dataset": "Fishyscapes Static",
    "split": "test",
    "protocol": "fishyscapes",
    "metric": "ap",
    "title": "AP",
    "value": "12.88",
    "unit": "percent",
    "spread": "",
    "rule": "ap_step pooled",
    "definition": "step sum",
    "same_definition": "yes",
    "source": "a paper, table 4",
    "paper": "https://arxiv.org/abs/1610.02136",
    "date": "2023-05",
    "repeats": "",
    "note": "",
}
STATIC = {"name": "fishyscapes", "params": {"set": "static", "version": 3, "layout": "official", "frames": None}}
TRACK = {
    "name": "smiyc",
    "params": {"track": "RoadAnomaly21", "split": "validation", "layout": "official", "frames": None},
}


def table(*rows, columns=COLUMNS):
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerows([columns, *([row.get(name, "") for name in columns] for row in rows)])
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    def wrote(content):
        path = tmp_path / "mine.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return wrote


def only(**wanted):
    rows = [row for row in published.load() if all(getattr(row, name) == value for name, value in wanted.items())]
    assert rows, wanted
    return rows


def figures(**wanted):
    """Figures by metric, as they were printed."""
    return {row.metric: published_text.figure(row) for row in only(**wanted)}


# What the tables hold


def test_a_row_has_the_units_of_our_own_figures(write):
    (row,) = published.read(write(table(GOOD | {"spread": "0.4"})))
    assert (row.value, row.unit, row.digits, row.spread) == (0.1288, "rate", 2, 0.004)
    rate, whole, count = (
        published._number(text, unit, "value", "x:1")
        for text, unit in (("0.5644142747", "rate"), ("0.9", "rate"), ("1336", "count"))
    )
    assert (rate, whole, count) == ((0.5644142747, 8), (0.9, 0), (1336.0, 0))
    assert row.place == "mine.csv:2"


def test_the_tables_hold_what_their_sources_print():
    """One entry of each table, typed from the source once more."""
    fed = {"method": "FED-C", "variant": "TTA", "split": "val", "dataset": "Fishyscapes Lost & Found"}
    assert figures(**fed) == {"auroc": "99.11 +- 0.1", "ap": "56.11 +- 4.4", "fpr95": "3.87 +- 0.2"}
    assert figures(method="PEBAL", dataset="Fishyscapes Static", split="test") == {"ap": "92.38", "fpr95": "1.73"}
    board = only(method="Maximized Entropy", dataset="RoadObstacle21")
    assert {row.metric: round(row.value, 4) for row in board if row.unit == "rate"} == {
        **{"ap": 0.8507, "fpr95": 0.0075, "best_f1": 0.7961, "siou": 0.4787, "ppv": 0.6264, "mean_f1": 0.4851},
        **{"f1_25": 0.5986, "f1_50": 0.4971, "f1_75": 0.3318},
    }
    counts = {row.metric: row.value for row in board if row.unit == "number"}
    assert counts == {"fn_25": 136, "fn_50": 177, "fn_75": 247, "fp_25": 202, "fp_50": 250, "fp_75": 321}
    p2a = {"method": "RbA", "source": "README of P2A (ICPR 2024)", "dataset": "Fishyscapes Static"}
    assert figures(**p2a) == {"auroc": "98.96", "ap": "75.43", "fpr95": "3.52"}
    assert figures(method="EAM", dataset="RoadAnomaly") == {"ap": "69.40", "fpr95": "7.70"}
    val = {"method": "Maskomaly", "split": "val", "dataset": "RoadAnomaly21"}
    assert figures(**val) == {"ap": "94.09", "fpr95": "3.40", "siou": "80.07", "ppv": "44.86", "mean_f1": "63.60"}


def test_every_figure_of_the_collected_tables_is_there(shared):
    """Against the collections that the tables were made from: no figure was lost and none was added."""
    fed = (shared / "specs" / "fed.md").read_text()
    texts = {row.place.partition(":")[0]: [] for row in published.load()}
    for row in published.load():
        texts[row.place.partition(":")[0]].append(row)

    def cells(text, start, stop):
        lines = [line for line in text[text.index(start) : text.index(stop)].splitlines() if line.startswith("|")][2:]
        return sorted(re.findall(r"(?<![\w.-])[0-9]+\.[0-9]+", " ".join(line.split("|", 2)[2] for line in lines)))

    wanted = [*cells(fed, "### 6.1", "### 6.4"), "86.6", "74.5", "54.3"]
    printed = [figure for row in texts["fed.csv"] for figure in published_text.figure(row).split(" +- ")]
    assert sorted(printed) == sorted(wanted)
    board = (shared / "data" / "published" / "smiyc_leaderboard.csv").read_text().splitlines()
    names = {"area_PRC": "ap", "tpr95_fpr": "fpr95", "sIoU_gt": "siou", "prec_pred": "ppv", "f1_mean": "mean_f1"}
    there = {
        (line["method"], names.get(name, name), float(text))
        for line in csv.DictReader(board)
        for name, text in line.items()
        if name not in ("track", "method", "requires_ood_data", "paper", "code")
    }
    ours = {(row.method, row.metric, row.value) for row in texts["smiyc_board.csv"]}
    assert there - ours == {("UEM", "f1_50", 50.0)} and ours <= there
    lists = (shared / "specs" / "leaderboards.md").read_text()
    quoted = cells(lists, "Public validation from the P2A README", "The SynthCP row")
    assert sorted(published_text.figure(row) for row in texts["fishyscapes.csv"]) == quoted
    mixed = lists[lists.index("### C.4") : lists.index("---", lists.index("### C.4"))].partition("\n")[2]
    assert sorted(map(published_text.figure, texts["road_anomaly.csv"])) == sorted(re.findall(r"[0-9]+\.[0-9]+", mixed))
    tracks = {"RoadAnomaly21": cells(lists, "### C.1", "### C.2"), "RoadObstacle21": cells(lists, "### C.2", "### C.3")}
    of_fed = [figure for figure in cells(fed, "### 6.3", "### 6.4") if figure in tracks["RoadObstacle21"]]
    for dataset, collected in tracks.items():
        mine = [row for row in texts["smiyc_papers.csv"] if (row.dataset, row.split) == (dataset, "test")]
        left_out = Counter(collected) - Counter(map(published_text.figure, mine))
        assert Counter(map(published_text.figure, mine)) <= Counter(collected), dataset
        # What is not here stands in fed.csv, or is an sIoU of predictions in the column of PPV.
        older = {"4.41", "6.40", "5.67", "6.78", "23.40", "27.55", "41.35"} if dataset == "RoadObstacle21" else set()
        assert set(left_out) <= older | (set(of_fed) if older else set()), dataset


def test_what_a_row_repeats_is_there():
    """The figure of the origin, rounded as it was copied; twice rounded at worst."""
    rows = published.load()
    copies = [row for row in rows if row.repeats]
    assert len(copies) > 200
    for copy in copies:
        same = [
            row.value
            for row in rows
            if row.source.startswith(copy.repeats)
            and (row.dataset, row.split, row.metric) == (copy.dataset, copy.split, copy.metric)
        ]
        # READMEs pad a figure of one digit with a zero.
        step = 10.0 ** -(copy.digits - (copy.digits > 1 and f"{100 * copy.value:.2f}".endswith("0"))) / 100
        assert min(abs(value - copy.value) for value in same) <= 0.555 * step, copy


def test_names_are_those_of_our_protocols():
    protocols = registry.available("protocol")
    for name, metrics in METRICS.items():
        assert set(metrics) <= set(protocols[name].metrics), name
        for metric in metrics:
            assert (protocols[name].metrics[metric].unit == "number") == (metric in published.COUNTS)
    assert set(published.RULES) <= set(definitions.RULES)
    assert set(published.POOLINGS) <= set(definitions.POOLINGS)
    titles = {"fpr95": "FPR95", "ap": "AP", "auroc": "AUROC"}
    for row in published.load():
        assert not row.rule or definitions.RULES[row.rule.split()[0]].metric == titles[row.metric]


def test_metrics_that_count_as_one_are_defined_in_the_same_words():
    protocols = registry.available("protocol")
    for same in published._SAME:
        assert len({protocols[name].metrics[metric].definition for name, metric in same.items()}) == 1, same
    assert protocols["fed_anomaly"].metrics["ap"].definition != protocols["anomaly"].metrics["ap"].definition
    assert all("fed_anomaly" not in same for same in published._SAME if set(same.values()) & {"ap", "fpr95"})


def test_no_row_claims_more_than_its_source_says():
    for row in published.load():
        assert row.same_definition == "yes" or row.note
        if not row.stated:
            assert row.same_definition == "unknown", row
        if row.source.startswith("SegmentMeIfYouCan board"):
            assert (row.same_definition, row.date) == ("unknown", "2026-04-08")
        if row.protocol == "fed_anomaly" and row.same_definition == "yes":
            assert row.method.startswith("FED")


# What stands beside a table


def test_every_official_data_set_of_the_shipped_suites_has_its_place():
    places = {}
    for name, path in suites.shipped().items():
        for cell in suites.load(path).cells:
            if not (cell.dataset.corruption and cell.dataset.corruption.name not in ("snow", "fog")):
                places.setdefault(name, set()).add(published.place_of(cell.dataset.spelled()))
    assert all(found == {None} for name, found in places.items() if name.startswith("toytown") or name == "demo")
    validation = {
        *(Place("RoadAnomaly21", "val"), Place("RoadObstacle21", "val"), Place("RoadAnomaly", "test")),
        *(Place("Fishyscapes Lost & Found", "val"), Place("Fishyscapes Static", "val"), Place("Cityscapes", "val")),
    }
    assert places["anomaly_val"] == validation
    corrupted = {Place("Cityscapes-C", "val", "fog"), Place("Cityscapes-C", "val", "snow")}
    assert places["cityscapes_c_fed"] == corrupted | {Place("Cityscapes", "val")}
    # testNoKnown is SegmentMeIfYouCan's; nobody whose figures are here counts all label ids of the whole test split
    assert places["lost_and_found"] == {Place("LostAndFound no known", "test"), None}
    assert places["lost_and_found_meta"] == {Place("LostAndFound", "test")}
    assert None in places["fishyscapes_c"] and Place("Fishyscapes Static", "val") in places["fishyscapes_c"]


@pytest.mark.parametrize(
    "params",
    [
        {"frames": 8},
        {"version": 1},
        {"layout": "side_by_side"},
        {"class_map": {"road": "road"}},
        {"corruption": {"name": "fog", "severity": 2}},
    ],
    ids=str,
)
def test_what_is_not_the_official_data_has_no_published_figure(params):
    assert published.place_of(STATIC) == Place("Fishyscapes Static", "val")
    changed = STATIC | {"params": STATIC["params"] | params}
    assert published.place_of(changed) is None
    assert published.beside("fishyscapes", changed) == []


def test_rows_of_the_same_split_come_first_and_those_of_another_are_told_apart():
    rows = published.beside("fishyscapes", STATIC)
    splits = [row.split for row in rows]
    assert splits == sorted(splits, reverse=True) and set(splits) == {"val", "test"}
    assert {row.dataset for row in rows} == {"Fishyscapes Static"}
    (server,) = (row for row in rows if row.method == "SynBoost" and row.split == "test" and row.metric == "ap")
    assert (server.value, server.same_definition, server.retraining, server.ood_data) == (0.7259, "yes", "no", "yes")


def test_figures_of_another_definition_say_so():
    """FlowEneDet's AP is a trapezoid, its FPR95 interpolated, its AUROC everybody's."""
    own = {"method": "FED-U", "variant": "TTA", "split": "val"}

    def marks(protocol):
        rows = published.beside(protocol, STATIC)
        mine = [row for row in rows if all(getattr(row, name) == value for name, value in own.items())]
        return {row.metric: (row.same_definition, row.value) for row in mine}, mine

    assert marks("fed_anomaly")[0] == {"auroc": ("yes", 0.983), "ap": ("yes", 0.666), "fpr95": ("yes", 0.0894)}
    for protocol in ("fishyscapes", "anomaly"):
        found, rows = marks(protocol)
        assert found == {"auroc": ("yes", 0.983), "ap": ("no", 0.666), "fpr95": ("no", 0.0894)}
        (ap,) = (row for row in rows if row.metric == "ap")
        assert ap.note.startswith("made by the definition of fed_anomaly: ood-metrics: trapezoids")
    found, _ = marks("entropy_max")
    assert found["auroc_exact"] == ("yes", 0.983) and found["ap"] == ("no", 0.666) and "auroc" not in found
    assert marks("misclassification")[0] == marks("miou")[0] == {}


def test_the_table_of_all_definitions_has_each_figure_in_its_own_column():
    rows = published.beside("definitions", TRACK)
    metrics = registry.available("protocol")["definitions"].metrics
    assert (
        {row.metric for row in rows} == {"ap_step pooled", "fpr95_first pooled", "fpr95_strict pooled"} <= set(metrics)
    )
    (strict,) = (row for row in rows if row.metric == "fpr95_strict pooled")
    assert (strict.method, strict.value, strict.same_definition) == ("DenseHybrid", 0.5071, "yes")
    trapezoids = [row for row in published.beside("definitions", STATIC) if row.metric == "ap_trapezoid pooled"]
    assert len(trapezoids) == 6 and {row.same_definition for row in trapezoids} == {"yes"}


def test_the_rows_of_one_line_of_a_table_stand_together():
    lines = published.entries(published.beside("fed_anomaly", STATIC))
    (mine,) = (line for line in lines if line[0].method == "FED-C" and line[0].variant == "TTA" and len(line) == 3)
    assert {row.metric: row.value for row in mine} == {"auroc": 0.9688, "ap": 0.5261, "fpr95": 0.1491}
    assert all(len({row.metric for row in line}) == len(line) for line in lines)


def test_a_figure_without_a_stated_definition_stays_unknown_beside_every_protocol():
    for protocol in ("fed_anomaly", "fishyscapes", "anomaly"):
        rows = [row for row in published.beside(protocol, STATIC) if row.method == "MSP" and row.split == "val"]
        assert {row.metric: row.same_definition for row in rows}["ap"] == "unknown"


def test_the_board_stands_beside_the_validation_frames_as_another_split():
    rows = published.beside("smiyc_anomaly", TRACK)
    board = [row for row in rows if row.source.startswith("SegmentMeIfYouCan board")]
    assert {row.split for row in board} == {"test"} and len(board) == 47 * 15
    assert {row.method for row in rows if row.split == "val"} == {
        *("Maskomaly", "DenseHybrid", "Mask2Anomaly", "RPL + CoroCL"),
    }
    # A quantile sketch is not the exact ranking, and exact rankings have no components.
    exact = [row for row in published.beside("anomaly", TRACK) if row.source.startswith("SegmentMeIfYouCan board")]
    assert {row.metric for row in exact} == {"ap", "fpr95", "best_f1"}
    assert {row.same_definition for row in exact} == {"no"}
    components = published.beside("components", TRACK)
    assert {row.metric for row in components} == {"siou", "ppv", "mean_f1"}
    assert {row.same_definition for row in components} == {"no"}


def test_rows_that_repeat_others_are_listed_but_stand_beside_nothing():
    listed = only(repeats="SegmentMeIfYouCan board", dataset="RoadAnomaly21")
    assert listed and not any(row.repeats for row in published.beside("smiyc_anomaly", TRACK))


def test_a_corrupted_cityscapes_has_the_published_means():
    def of(name):
        params = {"split": "val", "frames": None, "corruption": {"name": name, "severity": 2, "order": "bgr"}}
        rows = published.beside("open_miou", {"name": "cityscapes", "params": params})
        return {row.corruption: row.value for row in rows}

    assert of("snow") == {"*": 0.745, "snow": 0.543}
    assert of("fog") == {"*": 0.745}
    clean = published.beside("open_miou", {"name": "cityscapes", "params": {"split": "val", "frames": None}})
    assert [(row.corruption, row.value) for row in clean] == [("", 0.866)]


# What is refused

FORMULAS = ["=1+1", '=HYPERLINK("x")', "+1", "-1", "@SUM(A1)"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"value": "12,88"}, r"mine\.csv:3: value is '12,88', wanted plain digits such as 27\.97; what is missing has"),
        ({"value": ""}, r"value is empty"),
        ({"value": "-"}, r"value is '-', which a spreadsheet"),
        ({"value": "nan"}, r"value is 'nan', wanted plain digits"),
        ({"value": "1e1"}, r"value is '1e1', wanted plain digits"),
        ({"value": "١٢"}, r"value is '١٢', wanted plain digits"),
        ({"value": "100.01"}, r"value is 100\.01, wanted at most 100 as percent"),
        ({"value": "1.01", "unit": "rate"}, r"value is 1\.01, wanted at most 1 as rate"),
        ({"unit": "count"}, r"ap is no count"),
        ({"unit": "%"}, r"unit is '%', wanted percent or rate or count"),
        ({"spread": "+-1"}, r"spread is '\+-1', which a spreadsheet"),
        ({"spread": "0,1"}, r"spread is '0,1', wanted plain digits"),
        ({"dataset": "Fishyscapes"}, r"dataset is 'Fishyscapes', wanted Cityscapes or "),
        ({"split": "train"}, r"split is 'train', wanted val or test"),
        ({"dataset": "Cityscapes-C", "split": "test"}, r"split is 'test', wanted val$"),
        ({"protocol": "fishy"}, r"protocol is 'fishy', wanted anomaly or "),
        ({"metric": "siou"}, r"metric is 'siou', wanted auroc or ap or fpr95"),
        ({"retraining": "maybe"}, r"retraining is 'maybe', wanted yes or no or unknown"),
        ({"same_definition": "no"}, r"same_definition is no, but note does not say why"),
        ({"rule": "ap_step"}, r"rule is 'ap_step', wanted nothing or such as 'ap_step pooled'"),
        ({"rule": "ap pooled"}, r"rule is 'ap pooled', wanted nothing"),
        ({"source": ""}, r"source is empty; a figure without it says nothing"),
        ({"paper": "javascript:alert(1)"}, r"paper is 'javascript:alert\(1\)', wanted an address"),
        ({"paper": 'https://x"onclick="y'}, r"wanted an address that begins with https"),
        ({"date": "2023-13"}, r"date is '2023-13', wanted 2021, 2021-10 or 2021-10-31"),
        ({"date": "2023-02-30"}, r"date is '2023-02-30'"),
        ({"date": "May 2023"}, r"date is 'May 2023'"),
        ({"method": "a\nb"}, r"method is 'a\\nb', wanted at most 600 printable characters on one line"),
        ({"method": " =1"}, r"method is ' =1', wanted .* without spaces around"),
        ({"note": "x" * 601}, r"note is 'x+', wanted at most 600"),
        ({"note": "\x1b[31mred"}, r"note is '\\x1b\[31mred', wanted .* printable"),
        ({"note": "a\u202eb"}, r"note is .* printable"),
        *(({"note": text}, r"note is .*, which a spreadsheet takes for a formula; reword it") for text in FORMULAS),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_cell_is_refused_in_one_line_with_its_place(write, changed, said):
    with pytest.raises(BadPublished, match=said) as refused:
        published.read(write(table(GOOD, GOOD | changed)))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (table(GOOD, columns=COLUMNS[:-1]), r"first line is not the columns .*; missing: 'note'"),
        (table(GOOD, columns=(*COLUMNS, "colour")), r"unknown: 'colour'"),
        (table(GOOD, columns=COLUMNS[::-1]), r"their order is another"),
        ("", r"missing: 'method'"),
        (table(GOOD).replace("MSP,", "MSP,,", 1), r"mine\.csv:2: 22 cells, wanted 21; quote a cell that holds a comma"),
        (table(GOOD) + "\n", r"mine\.csv:3: 0 cells"),
        (table(GOOD) + '"', r"mine\.csv:\d: no CSV"),
        (table(GOOD).encode() + b"\xff", r"is not UTF-8: .* at byte"),
        (table(GOOD).encode("utf-16"), r"is not UTF-8"),
        (b"PK\x03\x04" + bytes(40), r"first line is not the columns|no CSV"),
        (b"a" * (published.LARGEST + 1), r"bytes, wanted at most 8388608"),
        (table(GOOD) + "x" * 200_000, r"no CSV: field larger than field limit"),
    ],
    ids=range(12),
)
def test_a_file_that_is_no_table_is_refused(write, content, said):
    with pytest.raises(BadPublished, match=said):
        published.read(write(content))


def test_a_table_saved_by_a_spreadsheet_is_read(write):
    """A byte order mark, line ends of Windows, everything quoted."""
    quoted = "\r\n".join('"' + '","'.join(cells) + '"' for cells in ([*COLUMNS], [GOOD[name] for name in COLUMNS]))
    (row,) = published.read(write(b"\xef\xbb\xbf" + quoted.encode()))
    assert replace(row, place="") == replace(published.read(write(table(GOOD)))[0], place="")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=st.sampled_from(COLUMNS), text=st.text(max_size=30))
def test_whatever_a_cell_holds_it_is_refused_or_within_its_range(write, column, text):
    try:
        (row,) = published.read(write(table(GOOD | {column: text}).encode("utf-8", "surrogatepass")))
    except BadPublished as refused:
        assert "\n" not in str(refused)
        return
    assert 0 <= row.value <= 1 and (row.spread is None or 0 <= row.spread <= 1)
    assert all(str(getattr(row, name)).isprintable() for name in published_text.AXES)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_refused_or_read(write, content):
    try:
        published.read(write(table().encode() + content))
    except BadPublished as refused:
        assert "\n" not in str(refused)


def test_tables_of_ones_own_are_read_and_the_same_figure_twice_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "plugins" / "published"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BENCH_PLUGINS", str(tmp_path / "plugins"))
    (folder / "mine.csv").write_text(table(GOOD | {"method": "Mine", "dataset": "Fishyscapes Static"}))
    before = len(published.load())
    assert [row.method for row in published.beside("fishyscapes", STATIC) if row.place == "mine.csv:2"] == ["Mine"]
    published._load.cache_clear()
    (folder / "mine.csv").write_text(table(GOOD, GOOD | {"value": "13"}))
    with pytest.raises(BadPublished, match=r"mine\.csv:3: the same figure of the same source stands in mine\.csv:2"):
        published.load()
    published._load.cache_clear()
    assert before > 2000


# What is printed


def test_the_listing_is_read_back_as_it_was(write):
    rows = published.load()
    again = published.read(write(published_text.table(rows)))
    assert len(again) == len(rows)
    for one, other in zip(rows, again, strict=True):
        assert replace(one, place="") == replace(other, place=""), one.place


@pytest.mark.parametrize("width", [40, 100])
def test_the_listing_fits_a_terminal_and_marks_what_cannot_be_compared(width):
    rows = published_text.chosen(published.load(), {"dataset": "Fishyscapes Static"})
    lines = published_text.lines(rows, width)
    assert max(map(len, lines)) <= width
    text = re.sub(r"\s+", " ", " ".join(lines))
    assert "FED-U, SegFormer-B2: AuROC 96.84 +- 0.1, AP 55.93 +- 0.7, FPR95 17.15 +- 0.9" in text
    assert "SynthCP, DeepLabV3+ ResNet-101: AuROC 89.90?, AP 23.22?, FPR95 34.02?" in text
    assert "PEBAL, DeepLabV3+ WideResNet-38: AP 92.38, FPR95 1.73 (retrained, OoD data)" in text
    val = published_text.chosen(published.load(), {"method": "DenseHybrid", "split": "val", "source": "*author"})
    assert "DenseHybrid: AP 86.5! (OoD data)" in "\n".join(published_text.lines(val, 100))


def test_globs_that_match_nothing_and_columns_that_are_none_are_refused():
    with pytest.raises(UnknownName, match=r"--only: unknown column 'datasets'; did you mean 'dataset'"):
        published_text.chosen(published.load(), {"datasets": "*"})
    with pytest.raises(BadPublished, match=r"no published figure has split=train; there are test, val"):
        published_text.chosen(published.load(), {"split": "train"})


def test_the_command_prints_lines_records_and_a_table(capsys, tmp_path):
    chosen = ["list", "published", "--only", "method=RbA,dataset=RoadAnomaly,source=collected*"]
    assert main(chosen) == 0
    assert "RbA: AP 85.42?, FPR95 6.92?" in capsys.readouterr().out
    assert main([*chosen, "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == 1 and [row["value"] for row in said["published"]] == [0.8542, 0.0692]
    assert main([*chosen, "--format", "csv"]) == 0
    (tmp_path / "out.csv").write_text(capsys.readouterr().out)
    assert [row.value for row in published.read(tmp_path / "out.csv")] == [0.8542, 0.0692]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["suites", "--bibtex"], "bench: --bibtex: suites name no source; ask for methods, "),
        (["methods", "--only", "name=msp"], "bench: --only and --format are for published figures"),
        (["published", "--only", "msp"], "bench: --only: 'msp' must be AXIS=GLOB"),
    ],
)
def test_options_of_another_listing_are_refused(argv, said, capsys):
    assert main(["list", *argv]) == 2
    assert capsys.readouterr().err.startswith(said)


def test_the_tables_of_the_docs_count_the_rows():
    text = (Path(__file__).parents[2] / "docs" / "published.md").read_text(encoding="utf-8")
    said = {name: int(count) for name, count in re.findall(r"^\| `(\w+\.csv)` \| (\d+) \|", text, re.M)}
    counted = {}
    for row in published.load():
        name = row.place.partition(":")[0]
        counted[name] = counted.get(name, 0) + 1
    assert said == counted
    columns = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", text, re.M)))
    assert tuple(columns) == COLUMNS
