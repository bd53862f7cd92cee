"""The join over columns: takes arrivals, holds them back until the watermark has passed, tells what became true."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.clock import BEGINNING, END, Millis
from stream_mtl.events.types import Arrivals, Events
from stream_mtl.events.watermark import Watermark, Watermarks
from stream_mtl.hashing import Hashes
from stream_mtl.join.belong import NOTHING_OPENED, Belonging, Fates, Opened
from stream_mtl.join.children import JOINED, WAITING, Children, Identity, Waiters
from stream_mtl.join.exposures import Exposures, Touched
from stream_mtl.join.hold import Facts, Hold
from stream_mtl.join.identity import exact_copies, judge
from stream_mtl.join.keys import Claims
from stream_mtl.join.ripen import Ripener
from stream_mtl.join.rows import Rows
from stream_mtl.join.scores import Scores, beside
from stream_mtl.join.search import Ints, runs
from stream_mtl.join.shape import shape_of
from stream_mtl.join.slices import cut_times
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.standing import Standing
from stream_mtl.join.transitions import Transitions
from stream_mtl.join.values import Sums, add_up

FATES = ("joined", "duplicate", "conflict", "outside", "late", "orphan", "malformed")
Partition = tuple[str, int]


class Joiner:
    """One joiner partition: exposures and their children from some source partitions, to transitions.

    What is told depends on the records below `positions` and their order within each source partition, not on
    how they were cut into calls. Give arrivals with `admit`, then `tell` what has become true.
    """

    def __init__(
        self, chain: ChainSpec, schemas: Mapping[str, pa.Schema], partitions: Sequence[Partition]
    ) -> None:
        self.chain = chain
        self.shape = shape_of(chain)
        self.positions: dict[Partition, int] = dict.fromkeys(partitions, 0)
        self.watermarks = Watermarks(dict.fromkeys(partitions, chain.lateness))
        self.counts = {kind.name: dict.fromkeys(FATES, 0) for kind in chain.every_kind}
        self.ignored = 0
        self._conflicts: list[tuple[str, Facts]] = []
        self.told_before: Millis = BEGINNING  # everything before this has been told
        self.sieve: Callable[[Events], npt.NDArray[np.bool_]] | None = (
            None  # what is passed over (see rebuild)
        )
        root = chain.root.name
        self.schemas = dict(schemas)
        self.hold = Hold(schemas[root])
        before = chain.before
        self.scores = None if before is None else Scores(before, chain, schemas[before.name])
        told = schemas[root] if self.scores is None else pa.schema([*schemas[root], *self.scores.told])
        self.exposures = Exposures(self.shape, told)
        self.touched = Touched(self.shape, told)
        self.children = {k.name: Children(k, self.shape, schemas[k.name]) for k in self.shape.children}
        self.ripener = Ripener(self.shape, self.exposures, self.touched)
        self.standing = {
            name: Standing(name, self.shape, self.touched) for name in sorted(self.shape.retracted)
        }
        self.ripener.standing = self.standing
        ids = {name: children.ids for name, children in self.children.items()}
        self._belonging = Belonging(self.shape, self.exposures, self.touched, ids)

    def admit(self, arrivals: Arrivals) -> None:
        """Take what one poll gave of one source partition. Late records are counted and left out."""
        partition = (arrivals.source, arrivals.partition)
        self.positions[partition] = arrivals.next
        self.ignored += arrivals.ignored
        for kind in arrivals.malformed.kind:
            self.counts[kind or self.chain.root.name]["malformed"] += 1
        for events, late in self._late(self.watermarks[partition], arrivals.events):
            if self.sieve is not None:
                late |= self.sieve(events)
            count = int(late.sum())
            self.counts[events.kind]["late"] += count
            self._hold_of(events.kind).add(_without(events, late) if count else events, arrivals.partition)

    def _hold_of(self, kind: str) -> Hold:
        if self.scores is not None and kind == self.scores.kind.name:
            return self.scores.hold
        return self.hold if kind == self.chain.root.name else self.children[kind].hold

    def watermark(self) -> Millis:
        """Return the time that every source partition has passed."""
        least = self.watermarks.least()
        return BEGINNING if least is None else min(least, self.end())

    def end(self) -> Millis:
        """Return the watermark at the end of input: just past the latest event of any partition."""
        greatest = self.watermarks.greatest()
        return BEGINNING if greatest is None else greatest + 1

    def tell(self, upto: Millis | None = None) -> list[Transitions]:
        """Tell what has become true before the watermark (or before `upto`, if that is later), in order."""
        before = max(self.watermark(), BEGINNING if upto is None else upto)
        if before <= self.told_before:
            return []
        roots = self.hold.release(before)
        facts = {name: children.hold.release(before) for name, children in self.children.items()}
        if self.scores is not None:
            facts[self.scores.kind.name] = self.scores.hold.release(before)
        told = []
        for stop, some_roots, some in self._slices(roots, facts, before):
            transitions = self._slice(some_roots, some, stop)
            if transitions is not None:
                told.append(transitions)
            self.told_before = stop
        return told

    def take_conflicts(self) -> list[tuple[str, Facts]]:
        """Return the records that were set aside as conflicts since the last call, by kind."""
        taken, self._conflicts = self._conflicts, []
        for name, identity in self.identities().items():
            taken += [(name, facts) for facts in identity.conflicts]
            identity.conflicts = []
        return taken

    def identities(self) -> dict[str, Identity]:
        """Return what tells repeats, of every kind but the root."""
        identities = {name: children.identity for name, children in self.children.items()}
        if self.scores is not None:
            identities[self.scores.kind.name] = self.scores.identity
        return identities

    def accounts(self) -> dict[str, dict[str, int]]:
        """Return, per kind, how many records met which fate; they add up to the records read."""
        accounts = {kind: dict(counts) for kind, counts in self.counts.items()}
        accounts[self.chain.root.name]["waiting"] = len(self.hold)
        for name, children in self.children.items():
            accounts[name]["waiting"] = children.waiting()
        if self.scores is not None:
            accounts[self.scores.kind.name]["waiting"] = self.scores.waiting()
        return accounts

    def _late(
        self, watermark: Watermark, events: tuple[Events, ...]
    ) -> Iterator[tuple[Events, npt.NDArray[np.bool_]]]:
        if len(events) == 1:
            yield events[0], watermark.advance(events[0].time)
            return
        if not events:
            return
        order = np.argsort(np.concatenate([e.position for e in events]), kind="stable")
        late = np.empty(len(order), np.bool_)
        late[order] = watermark.advance(np.concatenate([e.time for e in events])[order])
        cuts = np.cumsum([len(e) for e in events])[:-1]
        yield from zip(events, np.split(late, cuts), strict=True)

    def _slices(
        self, roots: Facts, facts: dict[str, Facts], before: Millis
    ) -> Iterator[tuple[Millis, Facts, dict[str, Facts]]]:
        """Cut what was released so that what happens in a slice does not decide what is known in it (decision 2)."""
        start, starts = 0, dict.fromkeys(facts, 0)
        for limit in (*self._cuts(roots, facts), before):
            stop = int(np.searchsorted(roots.time, limit))
            stops = {name: int(np.searchsorted(f.time, limit)) for name, f in facts.items()}
            some = {name: f.slice(starts[name], stops[name]) for name, f in facts.items()}
            yield limit, roots.slice(start, stop), some
            start, starts = stop, stops

    def _cuts(self, roots: Facts, facts: dict[str, Facts]) -> list[Millis]:
        if any(kind.parent is not None for kind in self.shape.children):
            time = np.concatenate([roots.time, *(f.time for f in facts.values())])
            return cut_times(np.zeros(len(time), np.int8), time, self.chain.remember)
        apart = [self.children[name] for name in self.children if name in self.shape.apart]
        children = [facts[c.kind.name] for c in apart] + [c.waiters.facts for c in apart if len(c.waiters)]
        time = np.concatenate([np.zeros(0, np.int64), *(some.time for some in children)])
        if len(time) == 0 or int(time.max()) - int(time.min()) <= self.chain.remember:
            return []
        hashes = [self.exposures.keys.hashes([f.column(k) for k in self.chain.key]) for f in children]
        return cut_times(np.concatenate(hashes), time, self.chain.remember)

    def _slice(self, roots: Facts, facts: dict[str, Facts], before: Millis) -> Transitions | None:
        """Process the facts of [told_before, before), then tell everything due in it."""
        if self.scores is not None:
            name = self.scores.kind.name
            self.scores.add(facts[name], self.counts[name])
        numbers, opened = self._open(roots)
        events: list[tuple[Rows, Ints]] = []
        sums: dict[str, Sums] = {}
        for kind in self.shape.children:
            children = self.children[kind.name]
            waiters = children.standing(facts[kind.name], self.counts[kind.name])
            if len(waiters):
                fates = self._belonging.fates(children, waiters, opened, before)
                self._record(children, waiters, fates, events, sums)
        events += [standing.settle() for standing in self.standing.values()]
        transitions = self.ripener.tell(numbers, events, sums, before)
        self._keep_values(sums)
        for standing in self.standing.values():
            standing.keep(before)
        self._forget(before)
        self.exposures.keys.index.insert(opened.hashes, opened.number, opened.known)
        if self.exposures.has_id_index:
            self.exposures.ids.index.insert(opened.id_hashes, opened.id_number, opened.id_known)
        return transitions

    def _open(self, roots: Facts) -> tuple[Ints, Opened]:
        """Open an exposure for every root that stands."""
        exposures, root = self.exposures, self.chain.root
        counts = self.counts[root.name]
        if len(roots) == 0:
            return np.zeros(0, np.int64), NOTHING_OPENED
        by_key = exposures.keys.claim([roots.column(name) for name in self.chain.key])
        by_id = by_key
        if root.id is None:
            stands, clash = ~exact_copies(by_key.hashes, roots), np.zeros(len(roots), np.bool_)
        else:
            if exposures.has_id_index:
                by_id = exposures.ids.claim([roots.column(root.id)])
            memory = self.shape.memory(root)
            stands, clash = judge(by_id, exposures.ring, exposures.pile, roots, memory)
        if clash.any():
            counts["conflict"] += int(clash.sum())
            self._conflicts.append((root.name, roots.take(np.flatnonzero(clash))))
        standing = np.flatnonzero(stands)
        counts["duplicate"] += len(roots) - len(standing) - int(clash.sum())
        counts["joined"] += len(standing)
        chosen = self._numbering(roots, standing)
        kept = roots.take(chosen)
        id_hashes = by_id.hashes[chosen] if exposures.has_id_index else None
        numbers = exposures.append(kept.time, by_key.hashes[chosen], id_hashes, self._with_scores(kept))
        place = np.full(len(roots), -1)
        place[chosen] = np.arange(len(chosen))
        first = int(numbers[0]) if len(numbers) else 0
        opened = _sorted(by_key, place, kept.time, first)
        return numbers, Opened(
            *opened, *(opened if by_id is by_key else _sorted(by_id, place, kept.time, first))
        )

    def _with_scores(self, roots: Facts) -> pa.RecordBatch:
        """Return the fields of new exposures, with their scores' where there are such."""
        if self.scores is None:
            return roots.fields
        keys = [roots.column(name) for name in self.chain.key]
        scored = self.scores.take(keys, roots.time, self.counts[self.scores.kind.name])
        return beside(roots.fields, scored)

    def _numbering(self, roots: Facts, stands: Rows) -> Rows:
        """Return the standing rows in the order of their numbers: exposures of one instant go by key."""
        time = roots.time[stands]
        tied = np.zeros(len(stands), np.bool_)
        tied[1:] = time[1:] == time[:-1]
        tied[:-1] |= tied[1:]
        places = np.flatnonzero(tied)
        if len(places) == 0:
            return stands
        columns = [roots.take(stands[places]).column(name) for name in self.chain.key]
        names = [f"key{i}" for i in range(len(columns))]
        table = pa.table([pa.array(time[places]), *columns], names=["time", *names])
        order = _sort(table, ["time", *names])
        stands = stands.copy()
        stands[places] = stands[places[order]]
        return stands

    def _record(
        self,
        children: Children,
        waiters: Waiters,
        fates: Fates,
        events: list[tuple[Rows, Ints]],
        sums: dict[str, Sums],
    ) -> None:
        """Write the fates of one kind's children into the state, and keep those that go on waiting."""
        waiting, joined, outside, orphan = np.bincount(fates.state, minlength=4).tolist()
        counts = self.counts[children.kind.name]
        counts["joined"] += joined
        counts["outside"] += outside
        counts["orphan"] += orphan
        if joined:
            self._join(children, waiters, fates, events, sums)
        if children.ids is not None and children.ids.named:
            kept = waiters.id_row >= children.ids.ring.first
            rows = waiters.id_row[kept]
            children.ids.note(rows, fates.state[kept], fates.time[kept], fates.touched[kept])
        if waiting:
            rows = np.flatnonzero(fates.state == WAITING)
            still = waiters.take(rows)
            children.waiters = Waiters(still.facts, fates.exposure[rows], fates.touched[rows], still.id_row)
        else:
            children.waiters = children.none_waiting

    def _join(
        self,
        children: Children,
        waiters: Waiters,
        fates: Fates,
        events: list[tuple[Rows, Ints]],
        sums: dict[str, Sums],
    ) -> None:
        """Let what joined happen to its exposures; those become known for longer, and can be found by key."""
        first_new = self.touched.ring.next
        joined = np.flatnonzero(fates.state == JOINED)
        touched, time = fates.touched[joined], fates.time[joined]
        untouched = np.flatnonzero(touched < 0)
        if len(untouched):
            touched[untouched] = self.touched.touch(self.exposures, fates.exposure[joined[untouched]])
            fates.touched[joined] = touched
        facts = waiters.facts.take(joined)
        begun = self._note(children, facts, touched, time, sums)
        if children.kind.name in self.standing:
            self._let_stand(children, facts, waiters.id_row[joined], touched, time)
        if fates.event is not None:
            standing, event = self.standing[children.kind.after[0]], fates.event[joined]
            standing.take_back(np.where(event >= 0, event, standing.first(touched)), touched, time)
        events.append(begun)
        new = np.arange(first_new, self.touched.ring.next)
        prolonged = begun[0] if children.kind.name in self.shape.prolonging else begun[0][:0]
        self.touched.settle(np.union1d(new, prolonged))
        self.touched.link(new)

    def _let_stand(self, children: Children, facts: Facts, id_row: Rows, touched: Rows, time: Ints) -> None:
        """Note events that others may take back, also where those find them by their id."""
        event = self.standing[children.kind.name].add(touched, time, facts)
        if children.ids is not None and children.ids.named:
            kept = id_row >= children.ids.ring.first
            children.ids.ring.put("event", id_row[kept], event[kept])

    def _note(
        self, children: Children, facts: Facts, touched: Rows, time: Ints, sums: dict[str, Sums]
    ) -> tuple[Rows, Ints]:
        """Note events of one kind; returns, of each exposure, the first of them."""
        name, ring = children.kind.name, self.touched.ring
        order = np.lexsort((time, touched))
        rows, times = touched[order], time[order]
        begins = runs(rows)
        new = begins & (ring.get(f"first.{name}", rows) == END)
        ring.put(f"first.{name}", rows[new], times[new])
        due = new
        if name in self.shape.named:
            ends = np.append(begins[1:], True)
            ring.put(f"last.{name}", rows[ends], times[ends])
            due = np.ones(len(rows), np.bool_)
        if name in self.standing:  # its clock may start anew with any of them
            due = np.ones(len(rows), np.bool_)
        self.ripener.expect(name, rows[due], times[due])
        tasks = self.shape.sums[name]
        if tasks:
            sums[name] = add_up(name, tasks, self.touched, touched, time, facts, self.chain.max_events)
        return rows[begins], times[begins]

    def _keep_values(self, sums: dict[str, Sums]) -> None:
        for running in sums.values():
            last = np.append(running.touched[1:] != running.touched[:-1], True)
            for task, values in running.values.items():
                self.touched.ring.put(f"value.{task}", running.touched[last], values[last])

    def _forget(self, before: Millis) -> None:
        self.exposures.forget(before)
        self.touched.forget(before)
        for children in self.children.values():
            children.identity.forget(before)
        if self.scores is not None:
            self.scores.settle(before, self.counts[self.scores.kind.name])


def _sort(table: pa.Table, names: list[str]) -> Rows:
    order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names])
    places: Rows = order.to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _sorted(
    claims: Claims, place: Rows, time: Ints, first: int
) -> tuple[Hashes, Ints, Ints, npt.NDArray[np.bool_]]:
    """Return (hash, time, number, may be known already) of the chosen rows, in order of hashes."""
    order = claims.order[place[claims.order] >= 0]
    chosen = place[order]
    return claims.hashes[order], time[chosen], first + chosen, claims.prior[order] >= 0


def _without(events: Events, late: npt.NDArray[np.bool_]) -> Events:
    kept = np.flatnonzero(~late)
    return Events(events.kind, events.position[kept], events.time[kept], events.fields.take(pa.array(kept)))
