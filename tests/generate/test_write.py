"""Files hold the records in order of arrival, the truth beside them, and say how they are to be read."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest

from stream_mtl.config.load import load
from stream_mtl.errors import ConfigError
from stream_mtl.generate.command import generate_files
from stream_mtl.generate.faults import Breakage
from stream_mtl.generate.fields import KINDS, event_fields
from stream_mtl.generate.generated import Stream, generate
from stream_mtl.generate.options import PAIR_KEY, GeneratorOptions
from stream_mtl.generate.write import FileFormat, declarations, write
from stream_mtl.processes.replay import replay

FORMATS: tuple[FileFormat, ...] = ("avro", "jsonl", "csv")
OPTIONS = GeneratorOptions(impressions=4_000, ctr=0.2, cvr=0.4, malformed=0.02, slate=2)
SOUND = GeneratorOptions(impressions=2_500, ctr=0.2, cvr=0.4, malformed=0)


def avro_rows(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        rows: list[Any] = list(fastavro.reader(file))
    for row in rows:
        row["ts"] = round(row["ts"].timestamp() * 1000)
    return rows


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def csv_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def typed(row: dict[str, str], options: GeneratorOptions, kind: str) -> dict[str, Any]:
    """Return a CSV row with its values as they were."""
    read: dict[str, Callable[[str], Any]] = {
        "long": int,
        "double": float,
        "string": str,
        "array<string>": lambda text: text.split("|") if text else [],
    }
    return {name: read[type_](row[name]) for name, type_ in event_fields(options, kind).items()}


@pytest.mark.parametrize("format", FORMATS)
def test_the_files_in_name_order_hold_the_stream(tmp_path: Path, format: FileFormat) -> None:
    generated = generate(SOUND)
    write(generated, tmp_path, format, files=3)
    for kind, stream in generated.streams.items():
        paths = sorted((tmp_path / f"{kind}s").iterdir())
        assert [path.name for path in paths] == [f"{n:03d}.{format}" for n in range(3)]
        readers = {"avro": avro_rows, "jsonl": json_rows, "csv": csv_rows}
        rows = [row for path in paths for row in readers[format](path)]
        if format == "csv":
            rows = [typed(row, SOUND, kind) for row in rows]
        assert rows == stream.table.to_pylist()


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    tmp_path: Path, format: FileFormat
) -> None:
    def everything(folder: str, options: GeneratorOptions) -> dict[str, bytes]:
        write(generate(options), tmp_path / folder, format)
        root = tmp_path / folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}

    other = GeneratorOptions(impressions=4_000, seed=1)
    assert everything("a", OPTIONS) == everything("b", OPTIONS)
    differing = everything("c", OPTIONS), everything("d", other)
    assert all(differing[0][name] != differing[1][name] for name in differing[0])


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_taken_back_changes_no_other_file(tmp_path: Path, format: FileFormat) -> None:
    more = replace(OPTIONS, refund_rate=0.5, invalid_rate=0.5, looks=(60_000,))
    for folder, options in (("without", OPTIONS), ("with", more)):
        write(generate(options), tmp_path / folder, format)
    assert not (tmp_path / "without/refunds").exists()
    assert (tmp_path / "with/refunds" / f"000.{format}").stat().st_size > 5_000
    assert (tmp_path / "with/invalid_clicks" / f"000.{format}").stat().st_size > 5_000
    for kind in KINDS:
        paths = [tmp_path / folder / f"{kind}s/000.{format}" for folder in ("without", "with")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_one_file_holds_the_knobs_and_the_configuration_that_reads_what_they_make(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples/delayed.toml"
    accounts = generate_files(tmp_path, example, ["impressions=2000"], "avro", 1)
    overrides = ["tasks.cvr.method=oracle"]
    for config, given in ((example, overrides), (tmp_path / "config.toml", [])):
        replayed = replay(
            load(config, {}, given, tmp_path), tmp_path / "letters", lambda: False, lambda *_: None
        )
        for kind, counts in replayed.accounts.items():
            assert counts == {name: accounts[kind][name] for name in counts}


def broken(stream: Stream, *how: Breakage) -> list[int]:
    return np.flatnonzero(np.isin(stream.broken, how)).tolist()


def test_broken_lines_of_json_are_no_events(tmp_path: Path) -> None:
    generated = generate(OPTIONS)
    write(generated, tmp_path, "jsonl")
    lines = (tmp_path / "impressions" / "000.jsonl").read_text().splitlines()
    assert len(lines) == len(generated.impressions)
    for i, line in enumerate(lines):
        if i in broken(generated.impressions, Breakage.GARBAGE):
            with pytest.raises(json.JSONDecodeError):
                json.loads(line)
        else:
            row = json.loads(line)
            how = generated.impressions.broken[i]
            assert (row["ts"] == "soon") == (how == Breakage.TYPE)
            assert how == Breakage.TYPE or (row["ts"] < 0) == (how == Breakage.TIME)


def test_broken_lines_of_csv_are_no_events(tmp_path: Path) -> None:
    generated = generate(OPTIONS)
    write(generated, tmp_path, "csv")
    rows = csv_rows(tmp_path / "impressions" / "000.csv")
    assert len(rows) == len(generated.impressions)
    garbage = [i for i, row in enumerate(rows) if row["ts"] is None]
    assert garbage == broken(generated.impressions, Breakage.GARBAGE)
    assert [i for i, row in enumerate(rows) if row["ts"] == "soon"] == broken(
        generated.impressions, Breakage.TYPE
    )
    assert [i for i, row in enumerate(rows) if (row["ts"] or "").startswith("-")] == broken(
        generated.impressions, Breakage.TIME
    )


def test_the_truth_lies_beside_the_events(tmp_path: Path) -> None:
    generated = generate(OPTIONS)
    write(generated, tmp_path)
    assert pq.read_table(tmp_path / "truth" / "impressions.parquet").equals(generated.truth)
    assert json.loads((tmp_path / "truth" / "accounts.json").read_text()) == generated.accounts()


def test_partitions_are_folders_whose_files_hold_their_logs(tmp_path: Path) -> None:
    options = GeneratorOptions(impressions=3_000, partitions=3, malformed=0)
    generated = generate(options)
    said = write(generated, tmp_path)
    assert said["events"]["click"]["source"] == f"files:{tmp_path}/clicks"
    for partition in range(3):
        rows = avro_rows(tmp_path / "impressions" / str(partition) / "000.avro")
        assert rows == generated.impressions.of(partition).table.to_pylist()
        assert rows


def test_what_belongs_together_is_in_one_partition() -> None:
    for key in (("exposure_id",), PAIR_KEY):
        generated = generate(GeneratorOptions(impressions=5_000, partitions=5, ctr=0.3, cvr=0.5, key=key))
        homes: dict[Any, int] = {}
        for stream in generated.streams.values():
            keys = zip(*(stream.table[name].to_pylist() for name in key), strict=True)
            for place, partition in zip(keys, stream.partition.tolist(), strict=True):
                assert homes.setdefault(place, partition) == partition
        assert set(homes.values()) == set(range(5))


def test_a_folder_that_holds_events_is_left_alone(tmp_path: Path) -> None:
    generated = generate(GeneratorOptions(impressions=100))
    write(generated, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(ConfigError, match="is there already"):
        write(generate(GeneratorOptions(impressions=200)), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_format_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="avro, jsonl, csv"):
        write(generate(GeneratorOptions(impressions=10)), tmp_path, "xml")  # type: ignore[arg-type]


def test_the_declarations_say_what_is_joined() -> None:
    options = GeneratorOptions(key=PAIR_KEY, conversion_names_click=True, skew=1_500, skewed=0.1)
    said = declarations(options, "events")
    assert said["chain"] == {"key": ["user_id", "item_id"], "lateness": "2m", "remember": "1h"}
    for kind, event in said["events"].items():
        types = event_fields(options, kind)
        assert types.pop("ts") == "long" and event.pop("fields") == types
    assert said["events"]["impression"] == {
        "source": "files:events/impressions/*.avro",
        "time": "ts",
        "id": "exposure_id",
    }
    assert said["events"]["conversion"] == {
        "source": "files:events/conversions/*.avro",
        "time": "ts",
        "id": "conversion_id",
        "after": "click",
        "within": "7d",
        "skew": "1500ms",
        "parent": "click_id",
    }
    assert said["tasks"]["order_value"] == {"event": "conversion", "value": "amount", "given": "cvr"}
    assert said["features"]["recent_categories"] == {"type": "sequence"}
    assert "exposure_id" not in said["features"]
