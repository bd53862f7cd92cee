"""A generated stream: the records of each kind in order of arrival, and the truth about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.events.types import ARROW_TYPES
from stream_mtl.generate.faults import Fate, Records
from stream_mtl.generate.fields import AFTER, IDS, PURPOSES, TIME, event_fields
from stream_mtl.generate.market import Market
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.seeds import ids, random
from stream_mtl.generate.stories import Stories, live
from stream_mtl.generate.truth import truth_table, written

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Stream:
    """Records of one kind in order of arrival; the same order, of one partition, is its log.

    `table` has the fields that are written (`fields.event_fields`), of broken records too: what is wrong with
    their bytes is in `broken`, and only writing them makes it so.
    """

    kind: str
    table: pa.Table  # (n,)
    arrival: Ints  # (n,) ms
    partition: Ints  # (n,)
    fate: Bytes  # (n,) Fate: the account in which the record must end
    broken: Bytes  # (n,) Breakage

    def __len__(self) -> int:
        return len(self.arrival)

    def slice(self, begin: int, end: int) -> "Stream":
        """Return some records in a row, without a copy."""
        rows = slice(begin, end)
        return Stream(
            self.kind,
            self.table.slice(begin, max(end - begin, 0)),
            self.arrival[rows],
            self.partition[rows],
            self.fate[rows],
            self.broken[rows],
        )

    def of(self, partition: int) -> "Stream":
        """Return the log of one partition."""
        rows = np.flatnonzero(self.partition == partition)
        if len(rows) == len(self):
            return self
        columns = (self.arrival[rows], self.partition[rows], self.fate[rows], self.broken[rows])
        return Stream(self.kind, self.table.take(pa.array(rows)), *columns)

    def accounts(self) -> dict[str, int]:
        """Return how many records must be read, and how many end in each account; none is left waiting."""
        counts = np.bincount(self.fate, minlength=len(Fate))
        named = {fate.name.lower(): int(counts[fate]) for fate in Fate}
        return {"read": len(self), **named, "waiting": 0}


@dataclass(frozen=True, slots=True)
class Generated:
    """The streams, and the truth by exposure (`truth.truth_table`)."""

    options: GeneratorOptions
    streams: dict[str, Stream]  # by kind, the root first
    truth: pa.Table

    @property
    def impressions(self) -> Stream:
        """What is shown. Raises KeyError where clicks are the root."""
        return self.streams["impression"]

    @property
    def clicks(self) -> Stream:
        """What is clicked."""
        return self.streams["click"]

    @property
    def conversions(self) -> Stream:
        """What is ordered."""
        return self.streams["conversion"]

    def accounts(self) -> dict[str, dict[str, int]]:
        """Return, per kind, what every account must be when all has been read."""
        return {kind: stream.accounts() for kind, stream in self.streams.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in a row of the one order in which all kinds arrive.

    The i-th of a kind in `kinds` is row i of that kind's stream.
    """

    kinds: Bytes  # (n,) place in `streams`: by default, in KINDS
    arrival: Ints  # (n,) ms
    streams: Mapping[str, Stream]

    def __len__(self) -> int:
        return len(self.kinds)


def generate(options: GeneratorOptions, market: Market | None = None) -> Generated:
    """Return the stream of a seed: the same options give the same records, to the bit."""
    market = market or Market(options)
    stories = live(options, market)
    what = written(options, stories)
    streams = {}
    for kind, records in what.records.items():
        columns = _exposures if kind == options.root else _COLUMNS[kind]
        streams[kind] = _stream(options, kind, records, columns(options, market, stories, records))
    return Generated(options, streams, truth_table(options, stories, what))


def batches(options: GeneratorOptions, events_per_batch: int) -> Iterator[Batch]:
    """Yield the stream of a seed in order of arrival, all kinds interleaved, so many records at a time."""
    return in_batches(generate(options), events_per_batch)


def in_batches(generated: Generated, events_per_batch: int) -> Iterator[Batch]:
    """Yield a generated stream in order of arrival, all kinds interleaved, so many records at a time.

    What arrives in the same instant stands in order of kinds.
    """
    streams = generated.streams
    arrival = np.concatenate([stream.arrival for stream in streams.values()])
    order = np.argsort(arrival, kind="stable")
    lengths = [len(stream) for stream in streams.values()]
    kinds = np.repeat(np.arange(len(streams), dtype=np.int8), lengths)[order]
    arrival = arrival[order]
    at = np.zeros(len(streams), np.int64)
    for begin in range(0, len(kinds), events_per_batch):
        part = kinds[begin : begin + events_per_batch]
        ends = at + np.bincount(part, minlength=len(streams))
        slices = {kind: streams[kind].slice(int(at[i]), int(ends[i])) for i, kind in enumerate(streams)}
        yield Batch(part, arrival[begin : begin + events_per_batch], slices)
        at = ends


def _stream(
    options: GeneratorOptions, kind: str, records: Records, columns: Mapping[str, pa.Array]
) -> Stream:
    fields = event_fields(options, kind)
    schema = pa.schema([(name, ARROW_TYPES[type_]) for name, type_ in fields.items()])
    table = pa.table([columns[name] for name in fields], schema=schema)
    return Stream(kind, table, records.arrival, records.partition, records.fate, records.broken)


def _exposures(
    options: GeneratorOptions, market: Market, stories: Stories, records: Records
) -> dict[str, pa.Array]:
    exposures, rows = stories.exposures, records.exposure
    context = exposures.context.take(rows)
    columns = market.features(context, exposures.time[rows])
    price = columns["price"].to_numpy()
    columns["price"] = pa.array(np.where(records.changed, price + 1.0, price))
    if options.slate > 1:
        columns["request_id"] = ids(context.request, options.seed, "requests")
    return {**_id(options, options.root, rows), TIME: pa.array(records.time), **columns}


def _clicks(
    options: GeneratorOptions, market: Market, stories: Stories, records: Records
) -> dict[str, pa.Array]:
    place = random(options.seed, "screen").random(len(stories)).round(3)[records.exposure]
    screen = pa.array(np.where(records.changed, place + 1.0, place))
    return {**_follower(options, "click", stories, records), "screen_x": screen}


def _conversions(
    options: GeneratorOptions, market: Market, stories: Stories, records: Records
) -> dict[str, pa.Array]:
    amount = _changed(stories.value, records)
    return {**_follower(options, "conversion", stories, records), "amount": amount}


def _refunds(
    options: GeneratorOptions, market: Market, stories: Stories, records: Records
) -> dict[str, pa.Array]:
    amount = _changed(stories.given_back, records)
    return {**_follower(options, "refund", stories, records), "amount": amount}


def _invalid_clicks(
    options: GeneratorOptions, market: Market, stories: Stories, records: Records
) -> dict[str, pa.Array]:
    sure = random(options.seed, "confidence").uniform(0.5, 1.0, len(stories)).round(3)
    return {**_follower(options, "invalid_click", stories, records), "confidence": _changed(sure, records)}


_COLUMNS = {
    "click": _clicks,
    "conversion": _conversions,
    "refund": _refunds,
    "invalid_click": _invalid_clicks,
}


def _changed(values: Floats, records: Records) -> pa.Array:
    """Return the values of records; where their payload is another than at first, 1 more."""
    amount = values[records.exposure]
    return pa.array(np.where(records.changed, amount + 1.0, amount))


def _follower(
    options: GeneratorOptions, kind: str, stories: Stories, records: Records
) -> dict[str, pa.Array]:
    """Return what every record says that follows another: who it is, what it follows, and of which exposure."""
    context, rows = stories.exposures.context, records.exposure
    return {
        **_id(options, kind, rows),
        **_id(options, AFTER[kind], rows),
        **_id(options, options.root, rows),
        TIME: pa.array(records.time),
        "user_id": pa.array(context.user[rows]),
        "item_id": pa.array(context.item[rows]),
    }


def _id(options: GeneratorOptions, kind: str, rows: Ints) -> dict[str, pa.Array]:
    return {IDS[kind]: ids(rows, options.seed, PURPOSES[kind])}
