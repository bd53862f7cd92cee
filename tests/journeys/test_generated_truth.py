"""From event files to transitions: every count and every label is what the generator knows it must be."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stream_mtl.config.load import load
from stream_mtl.generate.command import generate_files
from stream_mtl.join.log import FileLog
from stream_mtl.join.transitions import Telling
from stream_mtl.processes.join import join

BUSY = ["impressions=8000", "seed=5", "ctr=0.2", "cvr=0.4", 'conversion_within="6h"', 'duration="12h"']
FAULTY = ["duplicates=0.05", "conflicts=0.02", "late=0.02", "missing=0.02", "malformed=0.01", "disorder=0.2"]
PAIRS = ['key=["user_id", "item_id"]', "returning=0.3", "hot_keys=3", "hot_share=0.05"]

WORLDS: dict[str, list[str]] = {
    "as it comes": [],
    "much goes wrong": FAULTY,
    "keys that come back": PAIRS,
    "keys that come back, and much goes wrong": [*PAIRS, *FAULTY],
    "clocks that differ": ['skew="30s"', "skewed=0.3", *FAULTY],
    "conversions that name their click": ["conversion_names_click=true", *FAULTY],
    "three partitions": ["partitions=3", *FAULTY],
    "the log ends in the middle": ["drain=false", *FAULTY],
    "short memory": ['remember="1m"', 'repeat_within="20s"', *FAULTY],
}


def joined(folder: Path, knobs: list[str], format: str = "avro") -> tuple[Any, Any]:
    """Generate and join; return what the accounts must be and what they are."""
    expected = generate_files(folder, None, [*BUSY, *knobs], format, files=2)
    accounts = join(load(folder / "config.toml", {}), stop=lambda: False)
    for counts in expected.values():
        counts.pop("read")
    return expected, accounts


@pytest.mark.parametrize("world", WORLDS)
def test_every_count_is_the_truth(world: str, tmp_path: Path) -> None:
    expected, accounts = joined(tmp_path / "market", WORLDS[world])
    assert accounts == expected


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_every_format_has_the_same_truth(format: str, tmp_path: Path) -> None:
    expected, accounts = joined(tmp_path / "market", FAULTY, format)
    assert accounts == expected


def test_every_label_is_the_truth(tmp_path: Path) -> None:
    joined(tmp_path / "market", FAULTY)
    told: dict[str, tuple[int | None, int | None, float | None]] = {}
    for _, transitions in FileLog(tmp_path / "market" / "log" / "0").read():
        keys = transitions.keys.column("exposure_id").to_pylist()
        for row in transitions.rows.to_pylist():
            if row["kind"] == Telling.FINAL:
                told[keys[row["row"]]] = (row["label.ctr"], row["label.cvr"], row["value.order_value"])
    truth = pq.read_table(tmp_path / "market" / "truth" / "impressions.parquet").to_pylist()
    expected = {row["exposure_id"]: (row["ctr"], row["cvr"], row["order_value"]) for row in truth}
    assert len(told) > 6_000
    assert told == {name: expected[name] for name in told}
