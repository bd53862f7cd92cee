"""The tables of a report, as texts: the page and the terminal show the same ones."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stream_mtl.measures import Reading
from stream_mtl.watch.parts import Report, SnapshotRow, TaskReport
from stream_mtl.watch.words import DASH, count, known, moment, number, ratio, share

FATES = ("joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed", "waiting")
"""What becomes of a record; their sum is what was read."""

SHOWN_SNAPSHOTS = 12

NO_EXAMPLES = "no final label was told yet"

Tone: TypeAlias = Literal["", "good", "fair", "poor", "quiet"]


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column, what it means, and what stands there where room is short: None, then it is left out."""

    text: str
    meaning: str = ""
    short: str | None = ""  # "": the same


@dataclass(frozen=True, slots=True)
class TextCell:
    """What stands in a table, why, and how it is to be taken."""

    text: str
    why: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under heads; the first column names the row."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[TextCell]]


CALIBRATION = Column(
    "calibration", "predicted / observed: above 1 promises too much, below 1 too little", "calib."
)

_COMMON = (
    Column("task"),
    Column("examples", "exposures whose label is final"),
    Column("observed", "mean of what happened", "obs."),
    Column("predicted", "mean of what was promised", "pred."),
    CALIBRATION,
)
_LABEL_COLUMNS = (
    *_COMMON,
    Column("log loss", "mean surprise at what happened, in nats: less is better", None),
    Column("base rate's", "the log loss of someone who knows the observed rate and nothing else", None),
    Column("norm. entropy", "log loss / base rate's log loss: below 1 beats the base rate", "NE"),
    Column("AUC", "how often a positive is ranked above a negative: 0.5 is chance"),
    Column("ECE", "expected calibration error: mean distance of predicted and observed over groups"),
)
_VALUE_COLUMNS = (
    *_COMMON,
    Column("MAE", "mean absolute error"),
    Column("RMSE", "root of the mean squared error"),
    Column(
        "explained", "share of the variance that the predictions explain: 1 is all, 0 a constant's", "expl."
    ),
)


def without(table: Table, heads: Collection[str]) -> Table:
    """Return a table without some columns."""
    kept = [i for i, column in enumerate(table.columns) if column.text not in heads]
    return Table([table.columns[i] for i in kept], [[row[i] for i in kept] for row in table.rows])


def is_value(task: TaskReport) -> bool:
    """Return whether a task predicts a value, not a probability."""
    return "mean_absolute_error" in task.reading


def label_table(tasks: Sequence[TaskReport]) -> Table:
    """Return the quality of yes-or-no tasks."""
    rows = [
        [
            *_named(task, share),
            _cell(task.reading, "log_loss", number),
            _cell(task.reading, "base_log_loss", number),
            _entropy(task.reading),
            _cell(task.reading, "auc", number, "needs positives and negatives"),
            _cell(task.reading, "expected_calibration_error", share),
        ]
        for task in tasks
        if not is_value(task)
    ]
    return Table(_LABEL_COLUMNS, rows)


def value_table(tasks: Sequence[TaskReport]) -> Table:
    """Return the quality of value tasks."""
    rows = [
        [
            *_named(task, number),
            _cell(task.reading, "mean_absolute_error", number),
            _cell(task.reading, "root_mean_squared_error", number),
            _cell(task.reading, "explained", share, "all values are the same"),
        ]
        for task in tasks
        if is_value(task)
    ]
    return Table(_VALUE_COLUMNS, rows)


def accounts_table(report: Report) -> Table:
    """Return what became of the records of every kind."""
    heads = [Column("records"), Column("read", "the sum of the columns after it"), *map(_fate, FATES)]
    return Table(heads, [_account(kind, fates) for kind, fates in report.accounts.items()])


def snapshots_table(report: Report) -> Table:
    """Return the newest snapshots, the newest first."""
    tasks = list(dict.fromkeys(task for row in report.snapshots for task in row.calibration))
    heads = [
        Column("snapshot"),
        Column("learned up to", "event time, UTC"),
        Column("examples", "exposures that it served and whose label is final"),
        *(Column(f"{CALIBRATION.text} {task}", CALIBRATION.meaning, f"calib. {task}") for task in tasks),
    ]
    return Table(heads, [_snapshot(row, tasks) for row in reversed(report.snapshots[-SHOWN_SNAPSHOTS:])])


def tone_of(calibration: float | None) -> Tone:
    """Return how a calibration is to be taken: within 10 %, within 30 %, beyond."""
    if known(calibration) is None:
        return "quiet"
    off = max(calibration, 1 / calibration) if calibration and calibration > 0 else float("inf")
    return "good" if off <= 1.1 else "fair" if off <= 1.3 else "poor"


def calibration_cell(calibration: float | None, why: str) -> TextCell:
    """Return a calibration with its tone."""
    meanings = {
        "good": "within 10 % of what happened",
        "fair": "within 30 %",
        "poor": "off by more than 30 %",
    }
    tone = tone_of(calibration)
    return TextCell(ratio(calibration), meanings.get(tone, why), tone)


def _named(task: TaskReport, write: Callable[[float | None], str]) -> list[TextCell]:
    reading = task.reading
    return [
        TextCell(task.name, task.about),
        TextCell(count(reading.get("examples"))),
        _cell(reading, "observed", write),
        _cell(reading, "predicted", write),
        calibration_cell(reading.get("calibration"), "nothing was observed to compare with"),
    ]


def _cell(
    reading: Reading, name: str, write: Callable[[float | None], str], why: str = NO_EXAMPLES
) -> TextCell:
    value = known(reading.get(name))
    if value is None:
        return TextCell(DASH, why if reading.get("examples") else NO_EXAMPLES, "quiet")
    return TextCell(write(value))


def _entropy(reading: Reading) -> TextCell:
    entropy = known(reading.get("normalised_entropy"))
    if entropy is None:
        return _cell(reading, "normalised_entropy", ratio, "all labels are the same")
    beats = entropy < 1
    why = "beats the base rate" if beats else "the base rate alone does better"
    return TextCell(ratio(entropy), why, "good" if beats else "poor")


def _fate(fate: str) -> Column:
    short = {"duplicate": "dup.", "conflict": "confl.", "malformed": "malf."}
    return Column(fate, short=short.get(fate, ""))


def _account(kind: str, fates: Mapping[str, int]) -> list[TextCell]:
    read = sum(fates.get(fate, 0) for fate in FATES)
    return [TextCell(kind), TextCell(count(read)), *(_records(fates.get(fate, 0), read) for fate in FATES)]


def _records(records: int, read: int) -> TextCell:
    if not records:
        return TextCell("0", tone="quiet")
    return TextCell(count(records), f"{share(records / read)} of what was read")


def _snapshot(row: SnapshotRow, tasks: Sequence[str]) -> list[TextCell]:
    examples = TextCell(count(row.examples), "" if row.examples is not None else NO_EXAMPLES)
    calibrations = [
        calibration_cell(row.calibration.get(task), "too few final labels of what it served")
        for task in tasks
    ]
    return [TextCell(row.version), TextCell(moment(row.time)), examples, *calibrations]
