"""A joiner at work: reads sources, writes blocks, and after a crash goes on as if nothing had happened."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import sleep
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from stream_mtl.clock import END, HOUR, MINUTE, SECOND, Clock, Millis
from stream_mtl.connectors.base import DeadLetter, Source
from stream_mtl.connectors.letters import DeadLetters
from stream_mtl.errors import FingerprintMismatch, PositionOutOfRange, Unavailable
from stream_mtl.events.codec import Codec
from stream_mtl.events.letters import letters_of
from stream_mtl.events.types import Arrivals, Events, EventSpec, Malformed
from stream_mtl.failpoints import reach
from stream_mtl.join.block import Header, Progress, Tick, merged
from stream_mtl.join.digest import TransitionDigest
from stream_mtl.join.joiner import Joiner, Partition
from stream_mtl.join.log import TransitionLog
from stream_mtl.join.rebuild import adopt, not_to_be_made, ways
from stream_mtl.join.silence import Silence, SilenceOptions
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.state import declaration, restore, save
from stream_mtl.join.store import State, StateStore
from stream_mtl.join.transitions import Transitions

_PATIENCE: Final = 3_000
"""How often a source may give nothing of what it has, before it counts as away; after each it is given a rest."""
_REST: Final = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a joiner reads and commits. Times are of the clock, except `ahead`, which is event time."""

    poll_rows: int = 10_000  # records of one source at a time
    tell_rows: int = 32_768  # what became true is told when so many records were read, or a block is due
    block_rows: int = 65_536  # a block is written when so many rows were told,
    block_every: Millis = SECOND  # or so long after the last one
    checkpoint_every: Millis = MINUTE
    ahead: Millis = HOUR  # a partition so far in front of the last one is not polled
    silence: SilenceOptions | None = None  # live only: how long silence is borne; None: for ever


class JoinWorker:
    """Runs one joiner partition. The order of a commit:

    1 dead letters are flushed, 2 the block is appended to the log, and with it its positions are committed,
    3 now and then the state is checkpointed, never ahead of the log.

    Telling costs some milliseconds whatever there is to tell, and what is told leaves with a block. So it is
    done when a block is due, and in between only to bound what is held back.
    """

    def __init__(
        self,
        chain: ChainSpec,
        specs: Sequence[EventSpec],
        sources: Sequence[Source],
        codec: Codec,
        log: TransitionLog,
        store: StateStore,
        letters: DeadLetters,
        clock: Clock,
        options: WorkerOptions = WorkerOptions(),
        partition: int = 0,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        schemas = {spec.kind: spec.schema for spec in specs}
        places = [(source.name, number) for source in sources for number in sorted(source.partitions())]
        self._source_of = {spec.kind: spec.source for spec in specs}
        self._codec, self._log, self._store, self._letters = codec, log, store, letters
        self._clock, self._options, self._partition = clock, options, partition
        self._declaration = declaration(chain, schemas)
        self.joiner = Joiner(chain, schemas, places)
        self._committed = dict(self.joiner.positions)
        self._block = 0
        self._told: list[Transitions] = []
        self._untold = 0  # records read since the last telling
        self._ticks: list[Tick] = []
        self._ended: set[str] = set()
        self._last_block = self._last_checkpoint = clock()
        self._silence = (
            None if options.silence is None else Silence(places, options.silence, self._last_block)
        )

    def recover(self) -> int:
        """Go to where the last durable block ended; returns how many records were read again for it.

        1 take over the log, where it can be, 2 take the newest checkpoint that is not ahead of it, 3 read the input
        again from there up to the block's positions, with the output off. Raises FingerprintMismatch,
        PositionOutOfRange, Unavailable.
        """
        reach("recover.begin")
        states = self._store.load()
        if states:
            self._log.resume(states[0].meta.get("log", {}))
        self._log.declare(self._declaration)
        last = self._log.last()
        if last is None:
            self.joiner.positions, self._committed = self._begins(), self._begins()
            self._seek(self.joiner.positions)
            return 0
        again = self._restore(last, states)
        self.joiner.take_conflicts()  # they were sent before the block was written
        self._untold = 0
        self._committed, self._block = dict(self.joiner.positions), last.block + 1
        self._seek(self.joiner.positions)
        reach("recover.end")
        return again

    def step(self) -> int:
        """Poll every source once, and tell or commit if it is time. Returns how many records were read."""
        read = 0
        paused = self._ahead()
        heard = set(paused)
        for name, source in self._sources.items():
            some = source.poll(self._options.poll_rows, frozenset(n for s, n in paused if s == name))
            for records in some:
                reach("join.after_poll")
                arrivals = self._codec.decode(records)
                self._admit(arrivals)
                read += len(records)
                heard.add((name, records.partition))
                reach("join.after_admit")
            if not some and source.ended() and name not in self._ended:
                self._end_source(name)
        self._pass_over_silent(heard)
        self._untold += read
        if self._untold >= self._options.tell_rows:
            self._tell()
        rows = sum(len(part) for part in self._told)
        due = self._clock() - self._last_block >= self._options.block_every
        if due or rows >= self._options.block_rows:
            self.commit()
        return read

    def ended(self) -> bool:
        """Return whether every source has come to its end."""
        return len(self._ended) == len(self._sources)

    @property
    def committed(self) -> Mapping[Partition, int]:
        """How far each source partition was read by the last block."""
        return self._committed

    @property
    def blocks(self) -> int:
        """How many blocks were made durable since the beginning of the log."""
        return self._block

    @property
    def checkpointed(self) -> Millis:
        """When the state was kept last; before that, when this joiner was made."""
        return self._last_checkpoint

    @property
    def silent(self) -> frozenset[str]:
        """The sources that are passed over because they are silent."""
        return frozenset() if self._silence is None else self._silence.silent

    def finish(self, upto: Millis | None = None) -> None:
        """Tell what the end of input makes known (and all before `upto`), commit, and checkpoint."""
        end = self.joiner.end()
        self._tell(end if upto is None else max(end, upto))
        self.commit()
        self.checkpoint()

    def commit(self) -> None:
        """Make what was read, and what became true by it, durable."""
        self._last_block = self._clock()
        self._tell()
        if not self._told and self._committed == self.joiner.positions and not self._ticks:
            return
        self._letters.flush()
        reach("join.before_append")
        self._log.append(self._header(), self._batch())
        reach("join.after_append")
        self._committed = dict(self.joiner.positions)
        self._told, self._ticks = [], []
        self._block += 1
        if self._last_block - self._last_checkpoint >= self._options.checkpoint_every:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Keep the state, which must be that of the last block."""
        state = save(self.joiner)
        reach("join.before_checkpoint")
        block = self._block - 1
        self._store.save(
            replace(state, meta={**state.meta, "block": block, "log": self._log.bookmark(block)})
        )
        self._last_checkpoint = self._clock()

    def close(self) -> None:
        """Let go of sources, sinks and the log."""
        with ExitStack() as held:  # each is closed, whatever the others say to it
            held.callback(self._letters.close)
            held.callback(self._log.close)
            for source in self._sources.values():
                held.callback(source.close)

    def _tell(self, upto: Millis | None = None) -> None:
        self._told += self.joiner.tell(upto)
        self._untold = 0
        self._keep_aside()

    def _restore(self, last: Header, states: Sequence[State]) -> int:
        """Become what this joiner was at the end of the last block; returns how many records were read for it."""
        places = {(p.source, p.partition) for p in last.progress}
        unknown = set(self.joiner.positions) ^ places
        if unknown:
            raise FingerprintMismatch(
                f"source partitions {sorted(unknown)} differ from those the log was written from: "
                f"restore them, or start with an empty log and state"
            )
        for state in states:
            if state.meta["block"] <= last.block:
                restore(self.joiner, state)
                reach("recover.restored")
                self._seek(self.joiner.positions)
                return self._go_to(last, int(state.meta["block"]) + 1)
        return self._make_anew(last)

    def _make_anew(self, last: Header) -> int:
        """There is no checkpoint: see `rebuild`."""
        again, first = 0, next(iter(self._log.headers(self._log.first())))
        for way in ways(self.joiner, self._log, last):
            self.joiner = Joiner(self.joiner.chain, self.joiner.schemas, list(self.joiner.positions))
            way.begin(self.joiner, first)
            self._seek(self.joiner.positions)
            told = TransitionDigest(self.joiner.chain.features_on_final)
            if way.start is not None:
                again += self._go_to(way.middle, way.start.block + 1)
                adopt(self.joiner, way.middle)
                self.joiner.sieve = None
            start = first.block if way.start is None else way.middle.block + 1
            again += self._go_to(last, start, told.update)
            if way.agrees(self.joiner, told):
                adopt(self.joiner, last)
                return again
        raise not_to_be_made(last)

    def _go_to(
        self, header: Header, start: int, told: Callable[[Transitions], None] = lambda transitions: None
    ) -> int:
        """Read again up to the end of a block, from where the block before `start` ended, with the output off."""
        target = {(p.source, p.partition): p.next for p in header.progress}
        passed = (h for h in self._log.headers(start) if h.block <= header.block)
        again = self._catch_up(target, [tick for h in passed for tick in h.ticks], told)
        self._seek(target)  # a poll may have gone further
        for transitions in self.joiner.tell(header.told_before):
            told(transitions)
        return again

    def _begins(self) -> dict[Partition, int]:
        return {
            (name, number): position
            for name, source in self._sources.items()
            for number, position in source.begin().items()
        }

    def _seek(self, positions: Mapping[Partition, int]) -> None:
        for name, source in self._sources.items():
            source.seek({number: position for (s, number), position in positions.items() if s == name})

    def _catch_up(
        self, target: Mapping[Partition, int], ticks: Sequence[Tick], told: Callable[[Transitions], None]
    ) -> int:
        again = empty = 0
        self._apply(ticks)
        while behind := {p for p, position in self.joiner.positions.items() if position < target[p]}:
            found, before = False, again
            for name, source in self._sources.items():
                done = frozenset(n for s, n in target if s == name and (s, n) not in behind)
                for records in source.poll(self._options.poll_rows, done):
                    found = True
                    again += self._read_again(self._codec.decode(records), target, ticks)
                    reach("recover.reading")
            empty = 0 if found else empty + 1
            if empty:
                self._wait_for(target, behind, empty)
            self._untold += again - before
            if self._untold >= self._options.tell_rows:
                for transitions in self.joiner.tell():
                    told(transitions)
                self._untold = 0
        return again

    def _wait_for(self, target: Mapping[Partition, int], behind: Collection[Partition], empty: int) -> None:
        """A live source may take a while to give what it has. Raises PositionOutOfRange if it has not, Unavailable."""
        short = {p: (self.joiner.positions[p], target[p]) for p in sorted(behind)}
        if empty == 1:
            try:
                self._seek(target)
            except PositionOutOfRange as error:
                raise PositionOutOfRange(
                    f"the log of transitions was written from records that the sources do not have (partition: "
                    f"has, needs): {short}; restore the sources, or start with an empty log and state ({error})"
                ) from None
            self._seek(self.joiner.positions)
        elif empty > _PATIENCE:
            raise Unavailable(f"the sources do not give what they have (partition: has, needs): {short}")
        else:
            sleep(_REST)

    def _read_again(self, arrivals: Arrivals, target: Mapping[Partition, int], ticks: Sequence[Tick]) -> int:
        """Admit arrivals up to the target, ticks where they were; returns how many records that were."""
        place = (arrivals.source, arrivals.partition)
        stops = {t.position for t in ticks if (t.source, t.partition) == place} | {target[place]}
        begin = self.joiner.positions[place]
        for stop in sorted(stops):
            if arrivals.first < stop <= target[place]:
                before, arrivals = _cut(arrivals, stop)
                self.joiner.admit(before)
                self._apply([t for t in ticks if (t.source, t.partition) == place and t.position == stop])
        if arrivals.next <= target[place] and arrivals.next > self.joiner.positions[place]:
            self.joiner.admit(arrivals)
        return self.joiner.positions[place] - begin

    def _apply(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            if self.joiner.positions[tick.source, tick.partition] == tick.position:
                self.joiner.watermarks[tick.source, tick.partition].floor(tick.floor)

    def _end_source(self, name: str) -> None:
        self._ended.add(name)
        for partition in self._sources[name].partitions():
            self.tick((name, partition), END)

    def tick(self, place: Partition, floor: Millis) -> None:
        """Raise the watermark of a silent partition; the next block says so."""
        self.joiner.watermarks[place].floor(floor)
        position = self.joiner.positions[place]
        # Ticks of one position act on the same records, so the last, which is the greatest, says it all.
        self._ticks = [
            one for one in self._ticks if (one.source, one.partition, one.position) != (*place, position)
        ]
        self._ticks.append(Tick(*place, position, floor))

    def _pass_over_silent(self, heard: set[Partition]) -> None:
        if self._silence is None:
            return
        now = self._clock()
        self._silence.hear(heard, now)
        marks = {place: self.joiner.watermarks[place].value for place in self.joiner.positions}
        for place, floor in self._silence.floors(marks, now).items():
            self.tick(place, floor)

    def _ahead(self) -> set[Partition]:
        """Return the partitions that are so far in front of the last one that they wait for it."""
        marks = self.joiner.watermarks
        reached = {p: marks[p].value for p in self.joiner.positions if p[0] not in self._ended}
        known = [value for value in reached.values() if value is not None]
        if not known or len(known) < len(reached):
            return {p for p, value in reached.items() if value is not None}
        return {
            p
            for p, value in reached.items()
            if value is not None and value > min(known) + self._options.ahead
        }

    def _admit(self, arrivals: Arrivals) -> None:
        self.joiner.admit(arrivals)
        for letter in letters_of(arrivals):
            self._letters.add(letter)

    def _keep_aside(self) -> None:
        """Send records that repeat an id with other fields to the dead letters, as JSON of their fields."""
        for kind, facts in self.joiner.take_conflicts():
            source = self._source_of[kind]
            for place, position, time, fields in zip(
                facts.partition, facts.position, facts.time, facts.fields.to_pylist(), strict=True
            ):
                value = msgspec.json.encode({"kind": kind, "time": int(time), "fields": fields})
                detail = f"another {kind} with this id and other fields stands"
                self._letters.add(DeadLetter(source, int(place), int(position), "conflict", value, detail))

    def _header(self) -> Header:
        marks = self.joiner.watermarks
        progress = tuple(
            Progress(*place, self._committed[place], position, marks[place].value, marks[place].greatest)
            for place, position in self.joiner.positions.items()
        )
        return Header(
            partition=self._partition,
            epoch=self._log.epoch,
            block=self._block,
            told_before=self.joiner.told_before,
            exposures=self.joiner.exposures.ring.next,
            progress=progress,
            ticks=tuple(self._ticks),
            accounts=self.joiner.accounts(),
            fingerprint=str(self._declaration["fingerprint"]),
            ignored=self.joiner.ignored,
        )

    def _batch(self) -> Transitions:
        return merged(self._told) if self._told else self.joiner.ripener.nothing()


def _cut(arrivals: Arrivals, stop: int) -> tuple[Arrivals, Arrivals]:
    """Split arrivals at a position."""
    stop = min(stop, arrivals.next)
    return _part(arrivals, arrivals.first, stop, arrivals.ignored), _part(arrivals, stop, arrivals.next, 0)


def _part(arrivals: Arrivals, low: int, high: int, ignored: int) -> Arrivals:
    events = tuple(e for e in (_between(e, low, high) for e in arrivals.events) if len(e))
    bad = arrivals.malformed
    rows = [i for i, position in enumerate(bad.position) if low <= position < high]
    malformed = Malformed(
        bad.position[rows],
        [bad.reason[i] for i in rows],
        [bad.detail[i] for i in rows],
        [bad.value[i] for i in rows],
        [bad.kind[i] for i in rows],
    )
    return Arrivals(arrivals.source, arrivals.partition, low, high, events, malformed, ignored)


def _between(events: Events, low: int, high: int) -> Events:
    rows = np.flatnonzero((events.position >= low) & (events.position < high))
    return Events(events.kind, events.position[rows], events.time[rows], events.fields.take(pa.array(rows)))
