"""The decision page once more, as a slow literal reading: complete knowledge, fixpoint, every instant asked.

It shares no code with the package but the types that travel, so that both cannot be wrong by one mistake.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from stream_mtl.join.plain import PlainRecord
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec
from tests.join.streams import Stream

NEVER = 10**9


@dataclass(eq=False)
class Thing:
    record: PlainRecord
    place: tuple[int, int]
    number: int | None = None  # its exposure, where it joined
    time: int = NEVER  # when it counts
    fate: str = "orphan"
    events: dict[str, list["Thing"]] = field(default_factory=dict)  # of a root

    @property
    def t(self) -> int:
        return self.record.time


class Literal:
    """All that a whole stream tells up to the end of input, by the letter."""

    def __init__(self, spec: ChainSpec, stream: Stream) -> None:
        self.spec = spec
        self.root = spec.kinds[0].name
        self.counts: Counter[tuple[str, str]] = Counter()
        self.within = {kind.name: kind.within or 0 for kind in spec.kinds}
        self.end_of_input = max(record.time for record in stream.records) + 1
        self.standing = self.identify(self.admit(stream))
        self.exposures = [one for one in self.standing if one.record.kind == self.root]
        self.exposures.sort(key=lambda one: (one.t, self.key(one), one.place))
        for number, one in enumerate(self.exposures):
            one.number, one.time, one.fate = number, one.t, "joined"
        while self.belong():
            pass
        for one in self.standing:
            self.counts[one.record.kind, one.fate] += 1

    def key(self, one: Thing) -> list[Any]:
        values = [one.record.fields[name] for name in self.spec.key]
        return [value.encode() if isinstance(value, str) else value for value in values]

    def admit(self, stream: Stream) -> list[Thing]:
        admitted = []
        for rank, partition in enumerate(stream.partitions):
            records = [record for record in stream.records if record.source == partition]
            for count, record in enumerate(records, start=1):
                watermark = max(one.time for one in records[:count]) - self.spec.lateness
                if record.time < watermark:
                    self.counts[record.kind, "late"] += 1
                else:
                    admitted.append(Thing(record, (rank, record.position)))
        return sorted(admitted, key=lambda one: (one.t, one.record.kind != self.root, one.place))

    def identify(self, things: list[Thing]) -> list[Thing]:
        standing: list[Thing] = []
        for one in things:
            kind, fields = self.spec.kind(one.record.kind), one.record.fields
            same_kind = [old for old in standing if old.record.kind == kind.name]
            if kind.id is None:
                repeats = [old for old in same_kind if old.t == one.t and old.record.fields == fields]
            else:
                young = [old for old in same_kind if one.t - old.t <= self.memory(kind)]
                repeats = [old for old in young if old.record.fields[kind.id] == fields[kind.id]]
            if not repeats:
                standing.append(one)
            elif all(old.record.fields == fields for old in repeats):
                self.counts[kind.name, "duplicate"] += 1
            else:
                self.counts[kind.name, "conflict"] += 1
        return standing

    def memory(self, kind: KindSpec) -> int:
        # Nothing has happened: what comes after the root ends by its window, all else ends with those.
        life = max(self.within[child.name] for child in self.spec.kinds if self.root in child.after)
        own = life if kind.name == self.root else self.within[kind.name]
        naming = [child for child in self.spec.kinds if child.parent and kind.name in child.after]
        return max([own, *(self.within[child.name] + child.skew for child in naming)]) + self.spec.remember

    def belong(self) -> bool:
        """Decide where every child belongs if all others belong where they do; return whether one moved."""
        decided = {one: self.decide(one) for one in self.standing if one.record.kind != self.root}
        changed = any((one.number, one.time, one.fate) != new for one, new in decided.items())
        for exposure in self.exposures:
            exposure.events = {}
        for one, new in decided.items():
            one.number, one.time, one.fate = new
            if one.number is not None:
                self.exposures[one.number].events.setdefault(one.record.kind, []).append(one)
        for exposure in self.exposures:
            for events in exposure.events.values():
                events.sort(key=lambda one: (one.time, one.t, one.place))
        return changed

    def decide(self, child: Thing) -> tuple[int | None, int, str]:
        kind = self.spec.kind(child.record.kind)
        named = kind.parent is not None and child.record.fields[kind.parent] is not None
        number, time = self.by_name(child, kind) if named else self.by_key(child, kind)
        if time < NEVER and max(0, child.t - time) > self.within[kind.name]:
            return None, NEVER, "outside"
        if time < NEVER and max(child.t, time) < self.end_of_input:
            return number, max(child.t, time), "joined"
        named_one = self.named_record(child, kind) if named else None
        patient = named_one is not None and named_one.fate == "waiting"
        over = child.t + kind.skew < self.end_of_input
        return None, NEVER, "orphan" if over and not patient else "waiting"

    def named_record(self, child: Thing, kind: KindSpec) -> Thing | None:
        memory = self.within[kind.name] + self.spec.remember
        found = []
        for rank, name in enumerate(kind.after):
            id_ = self.spec.kind(name).id
            for one in self.standing:
                fits = (
                    one.record.kind == name
                    and id_
                    and one.record.fields[id_] == child.record.fields[kind.parent]
                )
                if fits and one.t <= child.t + kind.skew and child.t - one.t <= memory:
                    found.append((max(child.t, one.t), rank, one))
        return min(found, key=lambda one: one[:2])[2] if found else None

    def by_name(self, child: Thing, kind: KindSpec) -> tuple[int | None, int]:
        parent = self.named_record(child, kind)
        return (None, NEVER) if parent is None else (parent.number, parent.time)

    def by_key(self, child: Thing, kind: KindSpec) -> tuple[int | None, int]:
        mine = [one for one in self.exposures if self.key(one) == self.key(child)]
        before = [one for one in mine if one.t <= child.t and child.t <= self.forgotten(one, child.t)]
        soon = [one for one in mine if child.t < one.t <= child.t + kind.skew]
        if not before and not soon:
            return None, NEVER
        exposure = before[-1] if before else soon[0]
        firsts = [self.first(exposure, name, NEVER - 1) for name in kind.after]
        for time in firsts:
            if time <= child.t:
                return exposure.number, time
        later = [time for time in firsts if time <= child.t + kind.skew]
        return exposure.number, min(later, default=NEVER)

    def first(self, exposure: Thing, kind: str, at: int) -> int:
        times = [exposure.t] if kind == self.root else [one.time for one in exposure.events.get(kind, [])]
        return min((time for time in times if time <= at), default=NEVER)

    def end(self, exposure: Thing, name: str, at: int) -> int:
        kind, ends = self.spec.kind(name), []
        for parent in kind.after:
            happened = [one.time for one in exposure.events.get(parent, []) if one.time <= at]
            if parent == self.root:
                ends.append(exposure.t + self.within[name])
            elif happened and kind.parent is None:
                ends.append(min(happened) + self.within[name])
            elif happened:
                ends.append(max(max(happened) + self.within[name], self.end(exposure, parent, at)))
            else:
                ends.append(self.end(exposure, parent, at))
        return max(ends)

    def forgotten(self, exposure: Thing, at: int) -> int:
        ends = [self.end(exposure, kind.name, at) for kind in self.spec.kinds[1:]]
        return max(ends) + self.spec.remember

    def task(self, name: str) -> TaskSpec:
        return next(task for task in self.spec.tasks if task.name == name)

    def state(self, exposure: Thing, task: TaskSpec, at: int) -> tuple[int | None, int | None, float | None]:
        if task.given is not None and self.state(exposure, self.task(task.given), at)[0] != 1:
            return None, None, None
        time = self.first(exposure, task.event, at)
        if time == NEVER:
            return (0 if self.end(exposure, task.event, at) <= at else None), None, None
        events = exposure.events[task.event][: self.spec.max_events]
        events = [one for one in events if one.time <= at]
        values = [one.record.fields.get(task.value or "") for one in events]
        values = [value for value in values if value is not None]
        if task.how == "count":
            return 1, time, float(len(events))
        if task.value is None or not values:
            return 1, time, None
        picks = {"first": values[0], "last": values[-1], "sum": sum(values), "max": max(values)}
        return 1, time, float(picks[task.how])

    def told(self) -> list[tuple[Any, ...]]:
        """Every row as (told, code, exposure, time, wait, tasks, key, states, fields)."""
        rows = []
        for exposure in self.exposures:
            last = max(self.end_of_input, exposure.t)
            for at in range(exposure.t, last):
                rows += self.told_at(exposure, at)
        return sorted(
            rows, key=lambda row: (row[0], row[1], row[2], -1 if row[4] is None else row[4], row[5])
        )

    def told_at(self, exposure: Thing, at: int) -> list[tuple[Any, ...]]:
        tasks: dict[tuple[int, int | None], int] = {(0, None): 0} if at == exposure.t else {}
        for bit, task in enumerate(self.spec.tasks):
            start = exposure.t
            if task.given is not None:
                start = self.first(exposure, self.task(task.given).event, at)
            end = self.end(exposure, task.event, at)
            reasons: list[tuple[int, int | None]] = []
            if start <= at:
                reasons += [(1, wait) for wait in task.waits if at == start + wait and at <= end]
                if task.waits and self.first(exposure, task.event, at) == at and at > start + min(task.waits):
                    reasons.append((2, None))
            if end == at:
                reasons.append((3, None))
            for reason in reasons:
                tasks[reason] = tasks.get(reason, 0) | 1 << bit
        if not tasks:
            return []
        states = tuple(self.state(exposure, task, at) for task in self.spec.tasks)
        key = tuple(exposure.record.fields[name] for name in self.spec.key)
        who = (exposure.number, exposure.t)
        rows = []
        for (code, wait), bits in tasks.items():
            fields = exposure.record.fields if code < 3 or self.spec.features_on_final else None
            rows.append((at, code, *who, wait, bits, key, states, fields))
        return rows

    def accounts(self) -> dict[str, dict[str, int]]:
        names = ("joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed", "waiting")
        kinds = [kind.name for kind in self.spec.kinds]
        counts = {kind: {name: self.counts[kind, name] for name in names} for kind in kinds}
        return {kind: {"read": sum(count.values()), **count} for kind, count in counts.items()}
