"""From what a replay came to, to the report that is printed and written."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from stream_mtl.clock import Millis
from stream_mtl.config.labels import is_labelled
from stream_mtl.config.units import format_duration
from stream_mtl.label.plan import Lesson
from stream_mtl.measures import BinarySums, Group, Sums, count, equal_mass, reading
from stream_mtl.processes.bus import absent_scores
from stream_mtl.processes.replay import Replayed
from stream_mtl.watch.report import Fact, Learning, NextStep, Point, Report, TaskReport

LEAST = 50
"""Examples of an interval below which its values are too rough to be drawn."""


def report_of(replayed: Replayed, title: str, config: Path) -> Report:
    """Return the report of a replay."""
    return Report(
        title=title,
        subtitle=_subtitle(replayed),
        facts=_facts(replayed),
        accounts=replayed.accounts,
        tasks=[*_tasks(replayed), *_served(replayed)],
        learning=Learning(
            steps=replayed.tally.steps,
            examples=replayed.tally.examples,
            rows_per_second=replayed.tally.examples / replayed.seconds,
            losses=replayed.losses,
        ),
        notes=list(_notes(replayed)),
        next_steps=_next_steps(replayed, config),
    )


def _subtitle(replayed: Replayed) -> str:
    config = replayed.made.config
    model = (
        config.model.name
        if config.model.relation == "independent"
        else f"{config.model.name}, {config.model.relation}"
    )
    methods = ", ".join(f"{name}: {task.method}" for name, task in config.tasks.items() if task.value is None)
    span = ""
    if replayed.span is not None and not is_labelled(config):
        span = f"{_utc(replayed.span[0])} to {_utc(replayed.span[1])} UTC. "
    return f"{span}Model {model}; labels {methods}."


def _facts(replayed: Replayed) -> list[Fact]:
    records = sum(_total(counts) for counts in replayed.accounts.values())
    root = replayed.accounts.get(replayed.made.chain.root.name, {})
    what = "rows" if is_labelled(replayed.made.config) else "exposures"
    return [
        Fact("Records read", f"{records:,}", f"{_total(root):,} of them {what}"),
        Fact("Examples learned", f"{replayed.tally.examples:,}", f"in {replayed.tally.steps:,} steps"),
        Fact("Time", f"{replayed.seconds:.1f} s", f"{replayed.cpu_seconds:.1f} CPU s"),
        Fact(
            "Speed",
            f"{records / max(replayed.cpu_seconds, 1e-9):,.0f}",
            "records per CPU second, joined and learned",
        ),
    ]


def _total(counts: Mapping[str, int]) -> int:
    return sum(count for fate, count in counts.items() if fate != "read")


def _tasks(replayed: Replayed) -> Iterator[TaskReport]:
    joint = {lesson.name for lesson in replayed.made.plan.lessons if lesson.joint}
    for name, about in abouts(replayed.made.plan.lessons).items():
        sums = replayed.measures[name]
        yield TaskReport(
            name=name,
            about=about + " Predicted when it was shown, before anything was learned of it.",
            reading=reading(sums),
            curve=_curve(name, replayed.intervals),
            reliability=_groups(sums, replayed.made.config.watch.bins),
        )
        later = reading(replayed.later[name])
        if name not in joint and 0 < (later["examples"] or 0) < count(sums):
            yield TaskReport(f"{name}, 2nd half", f"{name}, about the second half of the run only.", later)


def _served(replayed: Replayed) -> Iterator[TaskReport]:
    """Give the readings of the scores that were served when the events were recorded."""
    if replayed.served is None:
        return
    for name, ledger in replayed.served.ledgers.items():
        values = reading(ledger.life)
        if values["examples"]:
            about = f"{name}, as it was served when the events were recorded."
            yield TaskReport(f"{name}, as served", about, values, reliability=_groups(ledger.life, 10))


def abouts(lessons: Sequence[Lesson]) -> dict[str, str]:
    """Return a sentence about every output."""
    out = {}
    for lesson in lessons:
        task = lesson.task
        given = f" given {task.given}" if task.given else ""
        if task.regression:
            out[task.name] = f"The {task.how} {task.value or 'number'} of {task.event}{given}."
            continue
        out[task.name] = f"The probability of {task.event}{given}."
    for lesson in lessons:
        if lesson.joint:
            chain = " and ".join([*lesson.path, lesson.task.name])
            out[lesson.name] = f"The probability of {chain} together, over all exposures."
    return out


def _curve(name: str, intervals: Sequence[tuple[Millis, Mapping[str, Sums]]]) -> list[Point]:
    points = [Point(time, reading(sums[name])) for time, sums in intervals]
    return [point for point in points if (point.reading["examples"] or 0) >= LEAST]


def _groups(sums: Sums, bins: int) -> list[Group]:
    return equal_mass(sums, bins) if isinstance(sums, BinarySums) else []


def _notes(replayed: Replayed) -> Iterator[str]:
    if replayed.stopped:
        yield "This replay was stopped before the end of the events."
    absent = absent_scores(replayed.made)
    if absent is not None:
        yield f"No file matches {absent}: there are no served scores here to be measured."
    if replayed.waiting:
        yield (
            f"{replayed.waiting:,} exposures wait for a label that the log does not tell any more: their windows end "
            "behind it. They are not in the numbers above."
        )
    if replayed.tally.bad:
        yield f"{replayed.tally.bad:,} rows were left out of learning: a number in them was not finite."
    if replayed.tally.skipped:
        yield f"{replayed.tally.skipped:,} steps were skipped: their gradient was not finite."
    if any(lesson.joint for lesson in replayed.made.plan.lessons):
        yield (
            "Products (joint.*) are counted once the last label of their time is in: before that, misses alone would be known."
        )
    windows = {kind.name: kind.within for kind in replayed.made.chain.kinds if kind.within is not None}
    if windows:
        yield (
            "Windows: "
            + ", ".join(f"{name} within {format_duration(span)}" for name, span in windows.items())
            + "."
        )


def _next_steps(replayed: Replayed, config: Path) -> list[NextStep]:
    steps = [
        NextStep(
            "See every value of the configuration, and where it comes from",
            f"stream-mtl config show {config} --origin",
        )
    ]
    labels = [name for name, task in replayed.made.config.tasks.items() if task.value is None]
    if not is_labelled(replayed.made.config) and labels:
        steps.append(
            NextStep(
                "Try another way of treating late labels",
                f"stream-mtl replay {config} -X tasks.{labels[-1]}.method=fnw",
            )
        )
    steps.append(
        NextStep(
            "Compare with plain logistic regression", f"stream-mtl replay {config} -X model.name=logistic"
        )
    )
    return steps


def _utc(time: Millis) -> str:
    return datetime.fromtimestamp(time / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
