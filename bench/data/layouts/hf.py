"""Synthetic scenes as parquet files of the Hugging Face hub, with a column of images and one of masks."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from bench.contract.dataset import Dataset
from bench.data.layouts.atomic_writer import Progress, anomaly_of, drawn, save_bytes, whole

NAME = "toytown/streets"  # on no hub


def write(dataset: Dataset, out: Path, *, progress: Progress | None = None) -> None:
    """Write ``toytown/streets/data/test-0000N-of-00002.parquet``: two files, structs of bytes and path, and ids."""
    import pyarrow as pa
    from pyarrow import parquet

    owner, _ = NAME.split("/")
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows: list[dict[str, object]] = []
    with whole(out, owner):
        for index, sample in drawn(dataset, progress):
            pictures = {"image": sample.image(), "mask": anomaly_of(sample)}
            encoded: dict[str, object] = {"name": f"street {index:03}"}
            for column, pixels in pictures.items():
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "png")
                encoded[column] = {"bytes": content.getvalue(), "path": f"{index}.png"}
            rows.append(encoded)
        half = (len(rows) + 1) // 2
        for number, part in enumerate((rows[:half], rows[half:])):
            table = pa.Table.from_pylist(part, pa.schema([("name", pa.string()), ("image", image), ("mask", image)]))
            content = io.BytesIO()
            parquet.write_table(table, content, row_group_size=3)
            save_bytes(out / NAME / "data" / f"test-{number:05}-of-00002.parquet", content.getvalue())
