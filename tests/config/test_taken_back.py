"""What is taken back, as it is declared: what it becomes for the join, and what makes no sense."""

from pathlib import Path

import pytest

from stream_mtl.config.chains import chain_spec
from stream_mtl.config.load import examine

CONFIG = """
[chain]
key = "exposure_id"

[events.impression]
source = "kafka:impressions"
time = "ts"
id = "exposure_id"

[events.click]
source = "kafka:clicks"
time = "ts"
after = "impression"
within = "30m"

[events.conversion]
source = "kafka:conversions"
time = "ts"
id = "conversion_id"
after = "click"
within = "7d"

[events.refund]
source = "kafka:refunds"
time = "ts"
after = "conversion"
within = "14d"
parent = "conversion_id"

[tasks.ctr]
event = "click"

[tasks.cvr]
event = "conversion"
given = "ctr"

[tasks.kept]
event = "refund"
given = "cvr"
absent = true

[tasks.net]
event = "conversion"
value = "amount"
how = "sum"
less = "refund.amount"

[features.x]
type = "categorical"
"""
RETRACTS = ('parent = "conversion_id"\n', 'parent = "conversion_id"\nretracts = true\n')
NO_KEPT = ('[tasks.kept]\nevent = "refund"\ngiven = "cvr"\nabsent = true\n', "")


def read(folder: Path, *edits: tuple[str, str]) -> tuple[object, list[str]]:
    text = CONFIG
    for old, new in edits:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "site.toml"
    path.write_text(text)
    loaded, problems = examine(path, {}, ())
    return (None if loaded is None else loaded.config), problems


def test_a_step_that_may_not_come_and_a_sum_less_what_is_given_back(tmp_path: Path) -> None:
    config, problems = read(tmp_path)
    assert problems == []
    spec = chain_spec(config)  # type: ignore[arg-type]
    assert [(task.name, task.absent, task.less, task.unsure) for task in spec.tasks] == [
        ("ctr", False, None, False),
        ("cvr", False, None, False),
        ("kept", True, None, False),
        ("net", False, ("refund", "amount"), False),
    ]


def test_a_refund_takes_its_conversion_back(tmp_path: Path) -> None:
    config, problems = read(tmp_path, RETRACTS, NO_KEPT)
    assert problems == []
    spec = chain_spec(config)  # type: ignore[arg-type]
    assert {task.name: task.retracted for task in spec.tasks} == {"ctr": False, "cvr": True, "net": False}


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ((RETRACTS,), 'tasks.kept.given: "refund" takes back the event of "cvr"'),
        ((('id = "exposure_id"\n', 'id = "exposure_id"\nretracts = true\n'),), "means nothing for the root"),
        ((('within = "30m"\n', 'within = "30m"\nretracts = true\n'),), "an exposure cannot be taken back"),
        (
            (RETRACTS, NO_KEPT, ('within = "7d"\n', 'within = "7d"\nretracts = true\n')),
            '"conversion" itself takes back',
        ),
        (
            (RETRACTS, NO_KEPT, ('less = "refund.amount"\n', "")),
            'tasks.net: "refund" takes back events that the value would still hold',
        ),
        (
            (RETRACTS, ('after = "conversion"', 'after = ["conversion", "click"]')),
            "takes back events of one kind",
        ),
        ((('"refund.amount"', '"refund"'),), "names no field"),
        ((('"refund.amount"', '"click.amount"'),), 'no kind "click" follows "conversion" alone'),
        ((('how = "sum"\n', ""),), "is subtracted from a sum"),
        ((('given = "cvr"\n', 'given = "cvr"\nvalue = "amount"\n'),), "is for labels, not for values"),
        (
            (("[features.x]", '[tasks.more]\nevent = "refund"\ngiven = "kept"\n\n[features.x]'),),
            '"kept" is known at the end of its window only',
        ),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, edits: tuple[tuple[str, str], ...], said: str) -> None:
    _, problems = read(tmp_path, *edits)
    assert any(said in problem for problem in problems), problems
