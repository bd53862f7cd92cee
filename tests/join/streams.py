"""Random chains and random streams in which everything collides, for the tests of every joiner.

`chain_specs()` draws a declaration, `streams(spec)` what happened under it, `polls(stream)` how it was read.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from stream_mtl.events.types import FieldType
from stream_mtl.join.plain import PlainRecord
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

FIELDS: Mapping[str, FieldType] = {
    "user": "string",
    "item": "long",
    "id": "string",
    "click_id": "string",
    "amount": "double",
    "seconds": "long",
    "tags": "array<string>",
}
"""The type of every field that a record of these streams may have."""

VALUES: Mapping[str, Sequence[Any]] = {
    "user": ["b", "é", "\uff5e", "\U0001f600"],  # their order differs between UTF-8 and UTF-16
    "item": [-3, 2, 11],
    "amount": [None, 0.5, -2.0, 4.0],  # sums of these are exact in any order
    "seconds": [None, 0, 3, -1],
    "tags": [None, [], ["x"], ["x", "y"]],
}

AD = ChainSpec(
    key=("user",),
    kinds=(
        KindSpec("impression", id="id"),
        KindSpec("click", after=("impression",), within=4, id="id"),
        KindSpec("conversion", after=("click",), within=10, id="id"),
    ),
    tasks=(
        TaskSpec("ctr", "click", waits=(2,)),
        TaskSpec("cvr", "conversion", given="ctr", waits=(1, 5)),
        TaskSpec("order_value", "conversion", given="cvr", value="amount"),
    ),
    remember=3,
)

SHOP = ChainSpec(
    key=("user", "item"),
    kinds=(
        KindSpec("view"),
        KindSpec("cart", after=("view",), within=8, skew=2),
        KindSpec("purchase", after=("cart", "view"), within=5, skew=2),
    ),
    tasks=(
        TaskSpec("carted", "cart", waits=(0, 3)),
        TaskSpec("bought", "purchase", waits=(4,)),
        TaskSpec("spent", "purchase", given="bought", value="amount", how="sum"),
    ),
    remember=2,
)

SOCIAL = ChainSpec(
    key=("user",),
    kinds=(
        KindSpec("is_click"),
        KindSpec("is_view", after=("is_click",), within=6),
        KindSpec("is_on_mic", after=("is_click",), within=9, skew=1),
        KindSpec("mic_seconds", after=("is_on_mic",), within=7, id="id"),
    ),
    tasks=(
        TaskSpec("viewed", "is_view", waits=(1,)),
        TaskSpec("view_seconds", "is_view", given="viewed", value="seconds", how="max"),
        TaskSpec("on_mic", "is_on_mic", waits=(2, 6)),
        TaskSpec("spoke", "mic_seconds", given="on_mic", waits=(0,)),
        TaskSpec("times", "mic_seconds", given="spoke", how="count"),
    ),
)

NAMED = replace(
    AD,
    kinds=(
        KindSpec("impression", id="id"),
        KindSpec("click", after=("impression",), within=4, skew=1, id="id"),
        KindSpec("conversion", after=("click",), within=10, skew=2, parent="click_id"),
    ),
)

NAMED_TWICE = ChainSpec(
    key=("user",),
    kinds=(
        KindSpec("view", id="id"),
        KindSpec("click", after=("view",), within=5, id="id"),
        KindSpec("tap", after=("view",), within=5, skew=3, id="id"),
        KindSpec("order", after=("tap", "click"), within=6, skew=2, id="id", parent="click_id"),
        KindSpec("refund", after=("order", "view"), within=6, skew=1, parent="click_id"),
    ),
    tasks=(
        TaskSpec("ctr", "click", waits=(3,)),
        TaskSpec("ordered", "order", waits=(1, 4)),
        TaskSpec("kept", "refund", given="ordered", value="amount", how="last"),
    ),
)

TAKEN_BACK = ChainSpec(
    key=("user",),
    kinds=(
        KindSpec("impression", id="id"),
        KindSpec("click", after=("impression",), within=4, id="id"),
        KindSpec("invalid", after=("click",), within=3, id="id", retracts=True),
        KindSpec("conversion", after=("click",), within=8, id="id"),
        KindSpec("refund", after=("conversion",), within=5, parent="click_id", retracts=True),
        KindSpec("chargeback", after=("conversion",), within=7, retracts=True),
    ),
    tasks=(
        TaskSpec("ctr", "click", waits=(2,)),
        TaskSpec("cvr", "conversion", given="ctr", waits=(1, 5)),
        TaskSpec("bought", "conversion", waits=(0,)),
        TaskSpec("net", "conversion", given="ctr", value="amount", how="sum", less=("refund", "amount")),
    ),
    remember=3,
)

SHAPES = (AD, SHOP, SOCIAL, NAMED, NAMED_TWICE)
"""Chains in which nothing is taken back."""


@dataclass(frozen=True)
class Stream:
    """What happened, in order of arrival. A source partition is (source name, partition)."""

    partitions: tuple[Hashable, ...]  # in the order that decides ties
    records: tuple[PlainRecord, ...]


def fields_of(spec: ChainSpec, kind: str) -> list[str]:
    """Return the fields that records of a kind have, in a fixed order."""
    declared = spec.kind(kind)
    values = [task.value for task in spec.tasks if task.event == kind]
    values += [task.less[1] for task in spec.tasks if task.less is not None and task.less[0] == kind]
    extra = "tags" if declared is spec.root else "amount"
    names = [*spec.key, declared.id, declared.parent, *values, extra]
    return [name for name in dict.fromkeys(names) if name is not None]


@st.composite
def chain_specs(draw: st.DrawFn, scores: bool = True, back: bool = True) -> ChainSpec:
    """Draw one of the known shapes or any other, with windows, waits and bounds of a few units.

    With `back`, some kinds take others back.
    """
    shapes = (*SHAPES, TAKEN_BACK, TAKEN_BACK) if back else SHAPES
    spec = draw(st.sampled_from(shapes) | _other_shapes(back))
    return replace(
        spec,
        kinds=(spec.kinds[0], *(_vary_kind(draw, kind) for kind in spec.kinds[1:])),
        tasks=tuple(_vary_task(draw, task) for task in spec.tasks) if draw(st.booleans()) else spec.tasks,
        before=_scores(draw) if scores and draw(st.booleans()) else None,
        lateness=draw(st.integers(0, 6)),
        remember=draw(st.integers(0, 5)),
        features_on_final=draw(st.booleans()),
        max_events=draw(st.sampled_from([1_000, 2, 1])),
    )


def _scores(draw: st.DrawFn) -> KindSpec:
    return KindSpec("scored", within=draw(st.integers(0, 9)), id=draw(st.sampled_from(["id", None])))


def _vary_kind(draw: st.DrawFn, kind: KindSpec) -> KindSpec:
    return replace(kind, within=draw(st.integers(0, 10)), skew=draw(st.sampled_from([0, 0, 1, 2, 4])))


def _vary_task(draw: st.DrawFn, task: TaskSpec) -> TaskSpec:
    waits = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 8]), max_size=3, unique=True))
    if task.value is None:
        return replace(task, waits=tuple(waits))
    how = "sum" if task.less is not None else draw(st.sampled_from(["first", "last", "sum", "max", "count"]))
    return replace(task, waits=tuple(waits), how=how)


@st.composite
def _other_shapes(draw: st.DrawFn, back: bool) -> ChainSpec:
    named = draw(st.booleans())  # only ids can be named
    kinds = [KindSpec("root", id="id" if named or draw(st.booleans()) else None)]
    for number in range(draw(st.integers(1, 4))):
        names = [kind.name for kind in kinds]
        after = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        id_ = "id" if named or draw(st.booleans()) else None
        parent = "click_id" if named and draw(st.booleans()) else None
        kinds.append(KindSpec(f"kind{number}", tuple(after), within=5, id=id_, parent=parent))
    if back and draw(st.booleans()):
        for number in range(draw(st.integers(1, 2))):
            kinds.append(_back(draw, f"back{number}", kinds, named))
    tasks: list[TaskSpec] = []
    for number in range(draw(st.integers(1, 4))):
        event = draw(st.sampled_from([kind.name for kind in kinds[1:]]))
        given = draw(st.sampled_from([None, *(task.name for task in tasks)]))
        value = draw(st.sampled_from([None, "amount"]))
        followers = [kind.name for kind in kinds if kind.after == (event,)]
        less = None
        if back and value is not None and followers and draw(st.booleans()):
            less = (draw(st.sampled_from(followers)), "amount")
        tasks.append(TaskSpec(f"task{number}", event, given, value, less=less))
    key = draw(st.sampled_from([("user",), ("item",), ("item", "user")]))
    return ChainSpec(key, tuple(kinds), tuple(tasks))


def _back(draw: st.DrawFn, name: str, kinds: Sequence[KindSpec], named: bool) -> KindSpec:
    """A kind that takes another's events back."""
    event = draw(st.sampled_from([kind.name for kind in kinds[1:] if not kind.retracts]))
    id_ = "id" if named and draw(st.booleans()) else None
    parent = "click_id" if named and draw(st.booleans()) else None
    return KindSpec(name, (event,), within=5, id=id_, parent=parent, retracts=True)


@st.composite
def streams(draw: st.DrawFn, spec: ChainSpec, late: bool = True, ties: bool = True) -> Stream:
    """Draw a stream of 5 to 60 records from several source partitions.

    There are exact repeats, conflicts, ids that come back, recurring keys, ties, children before parents and
    disorder. Without `late` no record is late; without `ties` no two records of a kind have the same time.
    """
    homes = _homes(draw, spec)
    pools = _pools(draw, spec)
    drafts: list[_Draft] = []
    for _ in range(draw(st.integers(5, 60))):
        draft = _draft(draw, spec, drafts, homes, pools)
        if ties or all((draft.kind, draft.time) != (other.kind, other.time) for other in drafts):
            drafts.append(draft)
    delays = [0, 0, spec.lateness // 2, spec.lateness] + [spec.lateness + 3] * late
    arrived = {id(draft): draft.time + draw(st.sampled_from(delays)) for draft in drafts}
    drafts.sort(key=lambda draft: arrived[id(draft)])
    return Stream(
        tuple(sorted({home for places in homes.values() for home in places})),
        arrive([PlainRecord(draft.home, draft.kind, 0, draft.time, draft.fields) for draft in drafts]),
    )


def arrive(records: Sequence[PlainRecord]) -> tuple[PlainRecord, ...]:
    """Give records the positions at which they stand if they arrive in this order."""
    next_: dict[Hashable, int] = {}
    placed = []
    for record in records:
        position = next_.get(record.source, 0)
        placed.append(replace(record, position=position))
        next_[record.source] = position + 1
    return tuple(placed)


@st.composite
def polls(draw: st.DrawFn, stream: Stream) -> list[list[PlainRecord]]:
    """Draw a way to read a stream: partitions by turns, in pieces of any size, some polls empty."""
    queues = {home: [one for one in stream.records if one.source == home] for home in stream.partitions}
    read = []
    while any(queues.values()):
        poll: list[PlainRecord] = []
        for home in draw(st.permutations(stream.partitions)):
            size = draw(st.sampled_from([0, 1, 2, 5, 20]))
            poll += queues[home][:size]
            queues[home] = queues[home][size:]
        read.append(poll)
        if len(read) == 12:
            read.append([one for queue in queues.values() for one in queue])
            break
    return read


@dataclass(frozen=True)
class _Draft:
    kind: str
    home: Hashable
    time: int
    fields: Mapping[str, Any]


def _homes(draw: st.DrawFn, spec: ChainSpec) -> dict[str, list[tuple[str, int]]]:
    """Kinds share sources or have their own; a source has one or two partitions."""
    sizes = {name: draw(st.integers(1, 2)) for name in ("events", "more")}
    sources = {kind.name: draw(st.sampled_from(["events", "more"])) for kind in spec.every_kind}
    return {kind: [(name, number) for number in range(sizes[name])] for kind, name in sources.items()}


def _pools(draw: st.DrawFn, spec: ChainSpec) -> dict[str, Sequence[Any]]:
    """Few keys, or nothing would meet."""
    few = {name: draw(st.lists(st.sampled_from(VALUES[name]), max_size=2, min_size=1)) for name in spec.key}
    ids = [f"i{number}" for number in range(9)]
    return {**VALUES, **few, "id": ids, "click_id": [*ids, None]}


def _draft(
    draw: st.DrawFn,
    spec: ChainSpec,
    drafts: Sequence[_Draft],
    homes: Mapping[str, Sequence[Hashable]],
    pools: Mapping[str, Sequence[Any]],
) -> _Draft:
    if drafts and draw(st.integers(0, 5)) == 0:
        return _again(draw, spec, draw(st.sampled_from(drafts)), homes)
    root, *children = spec.kinds
    scores = [spec.before] if spec.before is not None else []
    kind = draw(st.sampled_from([root, *children, *children, *scores, *scores]))
    home = draw(st.sampled_from(homes[kind.name]))
    fields = {name: draw(st.sampled_from(pools[name])) for name in fields_of(spec, kind.name)}
    time = draw(st.integers(0, 30))
    anchors = [draft for draft in drafts if draft.kind in (kind.after or [score.name for score in scores])]
    if anchors and draw(st.integers(0, 4)) > 0:
        anchor = draw(st.sampled_from(anchors))
        early = st.integers(-kind.skew - 1, 0)  # a child that may be early often is
        time = max(0, anchor.time + draw(early | st.integers(-1, 12) if kind.skew else st.integers(-1, 12)))
        fields |= {name: anchor.fields[name] for name in spec.key if anchor.fields[name] is not None}
        if kind.parent is not None and draw(st.integers(0, 3)) > 0:
            fields[kind.parent] = anchor.fields["id"]
    if kind.parent is not None and draw(st.integers(0, 5)) == 0:
        fields |= dict.fromkeys(spec.key)
    return _Draft(kind.name, home, time, fields)


def _again(draw: st.DrawFn, spec: ChainSpec, old: _Draft, homes: Mapping[str, Sequence[Hashable]]) -> _Draft:
    """An exact repeat, the same at another time, or the same id with another payload."""
    home = draw(st.sampled_from(homes[old.kind]))
    time = max(0, old.time + draw(st.sampled_from([0, 0, 1, 7, 15, 25])))
    if draw(st.booleans()):
        return replace(old, home=home, time=time)
    name = "tags" if old.kind == spec.root.name else "amount"
    return replace(
        old, home=home, time=time, fields={**old.fields, name: draw(st.sampled_from(VALUES[name]))}
    )
