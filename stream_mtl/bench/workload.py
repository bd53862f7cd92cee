"""The stream that joins are measured on: framed Avro in order of arrival, and what must come out of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stream_mtl.clock import DAY, MINUTE, Millis
from stream_mtl.connectors.base import Format, Records
from stream_mtl.errors import ConfigError
from stream_mtl.events.types import EventSpec
from stream_mtl.generate.fields import IDS, KINDS, TIME, avro_schema, event_fields
from stream_mtl.generate.fields import chain_spec as generated_chain
from stream_mtl.generate.generated import Generated, generate, in_batches
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.wire import frames
from stream_mtl.generate.workload import performance_workload
from stream_mtl.join.spec import ChainSpec, TaskSpec

Framed = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Records in one buffer: (data, starts, ends)."""

LOOK: Millis = 15 * MINUTE

WINDOWS: Mapping[str, tuple[Millis, Millis]] = {"24h": (DAY, DAY), "30m+7d": (30 * MINUTE, 7 * DAY)}
"""click.within and conversion.within, by the name that `--windows` knows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is declared of the stream: enough to read it."""

    options: GeneratorOptions
    chain: ChainSpec
    specs: list[EventSpec]
    schemas: dict[int, str]  # by the id in the frames

    @property
    def life(self) -> Millis:
        """How long after the last event the last window closes."""
        return sum(kind.within or 0 for kind in self.chain.kinds)


@dataclass(frozen=True, slots=True)
class Workload:
    """Batches of raw records, one `Records` a kind and batch, and the truth."""

    generated: Generated
    batches: list[list[Records]]
    order: list[np.ndarray]  # of each batch: the kind (place in KINDS) of each record, in order of arrival
    chain: ChainSpec
    specs: list[EventSpec]
    schemas: dict[int, str]  # by the id in the frames
    events: int


def plan(impressions: int, windows: str = "24h", early: bool = True) -> Plan:
    """Declare the stream. With `early`, looks and corrections are told beside the finals. Raises ConfigError."""
    if windows not in WINDOWS:
        raise ConfigError(f'there are no windows "{windows}"; choose one of {", ".join(WINDOWS)}')
    click, conversion = WINDOWS[windows]
    options = replace(performance_workload(impressions), click_within=click, conversion_within=conversion)
    waits = (LOOK,) if early else ()
    chain = replace(
        generated_chain(options),
        tasks=(
            TaskSpec("ctr", "click", waits=waits),
            TaskSpec("cvr", "conversion", given="ctr", waits=waits),
        ),
    )
    schemas = {number: json.dumps(avro_schema(options, kind)) for number, kind in enumerate(KINDS)}
    return Plan(options, chain, [_spec(options, kind) for kind in KINDS], schemas)


def workload(impressions: int, batch: int, windows: str = "24h", early: bool = True) -> Workload:
    """Build the stream that is declared by the same words. Raises ConfigError."""
    planned = plan(impressions, windows, early)
    generated = generate(planned.options)
    framed = framed_streams(generated)
    at = dict.fromkeys(KINDS, 0)
    batches, order = [], []
    for part in in_batches(generated, batch):
        records = []
        for kind in KINDS:
            n = len(part.streams[kind])
            if n:
                records.append(_records(kind, framed[kind], at[kind], at[kind] + n))
                at[kind] += n
        batches.append(records)
        order.append(part.kinds)
    return Workload(
        generated, batches, order, planned.chain, planned.specs, planned.schemas, sum(at.values())
    )


def framed_streams(generated: Generated) -> dict[str, Framed]:
    """Return each kind's records in order of arrival, framed by the ids that `Plan.schemas` has."""
    return {
        kind: frames(generated.options, stream, KINDS.index(kind))
        for kind, stream in generated.streams.items()
    }


def _spec(options: GeneratorOptions, kind: str) -> EventSpec:
    fields = {name: type_ for name, type_ in event_fields(options, kind).items() if name != TIME}
    return EventSpec(kind, kind, TIME, fields, required=(*options.key, IDS[kind]))


def _records(kind: str, framed: Framed, begin: int, end: int) -> Records:
    data, starts, ends = framed
    low, high = int(starts[begin]), int(ends[end - 1])
    return Records(
        kind,
        0,
        Format("confluent-avro"),
        data[low:high],
        starts[begin:end] - low,
        ends[begin:end] - low,
        np.arange(begin, end),
        end,
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out: per exposure, in the order of their numbers, whether it was clicked and converted."""

    ids: list[str]
    labels: np.ndarray  # (exposures, 2) int8


def expected(generated: Generated) -> Expected:
    """Return the truth in the order in which exposures are told: by time, then key."""
    truth = generated.truth.filter(generated.truth.column("ctr").is_valid())
    truth = truth.sort_by([("ts", "ascending"), ("exposure_id", "ascending")])
    clicked = truth.column("ctr").to_numpy()
    converted = truth.column("cvr").fill_null(0).to_numpy()
    return Expected(
        truth.column("exposure_id").to_pylist(), np.stack([clicked, converted], axis=1).astype(np.int8)
    )
