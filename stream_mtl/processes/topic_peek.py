"""A look into a topic of the configuration: each record as plain values, read as its readers read it."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeAlias

import msgspec

from stream_mtl.connectors.base import Unreadable
from stream_mtl.connectors.claims import claim_of
from stream_mtl.connectors.glance import Glance, Seen
from stream_mtl.connectors.kafka import Kafka
from stream_mtl.connectors.kafka_reader import Place
from stream_mtl.connectors.letters import decode_letter
from stream_mtl.connectors.partition import Entry
from stream_mtl.errors import ConfigError, DataError
from stream_mtl.join.block import Header, decode
from stream_mtl.join.topic import Following, part_of
from stream_mtl.join.transitions import Telling, Transitions
from stream_mtl.processes.bus import kafka_of
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.decoding import Decoding
from stream_mtl.processes.readable import finite, instant, shown
from stream_mtl.processes.topics import Planned, planned_topic

Line: TypeAlias = dict[str, Any]
Told: TypeAlias = Callable[[Place, Seen], Iterator[Line]]
"""What a record says: lines, none of them where it is to be passed over."""


def peek(
    made: Declared, topic: str, partition: int | None, offset: int | None, limit: int, headers: bool
) -> Iterator[Line]:
    """Yield up to `limit` lines, of all partitions as many as there is room for; each says where it stands.

    `offset` below zero counts from the end. With `headers`, each line has those of its record, and a log's headers and
    claims are lines too; parts of a log that count for nobody always are. Raises ConfigError, Unavailable.
    """
    wanted = planned_topic(made, topic)
    kafka = kafka_of(made.config)
    places = _places(kafka, topic, partition)
    with kafka.glance(places) as glance:
        begins, ends = glance.begins(), glance.ends()
        left = limit
        for number, place in enumerate(places):
            share = -(-left // (len(places) - number))
            start = _start(place, offset, begins[place], ends[place])
            for line in _lines(made, wanted, glance, place, start, ends[place], share, headers):
                yield line
                left -= 1


def _places(kafka: Kafka, topic: str, partition: int | None) -> list[Place]:
    with closing(kafka.admin()) as admin:
        count = admin.partitions([topic])[topic]
    if partition is not None and partition not in range(count):
        raise ConfigError(f"topic {topic} has no partition {partition}; it has 0 to {count - 1}")
    return [(topic, number) for number in (range(count) if partition is None else [partition])]


def _start(place: Place, offset: int | None, begin: int, end: int) -> int:
    if offset is None:
        return begin
    if offset < 0:
        return max(begin, end + offset)
    if not begin <= offset <= end:
        raise ConfigError(f"{place[0]}/{place[1]} holds offsets {begin} to {end}, not {offset}")
    return offset


def _lines(
    made: Declared,
    wanted: Planned,
    glance: Glance,
    place: Place,
    start: int,
    end: int,
    limit: int,
    headers: bool,
) -> Iterator[Line]:
    tell = _told(made, wanted, headers, place)
    left = limit
    for seen in glance.records(place, start, end) if left else ():
        lines = _gap(seen) if isinstance(seen, Unreadable) else tell(place, seen)
        more = _record_headers(seen) if headers else {}
        for line in lines:
            yield {"partition": place[1], **line, **more}
            left -= 1
            if not left:
                return


def _told(made: Declared, wanted: Planned, headers: bool, place: Place) -> Told:
    if wanted.role == "input":
        decoding = Decoding(made)
        return lambda place, seen: _of_input(decoding, place, _entry(seen))
    if wanted.role == "transitions":
        following = Following(f"{place[0]}/{place[1]}")
        return lambda _, seen: _of_log(made, following, _entry(seen), headers)
    of_value = _letter if wanted.role == "dead letters" else _json
    return lambda _, seen: _of_value(_entry(seen), of_value, headers)


def _entry(seen: Seen) -> Entry:
    assert isinstance(seen, Entry)
    return seen


def _record_headers(seen: Seen) -> Line:
    """Return a record's headers, in their order; nothing where there are none."""
    held = () if isinstance(seen, Unreadable) else seen.headers
    if not held:
        return {}
    return {"headers": [{"name": name, **({} if value is None else shown(value))} for name, value in held]}


def _gap(gap: Unreadable) -> Iterator[Line]:
    yield {"offset": gap.begin, "unreadable": gap.reason, "upto": gap.end, **shown(gap.value)}


def _of_input(decoding: Decoding, place: Place, entry: Entry) -> Iterator[Line]:
    for event in decoding.events(f"kafka:{place[0]}", place[1], entry):
        yield {**_where(entry), **event}


def _of_value(entry: Entry, read: Callable[[bytes], Line], headers: bool) -> Iterator[Line]:
    claim = claim_of(entry)
    if claim is None:
        yield {**_where(entry), **read(entry.value)}
    elif headers:
        yield {**_where(entry), "claim": msgspec.to_builtins(claim)}


def _where(entry: Entry) -> Line:
    key = {} if entry.key is None else {"key": entry.key.decode(errors="backslashreplace")}
    return {"offset": entry.offset, **instant("time", entry.time if entry.time >= 0 else None), **key}


def _letter(value: bytes) -> Line:
    try:
        letter = decode_letter(value)
    except DataError:
        return _json(value)
    known = {"detail": letter.detail, "schema_id": letter.schema_id}
    return {
        "letter": f"{letter.source}/{letter.partition}/{letter.position}",
        "reason": letter.reason,
        **{name: one for name, one in known.items() if one not in ("", None)},
        **shown(letter.value),
    }


def _json(value: bytes) -> Line:
    try:
        return {"value": json.loads(value)}
    except ValueError:
        return shown(value)


def _of_log(made: Declared, following: Following, entry: Entry, headers: bool) -> Iterator[Line]:
    claim, part = claim_of(entry), part_of(entry)
    void = None if part is None else following.void(part)
    whole = following.feed(entry)
    if claim is not None and headers:
        yield {**_where(entry), "claim": msgspec.to_builtins(claim)}
    if part is not None and void is not None:
        yield {**_where(entry), "void": {**part._asdict(), "why": void}}
    if whole is None:
        return
    header, transitions = decode(whole.data, f"block {whole.block}")
    if headers:
        yield {"offset": whole.offset, "block": whole.block, "header": _header(header)}
    for row in rows_of(made, transitions):
        yield {"offset": whole.offset, "block": whole.block, **row}


def _header(header: Header) -> Line:
    plain: Line = msgspec.to_builtins(header)
    plain |= instant("told_before", header.told_before)
    for progress in plain["progress"]:
        for name in ("watermark", "greatest"):
            progress |= instant(name, progress[name])
    return plain


def rows_of(made: Declared, transitions: Transitions) -> Iterator[Line]:
    """Yield what was told, row by row."""
    tasks = made.chain.tasks
    for row in transitions.rows.to_pylist():
        place = row["row"]
        carried = transitions.fields.num_rows
        yield {
            "kind": Telling(row["kind"]).name.lower(),
            **instant("told", row["told"]),
            "exposure": row["exposure"],
            **instant("time", row["time"]),
            "keys": finite(transitions.keys.slice(place, 1).to_pylist()[0]),
            **({} if row["wait"] is None else {"wait_ms": row["wait"]}),
            "about": [task.name for bit, task in enumerate(tasks) if row["tasks"] >> bit & 1],
            "labels": {task.name: _label(row, task.name) for task in tasks},
            **(
                {"fields": finite(transitions.fields.slice(place, 1).to_pylist()[0])}
                if place < carried
                else {}
            ),
        }


def _label(row: Line, task: str) -> Line | None:
    """Return what is known of a task, None where nothing is."""
    if row[f"label.{task}"] is None:
        return None
    value = row.get(f"value.{task}")
    return {
        "label": row[f"label.{task}"],
        **instant("at", row[f"at.{task}"]),
        **({} if value is None else {"value": finite(value)}),
    }
