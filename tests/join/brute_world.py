"""Where every record belongs, by brute force: sections 1 to 5 of decision 1, over all records at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from stream_mtl.clock import Millis
from stream_mtl.join.spec import ChainSpec, KindSpec

Fate: TypeAlias = Literal[
    "joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed", "waiting"
]
FATES: tuple[Fate, ...] = (
    "joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed", "waiting",
)  # fmt: skip
NEVER: Millis = -(10**30)  # the watermark of a partition that has given nothing


@dataclass(frozen=True, slots=True)
class BruteRecord:
    """A valid record as it was read. A field that is not there is null."""

    source: str
    partition: int
    position: int
    kind: str
    time: Millis
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """A record that a kind wants. Two facts are never equal, whatever they hold."""

    index: int
    record: BruteRecord

    @property
    def kind(self) -> str:
        """Return the name of its kind."""
        return self.record.kind

    @property
    def t(self) -> Millis:
        """Return its event time."""
        return self.record.time

    @property
    def home(self) -> tuple[str, int]:
        """Return its source partition."""
        return self.record.source, self.record.partition

    @property
    def place(self) -> tuple[int, int, str]:
        """Return what orders facts of one instant; the source only where two sources number alike."""
        return self.record.partition, self.record.position, self.record.source

    def get(self, name: str | None) -> Any:
        """Return a field's value, or None for a null, a missing field or no field."""
        return None if name is None else self.record.fields.get(name)

    def key(self, chain: ChainSpec) -> tuple[Any, ...] | None:
        """Return its chain key, or None if a field of it is null."""
        key = tuple(self.get(name) for name in chain.key)
        return None if any(part is None for part in key) else key


# 1. Admission


def is_late(fact: Fact, facts: Sequence[Fact], lateness: Millis) -> bool:
    """Whether its partition had already given a time that leaves it behind the watermark."""
    before = [f.t for f in facts if f.home == fact.home and f.record.position <= fact.record.position]
    return fact.t < max(before) - lateness


def watermark_of(
    chain: ChainSpec, facts: Sequence[Fact], partitions: Sequence[tuple[str, int]], ended: bool
) -> Millis:
    """Return the joiner's watermark over all its partitions."""
    if ended:
        return max((f.t + 1 for f in facts), default=NEVER)
    homes = set(partitions) | {f.home for f in facts}
    return min(
        (max((f.t - chain.lateness for f in facts if f.home == home), default=NEVER) for home in homes),
        default=NEVER,
    )


# 2. Identity


def order_of_facts(chain: ChainSpec, fact: Fact) -> tuple[Any, ...]:
    """Section 1: (t, roots before children, partition, position)."""
    return fact.t, fact.kind != chain.root.name, fact.place


def life(chain: ChainSpec) -> Millis:
    """Return how long an exposure to which nothing happens can still get its first child."""
    return View(chain, 0, {}).last_end


def memory(chain: ChainSpec, kind: KindSpec) -> Millis:
    """Return how long after a standing record of this kind an equal id is a repeat."""
    own = life(chain) if kind is chain.root else kind.within or 0
    namers = [(n.within or 0) + n.skew for n in chain.kinds if n.parent is not None and kind.name in n.after]
    return max([own, *namers]) + chain.remember


def equal_fields(a: Fact, b: Fact) -> bool:
    """Whether two records agree in all fields: null equals null, and a NaN equals a NaN."""

    def same(x: Any, y: Any) -> bool:
        return bool(x == y) or (x is not None and y is not None and x != x and y != y)

    return all(same(a.get(name), b.get(name)) for name in a.record.fields.keys() | b.record.fields.keys())


def repeats(chain: ChainSpec, fact: Fact, standing: Fact) -> Fate | None:
    """Return what a fact is in the face of an earlier standing one of its kind; None: something new."""
    kind = chain.kind(fact.kind)
    equal = equal_fields(fact, standing)
    if kind.id is None:
        return "duplicate" if equal and fact.t == standing.t else None
    if fact.get(kind.id) is None or fact.get(kind.id) != standing.get(kind.id):
        return None
    if fact.t - standing.t > memory(chain, kind):
        return None
    return "duplicate" if equal else "conflict"


def stand(chain: ChainSpec, released: Sequence[Fact]) -> tuple[list[Fact], dict[int, Fate]]:
    """Return the standing facts in their order, and the fates of the others."""
    standing: list[Fact] = []
    fates: dict[int, Fate] = {}
    for fact in sorted(released, key=lambda f: order_of_facts(chain, f)):
        found = [repeats(chain, fact, s) for s in standing if s.kind == fact.kind]
        fate = next((f for f in found if f is not None), None)
        if fate is None:
            standing.append(fact)
        else:
            fates[fact.index] = fate
    return standing, fates


# 3. Exposures


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """A standing root, numbered."""

    number: int
    root: Fact
    key: tuple[Any, ...]

    @property
    def e(self) -> Millis:
        """Return its time."""
        return self.root.t


def open_exposures(chain: ChainSpec, standing: Sequence[Fact]) -> list[Exposure]:
    """Number the standing roots. One with a null in its key opens none."""

    def order(root: Fact) -> tuple[Any, ...]:
        key = tuple(p.encode() if isinstance(p, str) else p for p in root.key(chain) or ())
        return root.t, key, root.place

    roots = [f for f in standing if f.kind == chain.root.name and f.key(chain) is not None]
    return [Exposure(n, root, root.key(chain) or ()) for n, root in enumerate(sorted(roots, key=order))]


# 4. The end of a kind's window


class Joined(NamedTuple):
    """An event of an exposure; the order of the tuple is the order of events."""

    time: Millis
    t: Millis
    place: tuple[int, int, str]
    fact: Fact


@dataclass(frozen=True)
class View:
    """An exposure at an instant: the events that joined it with a time up to then, in order, per kind."""

    chain: ChainSpec
    e: Millis
    seen: dict[str, list[Joined]]
    taken: dict[Fact, Millis] = field(default_factory=dict)  # events that were taken back, and when

    def stands(self, kind: str, at: Millis) -> bool:
        """Whether at an instant some event of the kind had come and was not taken back."""
        if kind == self.chain.root.name:
            return True
        return any(j.time <= at < self.taken.get(j.fact, at + 1) for j in self.seen.get(kind, ()))

    def first(self, kind: str) -> Millis | None:
        """Return when a kind first happened; the root happens at e."""
        if kind == self.chain.root.name:
            return self.e
        return self.seen[kind][0].time if self.seen.get(kind) else None

    @cached_property
    def ends(self) -> dict[str, Millis]:
        """Return end(k) of every kind but the root."""
        return {k.name: self.end(k) for k in self.chain.kinds if k is not self.chain.root}

    @cached_property
    def last_end(self) -> Millis:
        """Return the greatest end(k)."""
        return max(self.ends.values(), default=self.e)

    def end(self, kind: KindSpec) -> Millis:
        """Return the moment after which no event of the kind can join any more."""
        return max(self.end_after(kind, p) for p in kind.after)

    def end_after(self, kind: KindSpec, p: str) -> Millis:
        """Return the end that one kind it comes after gives it."""
        within = kind.within or 0
        if p == self.chain.root.name:
            return self.e + within
        if not self.seen.get(p):
            return self.end(self.chain.kind(p))
        if kind.parent is None:
            return self.seen[p][0].time + within
        return max(self.seen[p][-1].time + within, self.end(self.chain.kind(p)))


# 5. Belonging


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of a standing child, and where and when it joined."""

    fate: Fate
    exposure: Exposure | None = None
    time: Millis = 0
    follows: Fact | None = None


WAITING = Verdict("waiting")


class Parent(NamedTuple):
    """What a child comes after: the exposure, and the parent's time in it."""

    exposure: Exposure
    time: Millis
    fact: Fact


@dataclass
class World:
    """One hypothesis: these facts stand, these exposures are open, and these are the children's fates."""

    chain: ChainSpec
    watermark: Millis
    standing: list[Fact]
    exposures: list[Exposure]
    fixed: dict[int, Fate]  # of all that are no standing children
    verdicts: dict[Fact, Verdict] = field(default_factory=dict)

    def fate(self, index: int) -> Fate | None:
        """Return the fate of a record of the input, None for one that no kind wants."""
        return {f.index: v.fate for f, v in self.verdicts.items()}.get(index, self.fixed.get(index))

    @cached_property
    def events(self) -> dict[tuple[int, str], list[Joined]]:
        """Return, per exposure and kind, what joined, in the order of events."""
        found: dict[tuple[int, str], list[Joined]] = {}
        for f, v in self.verdicts.items():
            if v.exposure is not None:
                found.setdefault((v.exposure.number, f.kind), []).append(Joined(v.time, f.t, f.place, f))
        return {where: sorted(events, key=lambda j: j[:3]) for where, events in found.items()}

    def view(self, exposure: Exposure, at: Millis) -> View:
        """Return what is known of an exposure at an instant."""
        kinds = [k.name for k in self.chain.kinds]
        seen = {k: [j for j in self.events.get((exposure.number, k), ()) if j.time <= at] for k in kinds}
        taken: dict[Fact, Millis] = {}
        for kind in self.chain.kinds:
            for j in seen[kind.name] if kind.retracts else ():
                follows = self.verdicts[j.fact].follows
                assert follows is not None
                taken[follows] = min(j.time, taken.get(follows, j.time))
        return View(self.chain, exposure.e, seen, taken)

    def is_known(self, exposure: Exposure, at: Millis) -> bool:
        """Whether an exposure that began is not forgotten yet."""
        return at <= self.view(exposure, at).last_end + self.chain.remember


def settle(chain: ChainSpec, facts: Sequence[Fact], watermark: Millis) -> World:
    """Return the world in which every child's fate follows from the fates of all."""
    late = {f.index for f in facts if is_late(f, facts, chain.lateness)}
    released = [f for f in facts if f.index not in late and f.t < watermark]
    standing, fixed = stand(chain, released)
    exposures = open_exposures(chain, standing)
    opened = {x.root for x in exposures}
    here = {f.index for f in released}
    fixed |= {f.index: "late" if f.index in late else "waiting" for f in facts if f.index not in here}
    roots = [f for f in standing if f.kind == chain.root.name]
    fixed |= {f.index: "joined" if f in opened else "orphan" for f in roots}
    children = [f for f in standing if f.kind != chain.root.name]
    world = World(chain, watermark, standing, exposures, fixed, dict.fromkeys(children, WAITING))
    for _ in range(len(facts) * len(chain.kinds) + 2):
        verdicts = {child: judge(world, child) for child in children}
        if verdicts == world.verdicts:
            return world
        world = World(chain, watermark, standing, exposures, fixed, verdicts)
    raise AssertionError("the fates of the children depend on each other in a circle")


def judge(world: World, child: Fact) -> Verdict:
    """Return the fate of a child in a world."""
    kind = world.chain.kind(child.kind)
    named = child.get(kind.parent) is not None
    parent = parent_by_name(world, child, kind) if named else parent_by_key(world, child, kind)
    if parent == "waiting":
        return WAITING
    if parent is None:
        return Verdict("orphan") if child.t + kind.skew < world.watermark else WAITING
    if child.t - parent.time > (kind.within or 0):
        return Verdict("outside")
    return Verdict("joined", parent.exposure, max(child.t, parent.time), parent.fact)


def parent_by_name(world: World, child: Fact, kind: KindSpec) -> Parent | Literal["waiting"] | None:
    """Return the parent that the child names, None if there is none or it belongs nowhere."""
    record = named_record(world, child, kind)
    if record is None:
        return None
    if record.kind == world.chain.root.name:
        return next((Parent(x, x.e, record) for x in world.exposures if x.root is record), None)
    verdict = world.verdicts[record]
    if verdict.exposure is not None:
        return Parent(verdict.exposure, verdict.time, record)
    return "waiting" if verdict == WAITING else None


def named_record(world: World, child: Fact, kind: KindSpec) -> Fact | None:
    """Return the standing record whose id the child names: one before it goes before one that follows it."""
    oldest = child.t - (kind.within or 0) - world.chain.remember

    def rank(f: Fact) -> tuple[Any, ...]:
        return max(0, f.t - child.t), kind.after.index(f.kind)

    found = [
        f
        for f in world.standing
        if f.kind in kind.after
        and f.get(world.chain.kind(f.kind).id) == child.get(kind.parent)
        and oldest <= f.t <= child.t + kind.skew
    ]
    return min(found, key=rank, default=None)


def parent_by_key(world: World, child: Fact, kind: KindSpec) -> Parent | None:
    """Return the parent of a child that names none."""
    exposure = exposure_by_key(world, child, kind)
    if exposure is None:
        return None
    view = world.view(exposure, child.t + kind.skew)
    firsts = [(first, p) for p in kind.after if (first := view.first(p)) is not None]
    before = [first for first, _ in firsts if first <= child.t]
    follow = [first for first, _ in firsts if child.t < first <= child.t + kind.skew]
    time = before[0] if before else min(follow, default=None)
    if time is None:
        return None
    parent = next(p for first, p in firsts if first == time)
    return Parent(
        exposure, time, exposure.root if parent == world.chain.root.name else view.seen[parent][0].fact
    )


def exposure_by_key(world: World, child: Fact, kind: KindSpec) -> Exposure | None:
    """Return the latest known exposure at or before the child, else the first that follows within skew."""
    own = [x for x in world.exposures if x.key == child.key(world.chain)]
    before = [x for x in own if x.e <= child.t and world.is_known(x, child.t)]
    follow = [x for x in own if child.t < x.e <= child.t + kind.skew]
    return before[-1] if before else follow[0] if follow else None
