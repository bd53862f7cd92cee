"""From what a demo left behind to its report: what was served, whether it was right, and what the truth would have scored."""

from collections.abc import Iterator

from stream_mtl.clock import Millis
from stream_mtl.generate.live import Truth
from stream_mtl.measures import BINARY, VALUE, Group
from stream_mtl.processes.bus import accounts_of
from stream_mtl.processes.declared import declared
from stream_mtl.processes.demo import Demo
from stream_mtl.processes.summary import abouts
from stream_mtl.publish.snapshot import Manifest
from stream_mtl.publish.store import SnapshotFolder
from stream_mtl.watch.board import window_name
from stream_mtl.watch.early_table import early_of
from stream_mtl.watch.history import EarlyLine, read_history, read_latest
from stream_mtl.watch.readings import LIFE, OutputReadings, Reading, Readings
from stream_mtl.watch.report import EarlyPoint, Fact, NextStep, Point, Report, SnapshotRow, TaskReport


def report_of_demo(demo: Demo, seconds: float) -> Report:
    """Return the report of a demo that has ended."""
    config = demo.loaded.config
    readings = read_latest(config.watch.path)
    store = SnapshotFolder(config.publish.path)
    manifests = [store.manifest(version) for version in store.versions()]
    return Report(
        title="A marketplace that learned while it ran",
        subtitle=f"{seconds:.0f} s of real time; event time ran 300 times as fast. Everything is what was served, over HTTP.",
        facts=list(_facts(demo, manifests)),
        accounts=accounts_of(config),
        tasks=[] if readings is None else list(_tasks(demo, readings)),
        snapshots=[] if readings is None else _snapshots(readings, manifests),
        notes=list(_notes(demo, readings)),
        next_steps=_next_steps(demo),
    )


def _facts(demo: Demo, manifests: list[Manifest]) -> Iterator[Fact]:
    ranked, unranked = demo.population.ranked, demo.population.unranked
    yield Fact("Shown", f"{ranked.shown + unranked.shown:,}", f"{ranked.shown:,} of them ranked by the model")
    if manifests:
        learned = manifests[-1].learned
        yield Fact("Learned", f"{learned.examples:,}", f"examples, in snapshot {manifests[-1].version}")
    if ranked.shown and unranked.shown:
        yield Fact(
            "Clicked",
            f"{ranked.clicks / ranked.shown:.1%}",
            f"of what the model ranked; {unranked.clicks / unranked.shown:.1%} in any order",
        )


def _tasks(demo: Demo, readings: Readings) -> Iterator[TaskReport]:
    lessons = declared(demo.loaded).plan.lessons
    about = abouts(lessons)
    history = read_history(demo.loaded.config.watch.path)
    window = window_name(min(demo.loaded.config.watch.windows))
    for name, output in readings.outputs.items():
        if LIFE not in output.views:
            continue
        curve = [
            Point(entry.told_before, values(entry.outputs[name][window]))
            for entry in history
            if window in entry.outputs.get(name, {})
        ]
        yield TaskReport(
            name,
            f"{about[name]} As it was served, over the run.",
            values(output.views[LIFE]),
            curve,
            _groups(output),
            early_of(output, window),
            [_early_point(entry.told_before, entry.early[name]) for entry in history if name in entry.early],
        )
        if window in output.views:
            text = f"{name}, the last {window} of event time only."
            yield TaskReport(f"{name}, last {window}", text, values(output.views[window]))


def values(reading: Reading) -> dict[str, float | None]:
    """Return a reading as the report has it: the values of its kind of task."""
    names = BINARY if reading.log_loss is not None else VALUE
    return {name: getattr(reading, name) for name in names}


def _early_point(time: Millis, entry: EarlyLine) -> EarlyPoint:
    corrected, proxy = entry.corrected, entry.proxy
    return EarlyPoint(
        time,
        None if proxy is None else proxy.calibration,
        None if corrected is None else corrected.calibration,
        None if corrected is None else (corrected.low, corrected.high),
    )


def _groups(output: OutputReadings) -> list[Group]:
    return [Group(point.count, point.predicted, point.observed) for point in output.reliability]


def _snapshots(readings: Readings, manifests: list[Manifest]) -> list[SnapshotRow]:
    known = {str(manifest.version): manifest.learned for manifest in manifests}
    versions = list(dict.fromkeys(v for output in readings.outputs.values() for v in output.snapshots))
    rows = []
    for version in versions[-12:]:
        learned = known.get(version)
        calibration = {
            name: output.snapshots[version].calibration if version in output.snapshots else None
            for name, output in readings.outputs.items()
        }
        rows.append(
            SnapshotRow(
                version, learned.upto if learned else None, learned.examples if learned else None, calibration
            )
        )
    return rows


def _notes(demo: Demo, readings: Readings | None) -> Iterator[str]:
    best = _best(demo.population.ranked)
    if best is not None:
        yield (
            f"Clicks are chance. Whoever knew the true probability of each, within its window, would have had a log loss of "
            f"{best:.4f} on what was ranked: that is the best there is."
        )
    if readings is None:
        yield "The run was too short for a label to come; let it go on for a minute."
    if demo.population.unanswered:
        yield f"{demo.population.unanswered:,} visitors came before the first snapshot, and saw the candidates in any order."


def _best(truth: Truth) -> float | None:
    return truth.entropy / truth.shown if truth.shown else None


def _next_steps(demo: Demo) -> list[NextStep]:
    config = demo.config
    return [
        NextStep(
            "Serve what was learned, and score a request", f"stream-mtl run serve {config} -X serve.port=8080"
        ),
        NextStep("", example_request("http://127.0.0.1:8080")),
        NextStep("See the snapshots", f"stream-mtl snapshots list {config}"),
        NextStep(
            "Replay the recorded events with another model",
            f"stream-mtl replay {config} -X model.relation=esmm",
        ),
        NextStep("Let it live longer", "stream-mtl demo --seconds 300"),
    ]


def example_request(address: str) -> str:
    """Return a command that scores two candidates."""
    body = (
        '{"shared": {"user_id": 7, "device": "phone", "country": "DE"}, '
        '"candidates": [{"item_id": 3, "category": "category-1"}, {"item_id": 4, "price": 9.5}]}'
    )
    return f"curl -s {address}/score -d '{body}'"
