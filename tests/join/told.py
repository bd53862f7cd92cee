"""Small joins written by hand, and what they tell as lines that a person can check.

A line is `told kind[+wait] #exposure tasks states`, for example `5 event #0 cvr ctr=1@3 cvr=1@5`:
a state is `label@time of the event=value`, and what is not known yet is left out.
"""

from dataclasses import replace
from typing import Any

from stream_mtl.clock import Millis
from stream_mtl.join.chain import Row
from stream_mtl.join.plain import PlainJoin, PlainRecord
from stream_mtl.join.spec import ChainSpec
from tests.join.streams import AD, fields_of

DEFAULTS = {"user": "u", "item": 1}

QUIET = replace(AD, tasks=(replace(AD.tasks[0], waits=()),))  # exposed, and the final row of ctr, at + 4


def event(kind: str, time: Millis, **fields: Any) -> tuple[str, Millis, dict[str, Any]]:
    return kind, time, fields


def records(
    spec: ChainSpec, *events: tuple[str, Millis, dict[str, Any]], source: str = "p", at: int = 0
) -> list[PlainRecord]:
    """Records in order of arrival; key and id are filled in, every id is another one."""
    made = []
    for position, (kind, time, fields) in enumerate(events, start=at):
        names = fields_of(spec, kind)
        filled = {name: DEFAULTS.get(name) for name in names}
        if spec.kind(kind).id is not None:
            filled["id"] = f"{kind} {source}{position}"
        made.append(PlainRecord(source, kind, position, time, filled | fields))
    return made


def joined(
    spec: ChainSpec, *events: tuple[str, Millis, dict[str, Any]], upto: Millis
) -> tuple[list[str], PlainJoin]:
    """Lines told up to and including an instant, of events that arrive in this order and are never late."""
    patient = replace(spec, lateness=1_000)
    join = PlainJoin(patient, ["p"])
    join.feed(records(patient, *events))
    join.tick("p", upto + 1)
    return show(spec, join.tell()), join


def tell(spec: ChainSpec, *events: tuple[str, Millis, dict[str, Any]], upto: Millis) -> list[str]:
    return joined(spec, *events, upto=upto)[0]


def account(
    spec: ChainSpec, kind: str, *events: tuple[str, Millis, dict[str, Any]], upto: Millis
) -> dict[str, int]:
    """The counts of a kind that are not zero, without `read`."""
    return counts(joined(spec, *events, upto=upto)[1], kind)


def counts(join: PlainJoin, kind: str) -> dict[str, int]:
    return {name: count for name, count in join.accounts()[kind].items() if count and name != "read"}


def show(spec: ChainSpec, rows: list[Row]) -> list[str]:
    return [_line(spec, row) for row in rows]


def _line(spec: ChainSpec, row: Row) -> str:
    wait = "" if row.wait is None else f"+{row.wait}"
    about = "/".join(task.name for bit, task in enumerate(spec.tasks) if row.tasks >> bit & 1)
    words = [str(row.told), row.kind.name.lower() + wait, f"#{row.exposure}", about or "-"]
    for task, state in zip(spec.tasks, row.states, strict=True):
        if state.label is not None:
            at = "" if state.at is None else f"@{state.at}"
            value = "" if state.value is None else f"={state.value:g}"
            words.append(f"{task.name}={state.label}{at}{value}")
    return " ".join(words)


def kind_with(spec: ChainSpec, name: str, **changes: Any) -> ChainSpec:
    kinds = tuple(replace(kind, **changes) if kind.name == name else kind for kind in spec.kinds)
    return replace(spec, kinds=kinds)
