"""Rows of many images: the same arrays, whether they lie in memory or in a file."""

from __future__ import annotations

import io
import pickle
import sys

import numpy as np
import pytest

from bench.core import kept_rows, npz
from bench.core.kept_rows import KeptRows, RowFile
from bench.core.rows import Pieces, pack_filed_rows, pack_rows, unpack_rows
from bench.core.values import Row


def rows_of(number: int) -> dict[str, Row]:
    dice = np.random.default_rng(number)
    rows: dict[str, Row] = {}
    for index in range(number):
        size = int(dice.integers(0, 2000))
        rows[f"image {index:03}"] = {
            "bins": np.sort(dice.integers(0, 2**32, size, np.uint64)).astype(np.uint64 if index == 5 else np.uint32),
            "bin_counts": dice.integers(0, 9, (size, 2)).astype(np.uint32),
            "bin_bits": np.array(16, np.uint8),
            "figure": np.array(dice.random()),
        }
    return rows


def equal(one: Row, other: Row) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


@pytest.fixture
def filed(monkeypatch: pytest.MonkeyPatch) -> KeptRows:
    """Rows of 20 images, all but the last few in a file."""
    monkeypatch.setattr(kept_rows, "LIMIT", 1 << 15)
    kept = KeptRows()
    kept.update(rows_of(20))
    return kept


def test_rows_in_a_file_are_those_that_were_kept(filed: KeptRows) -> None:
    rows = rows_of(20)
    assert 0 < sum(map(kept_rows.is_filed, filed.values())) < 20
    assert list(filed) == list(rows) == list(filed.sealed())
    for sample, row in rows.items():
        assert equal(filed[sample], row)
        assert equal(filed.sealed()[sample], row)
        assert equal(pickle.loads(pickle.dumps(filed[sample])), row)  # noqa: S301 - our own
        for name, array in row.items():
            assert kept_rows.described(filed[sample], name) == (array.shape, array.dtype)
            assert not filed.sealed()[sample][name].flags.writeable


def test_what_joins_a_row_in_the_file_takes_the_place_of_what_it_had(filed: KeptRows) -> None:
    sample, more = "image 000", {"alarms": np.arange(400), "bins": np.arange(3, dtype=np.uint32)}
    assert kept_rows.is_filed(filed[sample])
    filed.join(sample, more)
    assert equal(filed[sample], {**rows_of(20)[sample], **more})
    filed.join("new", more)
    assert equal(filed["new"], more)
    del filed["new"]
    assert len(filed) == 20


def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "LIMIT", 1 << 16)
    kept, array = KeptRows(), np.arange(2000)
    for index in range(200):
        kept[str(index)] = {"bins": array + index}
    held = [row for row in kept.values() if not kept_rows.is_filed(row)]
    assert sum(row["bins"].nbytes for row in held) <= 1 << 16
    assert all(sys.getsizeof(row) < 1000 for row in kept.values())
    assert np.array_equal(kept["17"]["bins"], array + 17)


def test_protocols_that_keep_the_same_array_have_one_copy_of_it() -> None:
    file, array = RowFile(), np.arange(1000)
    assert file.add(array) == file.add(array) != file.add(array.copy())


def test_rows_in_a_file_are_packed_in_pieces_into_the_same_file(filed: KeptRows) -> None:
    rows = rows_of(20)
    packed, pieces = pack_rows(rows), pack_filed_rows(filed.sealed())
    assert isinstance(pieces["row.bins"], Pieces)
    whole, streamed = io.BytesIO(), io.BytesIO()
    npz.write(whole, {"replicates.ap": np.arange(9.0), **packed}, "replicates.")
    npz.write(streamed, {"replicates.ap": np.arange(9.0), **pieces}, "replicates.")
    assert streamed.getvalue() == whole.getvalue()
    with np.load(io.BytesIO(streamed.getvalue()), allow_pickle=False) as archive:
        back = unpack_rows(list(rows), {name: archive[name] for name in archive.files if name.startswith("row.")})
    assert all(np.array_equal(back[sample][name], rows[sample][name]) for sample in rows for name in rows[sample])


def test_rows_in_memory_are_packed_whole() -> None:
    assert not any(isinstance(array, Pieces) for array in pack_filed_rows(rows_of(3)).values())
