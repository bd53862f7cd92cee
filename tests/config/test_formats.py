"""Files whose names do not say how they are read: what a configuration says of them, and what makes no sense."""

from pathlib import Path

import pytest

from stream_mtl.config import file_formats
from stream_mtl.connectors.folders import FileFormat
from tests.config import documents, rows
from tests.config.documents import loaded, problems

FILES = 'source = "files:events/impressions/*.avro"\ntime = "ts"'
SOURCE = 'source = "files:people.data.gz"'
FORMAT = 'format = "csv"\n'
COLUMNS = 'columns = ["age", "work-class", "hours", "income", "married"]\n'


def test_each_source_of_files_is_read_as_its_kinds_say(tmp_path: Path) -> None:
    assert file_formats(loaded(tmp_path, rows.ROWS).config) == {
        f"files:{tmp_path}/people.data.gz": FileFormat("csv", header=False)
    }
    assert file_formats(loaded(tmp_path, documents.BASE).config) == {
        f"files:{tmp_path}/events/impressions/*.avro": FileFormat()
    }


@pytest.mark.parametrize(("written", "encoding"), [("jsonl", "json"), ("avro", "avro-container")])
def test_every_format_can_be_said(tmp_path: Path, written: str, encoding: str) -> None:
    text = rows.edited((FORMAT, f'format = "{written}"\n'), (COLUMNS, ""), ("trim = true", ""))
    (found,) = file_formats(loaded(tmp_path, text).config).values()
    assert found == FileFormat(encoding)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            [(FORMAT, 'format = "cvs"\n')],
            'site.toml:3: events.row.format: "cvs" is no choice; did you mean "csv"?',
            id="unknown",
        ),
        pytest.param(
            [(SOURCE, 'source = "files:a.jsonl"')],
            'site.toml:3: events.row.format: the files are named for another format ("a.jsonl"); '
            "drop it, or rename them",
            id="other_than_the_name",
        ),
        pytest.param(
            [(FORMAT, 'format = "jsonl"\n')],
            "site.toml:4: events.row.columns: is for CSV files only; drop it",
            id="columns_of_json",
        ),
        pytest.param(
            [(SOURCE, 'source = "files:a.avro"'), (FORMAT, ""), (COLUMNS, "")],
            "site.toml:3: events.row.trim: is for CSV files only; drop it",
            id="trim_of_avro",
        ),
        pytest.param(
            [(SOURCE, 'source = "kafka:rows"')],
            'site.toml:3: events.row.format: a topic cannot be "csv"; write json or avro or confluent-avro',
            id="format_of_a_topic",
        ),
        pytest.param(
            [(COLUMNS, 'columns = ["age", "work-class", "hours", "income", "hours"]\n')],
            "site.toml:4: events.row.columns: names a column twice; rename one of them",
            id="column_twice",
        ),
        pytest.param(
            [(COLUMNS, 'columns = ["age", "work-class", "hours", "income", ""]\n')],
            "site.toml:4: events.row.columns: holds an empty name; name every column",
            id="column_without_a_name",
        ),
        pytest.param(
            [("trim = true", 'trim = true\ntime = "tme"')],
            'site.toml:6: events.row.time: no column is named "tme"; '
            "known: age, work-class, hours, income, married",
            id="time_that_is_no_column",
        ),
        pytest.param(
            [("trim = true", "trim = true\nwhere = { hour = 3 }")],
            'site.toml:6: events.row.where: no column is named "hour"; did you mean "hours"?',
            id="where_that_is_no_column",
        ),
        pytest.param(
            [("trim = true", 'trim = true\ntime_format = "%Y"')],
            "site.toml:6: events.row.time_format: means nothing without `time`; add it, or drop this",
            id="format_of_no_time",
        ),
    ],
)
def test_a_contradiction_of_formats_names_what_where_and_the_remedy(
    tmp_path: Path, edits: list[tuple[str, str]], expected: str
) -> None:
    assert expected in problems(tmp_path, rows.edited(*edits))


@pytest.mark.parametrize(
    "option", ['format = "csv"', 'columns = ["ts", "exposure_id", "type"]', "trim = true"]
)
def test_kinds_of_one_source_must_be_read_alike(tmp_path: Path, option: str) -> None:
    shared = 'source = "files:log"\ntime = "ts"\nwhere = {{ type = "{}" }}'
    click = ('source = "kafka:clicks"\ntime = "ts"', shared.format("click") + f"\n{option}")
    text = documents.edited((FILES, shared.format("view")), click)
    key = option.split(" ")[0]
    expected = (
        f'site.toml:15: events.click.{key}: differs from that of "impression", which has the same source; '
        "make them the same"
    )
    assert expected in problems(tmp_path, text)
