"""Rows that arrive with their labels: what is declared, what their fields are told as, and what makes no sense."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stream_mtl.config import chain_spec, event_specs, file_formats, is_labelled, labels
from stream_mtl.connectors.files import FileSource
from stream_mtl.events.codec import Codec
from stream_mtl.events.types import Events, EventSpec, Limits, Malformed
from stream_mtl.join.spec import KindSpec, TaskSpec
from stream_mtl.label.plan import Plan
from stream_mtl.testing import ManualClock, drain
from tests.config.documents import BASE, loaded, problems
from tests.config.rows import ROWS, edited

RICH = 'where = { income = [">50K", ">50K."] }'
HOURS = 'value = "hours"'
ADULT = Path(__file__).parents[3] / "shared/data/adult"


def test_rows_of_one_kind_need_no_chain_and_no_time(tmp_path: Path) -> None:
    config = loaded(tmp_path, ROWS).config
    assert is_labelled(config) and config.chain is None
    assert not is_labelled(loaded(tmp_path, BASE).config)
    spec = chain_spec(config)
    assert (spec.key, spec.kinds) == ((), (KindSpec("row"),))
    assert spec.tasks == (
        TaskSpec("rich", "row"),
        TaskSpec("hours", "row", given="rich", value="hours"),
    )


def test_the_fields_of_labels_are_kept_with_the_type_of_what_they_are_compared_with(tmp_path: Path) -> None:
    text = edited((HOURS, "where = { hours = 40, married = true }"))
    (spec,) = event_specs(loaded(tmp_path, text).config)
    assert spec == EventSpec(
        kind="row",
        source=f"files:{tmp_path}/people.data.gz",
        time=None,
        fields={
            "income": "string",
            "hours": "long",
            "married": "boolean",
            "work-class": "string",
            "age": "double",
        },
        columns=("age", "work-class", "hours", "income", "married"),
        trim=True,
    )


def test_a_chain_and_a_time_may_still_be_given(tmp_path: Path) -> None:
    text = '[chain]\nkey = "age"\n' + edited(("trim = true", 'trim = true\ntime = "hours"'), (HOURS, RICH))
    config = loaded(tmp_path, text.replace('"string" }', '"string", age = "long" }')).config
    (spec,) = event_specs(config)
    assert (spec.time, spec.required, chain_spec(config).key) == ("hours", ("age",), ("age",))


def test_a_label_is_whether_the_field_has_one_of_the_values_and_unknown_where_it_is_null(
    tmp_path: Path,
) -> None:
    config = loaded(tmp_path, ROWS).config
    rows = pa.table({"income": [">50K", "<=50K", None, ">50K."], "hours": [1.5, None, 3.0, 4.0]})
    told = labels(config, rows)
    np.testing.assert_equal(told, {"rich": [1, 0, np.nan, 1], "hours": [1.5, np.nan, 3, 4]})
    assert all(label.dtype == np.float64 for label in told.values())


@pytest.mark.parametrize(
    ("where", "column", "expected"),
    [
        pytest.param("3", pa.array([3, 4, None]), [1, 0, np.nan], id="integer"),
        pytest.param("3", pa.array([3.0, 3.5, None]), [1, 0, np.nan], id="integer_among_doubles"),
        pytest.param("[1, 2.5]", pa.array([1.0, 2.5, 3.0]), [1, 1, 0], id="numbers"),
        pytest.param("true", pa.array([True, False, None]), [1, 0, np.nan], id="boolean"),
        pytest.param("[true, false]", pa.array([True, False, None]), [1, 1, np.nan], id="known_at_all"),
    ],
)
def test_a_label_may_be_read_from_any_plain_field(
    tmp_path: Path, where: str, column: pa.Array, expected: list[float]
) -> None:
    config = loaded(tmp_path, edited((RICH, f"where = {{ married = {where} }}"))).config
    rows = pa.table({"married": column, "hours": pa.nulls(len(column), pa.int64())})
    np.testing.assert_equal(labels(config, rows)["rich"], expected)


def test_several_fields_must_all_fit_and_all_be_known(tmp_path: Path) -> None:
    config = loaded(tmp_path, edited((RICH, 'where = { income = "a", married = true }'))).config
    rows = pa.table(
        {"income": ["a", "a", "b", None], "married": [True, False, True, False], "hours": [1, 2, 3, 4]}
    )
    np.testing.assert_equal(labels(config, rows)["rich"], [1, 0, 0, np.nan])


def test_what_a_given_task_means_for_them_is_the_plans_affair(tmp_path: Path) -> None:
    config = loaded(tmp_path, ROWS).config
    rows = pa.table({"income": [">50K", "<=50K"], "hours": [1.0, 2.0]})
    examples = Plan(chain_spec(config).tasks).label(labels(config, rows))
    assert examples.label.tolist() == [[1, 1], [0, 0]]
    assert examples.weight.tolist() == [[1, 1], [1, 0]]  # hours are asked of the rich only


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param(
            [(RICH, "")],
            'site.toml:8: tasks.rich: which field of "row" is the label? '
            'add where = { field = "its value" }, or value = "field" for a number',
            id="no_label",
        ),
        pytest.param(
            [(HOURS, f"{HOURS}\n{RICH}")],
            "site.toml:15: tasks.hours.where: is for labels, `value` for numbers; drop one of them",
            id="label_and_value",
        ),
        pytest.param(
            [(HOURS, 'how = "count"')],
            "site.toml:14: tasks.hours.how: is for several events, and a row is one; drop it",
            id="count_of_one_row",
        ),
        pytest.param(
            [(HOURS, f'{HOURS}\nhow = "sum"')],
            "site.toml:15: tasks.hours.how: is for several events, and a row is one; drop it",
            id="sum_of_one_row",
        ),
        pytest.param(
            [(RICH, f'{RICH}\nmethod = "fnw"')],
            "site.toml:11: tasks.rich.method: rows bring labels that are final, not late ones; drop it",
            id="method",
        ),
        pytest.param(
            [(RICH, f'{RICH}\nmethod = "wait:1m"')],
            "site.toml:11: tasks.rich.method: rows bring labels that are final, not late ones; drop it",
            id="wait",
        ),
        pytest.param(
            [("[features.age]", "[features.hours]")],
            'site.toml:17: features.hours: reads "hours", of which tasks.hours makes its label: the model '
            "would be told what it must predict; drop features.hours, or the task",
            id="feature_that_is_a_value",
        ),
        pytest.param(
            [('field = "work-class"', 'field = "income"')],
            'site.toml:20: features.work_class: reads "income", of which tasks.rich makes its label: the '
            "model would be told what it must predict; drop features.work_class, or the task",
            id="feature_that_is_a_label",
        ),
        pytest.param(
            [('event = "row"\nwhere', 'event = "rwo"\nwhere')],
            'site.toml:9: tasks.rich.event: there is no kind "rwo"; did you mean "row"?',
            id="unknown_kind",
        ),
        pytest.param(
            [(RICH, "where = { income = [] }")],
            "site.toml:10: tasks.rich.where.income: must not be empty; name at least one",
            id="no_value",
        ),
        pytest.param(
            [(RICH, 'where = { income = ["a", 1] }')],
            "site.toml:10: tasks.rich.where.income: must be of one kind: texts, numbers, or true and false",
            id="values_of_two_kinds",
        ),
        pytest.param(
            [(RICH, "where = { income = [[1]] }")],
            "site.toml:10: tasks.rich.where.income: must be a text, a finite number, true or false, "
            'like event_type = "view"',
            id="value_that_is_a_list",
        ),
        pytest.param(
            [('"string" }', '"string", income = "long" }')],
            'site.toml:10: tasks.rich.where: "income" is long in row, but must be string here; '
            "name another field",
            id="label_of_another_type",
        ),
        pytest.param(
            [(HOURS, 'value = "hour"')],
            'site.toml:14: tasks.hours.value: row has no column "hour"; did you mean "hours"?',
            id="label_that_is_no_column",
        ),
        pytest.param(
            [('field = "work-class"', 'field = "work_class"')],
            'site.toml:20: features.work_class: row has no column "work_class"; did you mean "work-class"?',
            id="feature_that_is_no_column",
        ),
        pytest.param(
            [("trim = true", 'trim = true\nafter = "row"')],
            "site.toml:1: events: no kind is the root; drop `after` from the one that opens an exposure",
            id="the_only_kind_follows",
        ),
    ],
)
def test_a_contradiction_of_rows_names_what_where_and_the_remedy(
    tmp_path: Path, edits: list[tuple[str, str]], expected: str
) -> None:
    assert expected in problems(tmp_path, edited(*edits))


def test_a_chain_needs_its_key_and_its_events_their_time(tmp_path: Path) -> None:
    without = BASE.replace('[chain]\nkey = "exposure_id"\n', "")
    assert problems(tmp_path, without) == [
        'site.toml: chain.key: this key is required; add key = "exposure_id"'
    ]
    assert problems(tmp_path, BASE.replace('clicks"\ntime = "ts"', 'clicks"')) == [
        'site.toml:10: events.click.time: this key is required; add time = "ts"'
    ]


def test_labels_of_a_chain_are_no_fields(tmp_path: Path) -> None:
    text = BASE.replace('event = "click"', 'event = "click"\nwhere = { x = 1 }')
    assert problems(tmp_path, text) == [
        "site.toml:25: tasks.ctr.where: is for rows that come with their labels; drop it "
        "(a kind has a `where` of its own)"
    ]


# from files to labels

LINES = """\
|1x3 Cross validator
39, State-gov, 40, <=50K, false

50, "Self, emp", 13, >50K., true
38,?,,,
"""


def test_a_file_of_rows_becomes_events_and_labels(tmp_path: Path) -> None:
    (tmp_path / "people.data").write_text(LINES)
    events, bad = read(tmp_path, ROWS.replace("people.data.gz", "people.data"))
    assert (events.position.tolist(), events.time.tolist()) == ([1, 3, 4], [1, 3, 4])
    assert events.fields.to_pydict() == {
        "income": ["<=50K", ">50K.", None],
        "hours": [40, 13, None],
        "work-class": ["State-gov", "Self, emp", "?"],
        "age": [39, 50, 38],
    }
    assert list(zip(bad.position, bad.reason, bad.value, strict=True)) == [
        (0, "wrong_columns", b"|1x3 Cross validator")
    ]
    config = loaded(tmp_path, ROWS).config
    np.testing.assert_equal(
        labels(config, pa.Table.from_batches([events.fields])),
        {"rich": [0, 1, np.nan], "hours": [40, 13, np.nan]},
    )


@pytest.mark.skipif(not ADULT.exists(), reason="the census rows are not here")
@pytest.mark.parametrize(("name", "rows"), [("adult.data.gz", 32_561), ("adult.test.gz", 16_281)])
def test_the_census_rows_are_read_as_they_are(tmp_path: Path, name: str, rows: int) -> None:
    example = (Path(__file__).parents[2] / "examples/adult.toml").read_text()
    events, _ = read(tmp_path, example.replace("files:adult.data.gz", f"files:{ADULT}/{name}"))
    assert len(events) == rows
    config = loaded(tmp_path, example).config
    told = labels(config, pa.Table.from_batches([events.fields]))
    assert np.isfinite(list(told.values())).all()
    assert 0.2 < told["income"].mean() < 0.3 < told["never_married"].mean() < 0.4


def read(folder: Path, text: str) -> tuple[Events, Malformed]:
    """Return the events of a configuration of rows, and what is none."""
    config = loaded(folder, text).config
    (spec,) = event_specs(config)
    files = FileSource(
        spec.source, spec.source.removeprefix("files:"), format=file_formats(config)[spec.source]
    )
    arrivals = [Codec([spec], Limits(), ManualClock(0)).decode(batch) for batch in drain(files, 1 << 30)]
    files.close()
    (only,) = arrivals
    (events,) = only.events
    return events, only.malformed
