"""The whole join over lists of records, one chain at a time: what the columnar joiner must tell, row by row.

Admission, identity and belonging are here, what an exposure's events make true is in `chain.py`; together
they are `docs/decisions/0001-what-a-chain-means.md`. It forgets in what it tells, not in what it holds.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Literal, TypeAlias

from stream_mtl.clock import BEGINNING, Millis
from stream_mtl.join.chain import (
    Chain,
    Fact,
    Key,
    Row,
    known,
    life,
    moments,
    parent_time,
    record,
    told_at,
    within,
)
from stream_mtl.join.spec import ChainSpec, KindSpec

ACCOUNTS = ("joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed", "waiting")
"""Every record read is in exactly one of these; `malformed` ones never come here as a `PlainRecord`."""

Verdict: TypeAlias = Literal["stands", "duplicate", "conflict"]
Found: TypeAlias = tuple[int, Millis]  # the exposure's number, the parent's time


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A valid record of one kind of the chain. A field that is missing is null."""

    source: Hashable  # the source partition it came from
    kind: str
    position: int
    time: Millis
    fields: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _Standing:
    """A record that is no repeat, and what has become of it."""

    record: PlainRecord
    place: tuple[int, int]
    exposure: int | None = None  # the exposure it belongs to, as soon as that is certain
    parent: "_Standing | None" = None  # the record that it names, as soon as that stands
    time: Millis | None = None  # when it counts, once it has joined
    settled: bool = False


class _Admission:
    """Which records are late, and how far the watermark is: per source partition, in its own order."""

    def __init__(self, partitions: Sequence[Hashable], lateness: Millis) -> None:
        self._lateness = lateness
        self._marks = dict.fromkeys(partitions, BEGINNING)
        self.end = BEGINNING  # the watermark at the end of input

    def late(self, new: PlainRecord) -> bool:
        self.tick(new.source, new.time - self._lateness)
        if new.time < self._marks[new.source]:
            return True
        self.end = max(self.end, new.time + 1)
        return False

    def tick(self, partition: Hashable, floor: Millis) -> None:
        self._marks[partition] = max(self._marks[partition], floor)

    def watermark(self) -> Millis:
        return min(self._marks.values())


class _Identity:
    """Which records repeat one that stands, in order of facts."""

    def __init__(self, spec: ChainSpec) -> None:
        self._spec = spec
        self._standing: dict[tuple[str, Hashable], _Standing] = {}

    def judge(self, new: _Standing) -> Verdict:
        kind = self._spec.kind(new.record.kind)
        payload = _payload(new.record.fields)
        name = new.record.fields[kind.id] if kind.id else (new.record.time, payload)
        old = self._standing.get((kind.name, name))
        if old is None or new.record.time - old.record.time > self._memory(kind):
            self._standing[kind.name, name] = new
            return "stands"
        return "duplicate" if payload == _payload(old.record.fields) else "conflict"

    def named(self, kind: str, name: Hashable) -> _Standing | None:
        """Return the latest standing record of that id."""
        return self._standing.get((kind, name))

    def _memory(self, kind: KindSpec) -> Millis:
        root = kind is self._spec.root
        own = (life(self._spec) if root else within(kind)) + self._spec.remember
        namers = [child for child in self._spec.kinds if child.parent and kind.name in child.after]
        return max([own, *(within(child) + child.skew + self._spec.remember for child in namers)])


class PlainJoin:
    """The join of a chain. Feed records, tell what the watermark has passed, in any number of rounds.

    `partitions` are all source partitions, in the order that decides between records of the same instant.
    """

    def __init__(self, chain: ChainSpec, partitions: Sequence[Hashable]) -> None:
        self._spec = chain
        self._admission = _Admission(partitions, chain.lateness)
        self._identity = _Identity(chain)
        self._watermark = BEGINNING
        self._rank = {partition: rank for rank, partition in enumerate(partitions)}
        parents_first = TopologicalSorter({kind.name: kind.after for kind in chain.kinds}).static_order()
        self._children = [name for name in parents_first if name != chain.root.name]
        self._counts: Counter[tuple[str, str]] = Counter()
        self._held: list[tuple[Millis, tuple[int, int], PlainRecord]] = []  # heap: time, place
        self._scores: defaultdict[Key, deque[_Standing]] = defaultdict(deque)  # in order of facts
        self._untaken: deque[_Standing] = deque()  # scores that may still be taken, and some that were
        self._chains: list[Chain] = []  # by number
        self._of_key: defaultdict[Key, list[int]] = defaultdict(list)  # numbers, without what is forgotten
        self._waiting: dict[str, dict[Hashable, list[_Standing]]]  # by kind, and by what they wait for
        self._waiting = {name: {} for name in self._children}
        self._news: set[Hashable] = set()  # what may be waited for and has happened in this instant
        self._due: list[tuple[Millis, int]] = []  # heap: when something may be told of which exposure

    def feed(self, arrivals: Iterable[PlainRecord]) -> None:
        """Take records; those of one partition come in position order."""
        for new in arrivals:
            self._counts[new.kind, "read"] += 1
            if self._admission.late(new):
                self._counts[new.kind, "late"] += 1
            else:
                place = (self._rank[new.source], new.position)
                heapq.heappush(self._held, (new.time, place, new))

    def tick(self, partition: Hashable, floor: Millis) -> None:
        """Let a partition's watermark be at least `floor` from its next record on."""
        self._admission.tick(partition, floor)

    def end(self) -> None:
        """Say that no more records will come; the next `tell` tells what is still to be told."""
        self._watermark = max(self._watermark, self._admission.end)

    def tell(self) -> list[Row]:
        """Return the rows that the watermark has passed since the last call, in their order."""
        self._watermark = max(self._watermark, self._admission.watermark())
        while self._held and self._held[0][0] < self._watermark:
            self._instant(self._held[0][0])
        self._give_up()
        due = set()
        while self._due and self._due[0][0] < self._watermark:
            due.add(heapq.heappop(self._due))
        rows = [row for at, number in due for row in told_at(self._chains[number], at)]
        return sorted(rows, key=lambda row: row.order)

    def accounts(self) -> dict[str, dict[str, int]]:
        """Return, per kind, how many records were `read` and in which of `ACCOUNTS` each of them is now."""
        waiting = Counter(held.kind for *_, held in self._held)
        for name, topics in self._waiting.items():
            waiting[name] += sum(map(len, topics.values()))
        for score in self._untaken:
            waiting[score.record.kind] += not score.settled
        names = [kind.name for kind in self._spec.every_kind]
        counts = {name: {count: self._counts[name, count] for count in ("read", *ACCOUNTS)} for name in names}
        return {name: counts[name] | {"waiting": waiting[name]} for name in names}

    def _instant(self, now: Millis) -> None:
        """Release all records of one instant. Parents go before children: what happens at once is known."""
        self._news.clear()
        standing = self._standing(now)
        if self._spec.before is not None:
            for score in standing[self._spec.before.name]:
                self._scores[self._key(score)].append(score)
                self._untaken.append(score)
        for root in sorted(standing[self._spec.root.name], key=lambda new: (self._key(new), new.place)):
            self._open(root)
        for kind in self._children:
            ripe = [child for topic in self._news for child in self._waiting[kind].pop(topic, ())]
            for child in ripe + standing[kind]:
                found = self._parent(child, now)
                if found is not None:
                    self._settle(child, *found)
                elif not self._gives_up(child, now):
                    self._waiting[kind].setdefault(self._topic(child), []).append(child)

    def _standing(self, now: Millis) -> defaultdict[str, list[_Standing]]:
        standing = defaultdict(list)
        while self._held and self._held[0][0] == now:
            _, place, new = heapq.heappop(self._held)
            candidate = _Standing(new, place)
            verdict = self._identity.judge(candidate)
            if verdict == "stands":
                standing[new.kind].append(candidate)
                self._news.add(self._name(candidate))
            else:
                self._counts[new.kind, verdict] += 1
        return standing

    def _open(self, root: _Standing) -> None:
        number, key = len(self._chains), self._key(root)
        fields = {**root.record.fields, **self._score(key, root.record.time)}
        self._chains.append(Chain(self._spec, number, key, root.record.time, fields))
        self._of_key[key].append(number)
        self._joined(root, number, root.record.time)

    def _score(self, key: Key, time: Millis) -> dict[str, Any]:
        """Return the fields of the score that an exposure takes, under the names that they are told by."""
        before = self._spec.before
        if before is None:
            return {}
        scores = self._scores[key]
        while scores and time - scores[0].record.time > within(before):
            scores.popleft()
        if not scores:
            return {}
        self._counts[before.name, "joined"] += not scores[-1].settled
        scores[-1].settled = True
        return {
            f"scored.{name}": value
            for name, value in scores[-1].record.fields.items()
            if name not in self._spec.key
        }

    def _settle(self, child: _Standing, number: int, parent: Millis) -> None:
        new, child.settled = child.record, True
        time = max(new.time, parent)
        if new.time - parent > within(self._spec.kind(new.kind)):
            self._counts[new.kind, "outside"] += 1
            return
        fact = Fact(new.kind, time, new.time, child.place, new.fields, self._takes_back(child, number))
        self._chains[number] = record(self._chains[number], fact)
        self._joined(child, number, time)

    def _takes_back(self, child: _Standing, number: int) -> tuple[int, int] | None:
        """Return the place of the event that a record of a retracting kind follows: the one it names, or the first."""
        kind = self._spec.kind(child.record.kind)
        if not kind.retracts:
            return None
        if self._topic(child)[0] == "name":
            assert child.parent is not None
            return child.parent.place
        return self._chains[number].facts[kind.after[0]][0].place

    def _joined(self, new: _Standing, number: int, time: Millis) -> None:
        new.exposure, new.time, new.settled = number, time, True
        chain = self._chains[number]
        self._counts[new.record.kind, "joined"] += 1
        self._news |= {("key", chain.key), self._name(new)}
        for at in moments(chain, time):
            if at >= time:
                heapq.heappush(self._due, (at, number))

    def _parent(self, child: _Standing, now: Millis) -> Found | None:
        named = self._topic(child)[0] == "name"
        return self._named_parent(child, now) if named else self._parent_by_key(child, now)

    def _named_parent(self, child: _Standing, now: Millis) -> Found | None:
        kind, time = self._spec.kind(child.record.kind), child.record.time
        if child.parent is None and now <= time + kind.skew:
            _, name = self._topic(child)
            found = [one for parent in kind.after if (one := self._identity.named(parent, name)) is not None]
            memory = within(kind) + self._spec.remember
            child.parent = next((one for one in found if time - one.record.time <= memory), None)
        if child.parent is None or child.parent.exposure is None or child.parent.time is None:
            return None
        return child.parent.exposure, child.parent.time

    def _parent_by_key(self, child: _Standing, now: Millis) -> Found | None:
        if child.exposure is None:
            child.exposure = self._exposure(child, now)
        if child.exposure is None:
            return None
        time = parent_time(self._chains[child.exposure], child.record.kind, child.record.time, now)
        return None if time is None else (child.exposure, time)

    def _exposure(self, child: _Standing, now: Millis) -> int | None:
        numbers, time = self._of_key.get(self._key(child), []), child.record.time
        if now == time:
            while numbers and not known(self._chains[numbers[-1]], now):
                numbers.pop()
            return numbers[-1] if numbers else None
        soon = now <= time + self._spec.kind(child.record.kind).skew
        return next((one for one in numbers if soon and self._chains[one].time > time), None)

    def _give_up(self) -> None:
        while self._untaken and self._gone(self._untaken[0]):
            score = self._untaken.popleft()
            self._counts[score.record.kind, "orphan"] += not score.settled
        for kind in self._children:  # parents first: an orphan makes orphans
            topics = self._waiting[kind].items()
            left = {
                topic: [one for one in ones if not self._gives_up(one, self._watermark)]
                for topic, ones in topics
            }
            self._waiting[kind] = {topic: waiting for topic, waiting in left.items() if waiting}

    def _gone(self, score: _Standing) -> bool:
        return score.record.time + within(self._spec.kind(score.record.kind)) < self._watermark

    def _gives_up(self, child: _Standing, watermark: Millis) -> bool:
        """Make an orphan of a child whose time is over, unless the record it names is itself undecided."""
        over = child.record.time + self._spec.kind(child.record.kind).skew < watermark
        child.settled = over and (child.parent is None or child.parent.settled)
        self._counts[child.record.kind, "orphan"] += child.settled
        return child.settled

    def _key(self, new: _Standing) -> Key:
        return tuple(new.record.fields.get(name) for name in self._spec.key)

    def _name(self, new: _Standing) -> tuple[str, Any]:
        return "name", new.record.fields.get(self._spec.kind(new.record.kind).id or "")

    def _topic(self, child: _Standing) -> tuple[str, Any]:
        """Return what a child waits for: the record it names, or news of its key."""
        name = child.record.fields.get(self._spec.kind(child.record.kind).parent or "")
        return ("key", self._key(child)) if name is None else ("name", name)


def _payload(fields: Mapping[str, Any]) -> Hashable:
    return frozenset((name, _comparable(value)) for name, value in fields.items() if value is not None)


def _comparable(value: Any) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple(map(_comparable, value))
    # A number that is none equals nothing, but a record that is sent twice is sent twice.
    return value if value == value else "NaN"
