"""The whole journey from event files to measures, beside the plain loop that only joins the same files."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import fastavro
import numpy as np

from stream_mtl.bench.joins import note, plain_times
from stream_mtl.bench.measure import Compared, Run, by_turns, peak_megabytes, timed
from stream_mtl.clock import system_clock
from stream_mtl.config.load import Loaded, load
from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.errors import StreamMtlError
from stream_mtl.generate.generated import Generated, generate
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.write import as_toml, declarations, write
from stream_mtl.join.log import PassingLog
from stream_mtl.join.store import MemoryStore
from stream_mtl.measures import count, observed
from stream_mtl.processes.bus import file_sources
from stream_mtl.processes.crew import Accounts
from stream_mtl.processes.declared import declared
from stream_mtl.processes.join import join_worker
from stream_mtl.processes.replay import Replayed, replay

Labels: TypeAlias = dict[str, tuple[int, int]]
"""By exposure id: clicked, converted."""


def bench_replay(impressions: int, rounds: int) -> Compared:
    """Write a market to files and replay them, by turns with the joins alone. Raises StreamMtlError."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        generated = market(folder, impressions)
        loaded = load(folder / "config.toml", {})
        ways: dict[str, Callable[[], Run[Any]]] = {
            "dict and fastavro": lambda: timed(partial(_plain_join, folder, generated.options)),
            "our join alone": lambda: timed(partial(_join, loaded, folder / "letters")),
            "the whole replay": lambda: timed(partial(_replay, loaded, folder / "letters")),
        }
        rates = by_turns(ways, impressions, rounds, partial(_check, generated))
    records = sum(map(len, generated.streams.values()))
    about = f"{impressions:,} impressions, {records:,} records in files"
    return Compared(about, "impressions", rates, peak_megabytes())


def market(folder: Path, impressions: int) -> Generated:
    """Write a market and its configuration. Nothing in it is broken or late: the plain loop could not say which."""
    options = GeneratorOptions(impressions=impressions, malformed=0, late=0, conflicts=0)
    generated = generate(options)
    write(generated, folder)
    (folder / "config.toml").write_text(as_toml(declarations(options, ".")))
    return generated


def _replay(loaded: Loaded, letters: Path) -> Replayed:
    return replay(loaded, letters, lambda: False, lambda *_: None)


def _join(loaded: Loaded, letters: Path) -> Accounts:
    """Join as a replay does, and let go of what is told."""
    made, log = declared(loaded), PassingLog()
    with join_worker(
        made, file_sources(made), log, MemoryStore(), JsonLinesSink(letters), system_clock
    ) as worker:
        worker.recover()
        while not worker.ended():
            worker.step()
            log.take()
        worker.finish()
        return worker.joiner.accounts()


def _plain_join(folder: Path, options: GeneratorOptions) -> Labels:
    """Read kind after kind with fastavro, into a dict of exposures; labels at the end."""
    exposures: dict[str, list[Any]] = {}  # exposure id -> [time, fields, click time, conversion time]
    for event in _records(folder / "impressions"):
        exposures.setdefault(event["exposure_id"], [event["ts"], event, None, None])
    for kind in ("clicks", "conversions"):
        for event in _records(folder / kind):
            known = exposures.get(event["exposure_id"])
            if known is not None:
                note(known, event, options.click_within, options.conversion_within)
    return {
        name: (int(click is not None), int(conversion is not None))
        for name, (_, _, click, conversion) in exposures.items()
    }


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            reader: Any = fastavro.reader(file)
            plain_times(reader.writer_schema)
            yield from reader


def _check(generated: Generated, name: str, found: Labels | Accounts | Replayed) -> None:
    if isinstance(found, Replayed):
        right = _same(found.accounts, generated) and _complete(found, generated)
    elif name == "our join alone":
        right = _same(found, generated)
    else:
        right = found == _true_labels(generated)
    if not right:
        raise StreamMtlError(f"{name}: what came out differs from the truth; this is a bug")


def _same(accounts: Mapping[str, Any], generated: Generated) -> bool:
    fates = {
        kind: {fate: n for fate, n in counts.items() if fate != "read"}
        for kind, counts in generated.accounts().items()
    }
    return dict(accounts) == fates


def _complete(replayed: Replayed, generated: Generated) -> bool:
    """Return whether what was measured is the truth, but for those whose windows outlast the stream."""
    for name in ("ctr", "cvr"):
        labels, sums = generated.truth.column(name).drop_null().to_numpy(), replayed.measures[name]
        missing = len(labels) - count(sums), float(np.sum(labels)) - observed(sums)
        if not all(0 <= number <= replayed.waiting for number in missing):
            return False
    return True


def _true_labels(generated: Generated) -> Labels:
    told = generated.truth.filter(generated.truth.column("ctr").is_valid())
    labels = (told.column(name).fill_null(0).to_pylist() for name in ("ctr", "cvr"))
    return dict(zip(told.column("exposure_id").to_pylist(), zip(*labels, strict=True), strict=True))
