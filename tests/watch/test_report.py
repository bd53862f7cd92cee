"""Reports: every part is optional, undefined values are dashes with a reason, and all three forms say the same."""

import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from stream_mtl.measures import BinarySums, reading
from stream_mtl.watch.early_table import tone_of_interval
from stream_mtl.watch.readings import Corrected, Maturity
from stream_mtl.watch.report import Early, Fact, Learning, NextStep, Report, TaskReport, as_plain, html, show
from stream_mtl.watch.tables import accounts_table, label_table, snapshots_table, tone_of, value_table
from stream_mtl.watch.words import DASH

from .sample import sample

VOID = {"meta", "br"}


class Tags(HTMLParser):
    """Finds out whether every tag is closed, and keeps the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def parsed(report: Report) -> Tags:
    tags = Tags()
    tags.feed(html(report))
    assert tags.open == []
    return tags


def printed(report: Report, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    tags = parsed(sample())
    assert tags.sources == []
    assert "url(" not in html(sample()) and "<script" not in html(sample())
    assert len(html(sample())) < 150_000


@pytest.mark.parametrize(
    "name", ["facts", "accounts", "tasks", "learning", "snapshots", "notes", "next_steps", "subtitle"]
)
def test_every_part_is_optional(name: str) -> None:
    empty: dict[str, object] = {"learning": None, "accounts": {}, "subtitle": ""}
    report = replace(sample(), **{name: empty.get(name, ())})  # type: ignore[arg-type]
    parsed(report)
    printed(report)
    as_plain(report)
    assert len(html(report)) < len(html(sample()))


def test_a_report_of_nothing_is_a_title() -> None:
    assert "only this" in parsed(Report("only this")).texts
    assert "only this" in printed(Report("only this"))


def test_texts_are_escaped() -> None:
    bad = '<script>alert("x")</script>'
    report = Report(
        bad,
        bad,
        [Fact(bad, bad, bad)],
        {bad: {"joined": 1}},
        [TaskReport(bad, bad, reading(BinarySums.nothing()))],
        Learning(1, 1, None, {bad: [(1, 0.5), (2, 0.4)]}),
        notes=[bad],
        next_steps=[NextStep(bad, bad)],
    )
    assert "<script" not in html(report)
    assert parsed(report).texts.count(bad) >= 8


def test_markup_of_the_terminal_in_texts_is_text() -> None:
    assert "[red]ctr[/red]" in printed(Report("x", notes=["[red]ctr[/red]"]))


def test_what_is_not_defined_is_a_dash_that_says_why() -> None:
    task = TaskReport("refund", "Refunds.", reading(BinarySums.nothing()))
    (row,) = label_table([task]).rows
    assert [cell.text for cell in row] == ["refund", "0", *[DASH] * 8]
    assert all(cell.why for cell in row[2:])
    tags = parsed(Report("x", tasks=[task]))
    assert "no final label was told yet" in tags.titles


def test_nothing_is_ever_not_a_number() -> None:
    broken = reading(BinarySums.nothing()) | {"examples": 3, "auc": float("nan"), "log_loss": float("inf")}
    report = Report(
        "x",
        tasks=[TaskReport("a", "b", broken)],
        learning=Learning(2, 2, None, {"a": [(1, float("nan")), (2, 1.0)]}),
    )
    assert "nan" not in "".join(parsed(report).texts).lower()
    assert "nan" not in printed(report).lower()
    json.dumps(as_plain(report), allow_nan=False)


def test_every_record_is_in_one_account_and_read_is_their_sum() -> None:
    rows = accounts_table(sample()).rows
    for row in rows:
        numbers = [int(cell.text.replace(",", "")) for cell in row[1:]]
        assert numbers[0] == sum(numbers[1:])
    assert [row[0].text for row in rows] == list(sample().accounts)


def test_what_is_not_final_stands_apart_and_says_so() -> None:
    for text in (html(sample()), printed(sample(), 160)):
        before, after = text.split("Not final yet", 1)
        assert "≈" not in before and "proxy:" not in before
        for part in ("≈ 1.020", "0.92 to 1.12", "2.040", "812", "84 %", "51 %", "2026-03-07 23:00"):
            assert part in after
    assert "not final" in "".join(parsed(sample()).titles)
    plain = as_plain(sample())["tasks"][0]["early"]
    assert (plain["proxy"]["maturity"], plain["corrected"]["maturity"]) == ("proxy", "corrected")


def test_a_report_of_final_labels_alone_says_nothing_of_others() -> None:
    task = replace(sample().tasks[0], early=None, early_curve=())
    assert "Not final" not in html(Report("x", tasks=[task])) + printed(Report("x", tasks=[task]))


def test_why_there_is_no_estimate_is_said() -> None:
    early = Early(0, Maturity(3, None, {}), why_not="12 events have a final label; 50 are needed")
    task = replace(sample().tasks[0], early=early)
    assert "12 events have a final label; 50 are needed" in parsed(Report("x", tasks=[task])).titles


def test_an_estimate_that_chance_explains_is_no_alarm() -> None:
    def estimate(low: float, value: float, high: float) -> Corrected:
        return Corrected(1, 0, value, low, high, 0.1, 0.1, 0.5, 90)

    assert tone_of_interval(estimate(0.9, 1.5, 2.4)) == "good"
    assert tone_of_interval(estimate(1.2, 1.5, 1.9)) == "fair"
    assert tone_of_interval(estimate(0.3, 0.5, 0.6)) == "poor"


def test_labels_and_values_have_their_own_tables() -> None:
    tasks = sample().tasks
    assert [row[0].text for row in label_table(tasks).rows] == ["ctr", "cvr", "joint.cvr", "refund"]
    assert [row[0].text for row in value_table(tasks).rows] == ["order_value"]


def test_the_newest_snapshots_come_first_and_the_rest_is_counted() -> None:
    rows = snapshots_table(sample()).rows
    assert [row[0].text for row in rows] == [str(n) for n in range(24, 12, -1)]
    assert "and 12 before them." in parsed(sample()).texts


@pytest.mark.parametrize(
    ("calibration", "tone"),
    [
        (1.0, "good"),
        (1.1, "good"),
        (0.91, "good"),
        (1.25, "fair"),
        (0.7, "poor"),
        (0.0, "poor"),
        (None, "quiet"),
    ],
)
def test_too_much_and_too_little_are_alike(calibration: float | None, tone: str) -> None:
    assert tone_of(calibration) == tone


def test_the_three_forms_say_the_same() -> None:
    page, text, plain = html(sample()), printed(sample()), as_plain(sample())
    auc = plain["tasks"][0]["reading"]["auc"]
    assert f"{auc:.4f}" in page and f"{auc:.4f}" in text
    assert plain["accounts"]["click"]["orphan"] == 17
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    for step in sample().next_steps:
        assert step.command in text and step.command in page


def test_the_terminal_keeps_to_its_width() -> None:
    assert max(map(len, printed(sample(), 80).splitlines())) <= 80
