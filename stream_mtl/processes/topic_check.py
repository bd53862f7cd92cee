"""Whether topics are as a joiner needs them: rules over what a broker says of them, each with its remedy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from stream_mtl.clock import DAY
from stream_mtl.config.units import format_size
from stream_mtl.connectors.keys import partition_of
from stream_mtl.join.topic import PART_BYTES
from stream_mtl.processes.declared import Declared
from stream_mtl.processes.topic_facts import Sampled, TopicFacts
from stream_mtl.processes.topics import lifetime
from stream_mtl.watch.words import lapse

Level: TypeAlias = Literal["ok", "warning", "wrong"]

_AROUND: Final = 1_024  # bytes around a part of a block: its frame, the batch
_LETTER: Final = 2.4  # bytes of a dead letter for each byte of a record: base64, and the text again


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is in order or not, about a topic, and what to do about it."""

    topic: str
    rule: str
    level: Level
    says: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """What the rules look at."""

    made: Declared
    topics: Sequence[TopicFacts]

    @property
    def joiners(self) -> int:
        """How many joiner partitions there are."""
        return self.made.config.join.partitions


Rule: TypeAlias = Callable[[World, TopicFacts], Iterator[Finding]]


def check(made: Declared, topics: Sequence[TopicFacts]) -> list[Finding]:
    """Return what is in order and what is not, topic by topic."""
    world = World(made, topics)
    return [finding for facts in topics for rule in _rules(facts) for finding in rule(world, facts)] + list(
        _together(world)
    )


def _rules(facts: TopicFacts) -> Sequence[Rule]:
    if facts.partitions is None:
        return (_missing,)
    own = _BY_ROLE.get(facts.planned.role, ())
    if facts.settings is None:
        return (_unseen, *(rule for rule in own if rule in _WITHOUT_SETTINGS))
    return own


def _found(facts: TopicFacts, rule: str, level: Level, says: str, remedy: str = "") -> Finding:
    return Finding(facts.planned.name, rule, level, says, remedy)


def _set(facts: TopicFacts, setting: str) -> str:
    return f"kafka-configs.sh --alter --topic {facts.planned.name} --add-config {setting}"


def _missing(world: World, facts: TopicFacts) -> Iterator[Finding]:
    yield _found(facts, "there", "wrong", "there is no such topic", "stream-mtl topics create")


def _unseen(world: World, facts: TopicFacts) -> Iterator[Finding]:
    text = "its settings may not be seen: nothing is said about retention, compaction and sizes"
    yield _found(facts, "settings", "warning", text, "allow DescribeConfigs on it to this user")


def _partitions(world: World, facts: TopicFacts) -> Iterator[Finding]:
    count, joiners = facts.partitions or 0, world.joiners
    if facts.planned.role == "input" and joiners == 1:
        yield _found(facts, "partitions", "ok", f"{count}, all read by the one joiner")
    elif count == joiners:
        yield _found(facts, "partitions", "ok", f"{count}, one for each joiner")
    elif facts.planned.role == "input":
        text = f"{count}, but there are {joiners} joiners, each of which owns one partition of every input"
        yield _found(
            facts, "partitions", "wrong", text, f"set join.partitions = {count} or 1, or remake the topic"
        )
    else:
        text = f"{count}, but {joiners} joiners write a partition each"
        yield _found(facts, "partitions", "wrong", text, "begin an empty log under another name (join.path)")


def _single(world: World, facts: TopicFacts) -> Iterator[Finding]:
    count = facts.partitions or 0
    if count == 1:
        yield _found(facts, "partitions", "ok", "1")
    else:
        yield _found(facts, "partitions", "warning", f"{count}, only the first is used", "one is enough")


def _copies(world: World, facts: TopicFacts) -> Iterator[Finding]:
    if facts.replicas < 2:
        text = "on one broker: what it loses is lost"
        yield _found(
            facts, "copies", "warning", text, "remake it with --replication 3, on three brokers or more"
        )
    elif facts.replicas >= 3 and facts.number("min.insync.replicas") == 1:
        text = "a record counts as durable when one broker has it (min.insync.replicas is 1)"
        yield _found(facts, "copies", "warning", text, _set(facts, "min.insync.replicas=2"))
    elif facts.setting("unclean.leader.election.enable") == "true":
        text = "a broker that lags may become leader, and what it lacks is lost"
        yield _found(facts, "copies", "warning", text, _set(facts, "unclean.leader.election.enable=false"))
    else:
        yield _found(facts, "copies", "ok", f"on {facts.replicas} brokers")


def _retention(world: World, facts: TopicFacts) -> Iterator[Finding]:
    kept, needed = facts.number("retention.ms"), lifetime(world.made)
    size = facts.number("retention.bytes")
    if size is not None and size >= 0:
        text = f"a partition is cut at {format_size(size)}, however young its records are"
        yield _found(facts, "retention", "warning", text, _set(facts, "retention.bytes=-1"))
    if kept is None or kept < 0:
        yield _found(facts, "retention", "ok", "for ever")
        return
    remedy = _set(facts, f"retention.ms={-(-(needed + 7 * DAY) // DAY) * DAY}")
    need = f"{lapse(needed)} to make a joiner's lost state anew"
    if kept < needed:
        yield _found(facts, "retention", "wrong", f"{lapse(kept)}, but it takes {need}", remedy)
    elif kept < needed + DAY:
        text = f"{lapse(kept)}: with {need}, a joiner may be down for {lapse(kept - needed)}"
        yield _found(facts, "retention", "warning", text, remedy)
    else:
        text = f"{lapse(kept)}: {need}, and {lapse(kept - needed)} to be down"
        yield _found(facts, "retention", "ok", text)


def _not_compacted(world: World, facts: TopicFacts) -> Iterator[Finding]:
    if "compact" not in facts.setting("cleanup.policy"):
        yield _found(facts, "compaction", "ok", "none")
        return
    reason = {
        "input": "only the newest record of a key would be left of a chain",
    }.get(facts.planned.role, "records without a key cannot be written to it")
    text = f"cleanup.policy is {facts.setting('cleanup.policy')}: {reason}"
    yield _found(facts, "compaction", "wrong", text, _set(facts, "cleanup.policy=delete"))


def _letters_kept(world: World, facts: TopicFacts) -> Iterator[Finding]:
    policy, keep = facts.setting("cleanup.policy"), world.made.config.dead_letters.keep
    wanted = "cleanup.policy=[compact,delete]"
    if "compact" not in policy:
        text = "not compacted: a letter that a restart writes again is kept twice"
        yield _found(facts, "compaction", "warning", text, _set(facts, wanted))
    else:
        yield _found(facts, "compaction", "ok", "each letter once")
    kept = facts.number("retention.ms")
    if "delete" not in policy or kept is None or kept < 0:
        text = f"kept for ever; the configuration says {lapse(keep)} (dead_letters.keep)"
        yield _found(facts, "retention", "warning", text, _set(facts, f"{wanted},retention.ms={keep}"))
    elif kept != keep:
        text = f"{lapse(kept)}; the configuration says {lapse(keep)} (dead_letters.keep)"
        yield _found(facts, "retention", "warning", text, _set(facts, f"retention.ms={keep}"))
    else:
        yield _found(facts, "retention", "ok", lapse(kept))


def _stamps(world: World, facts: TopicFacts) -> Iterator[Finding]:
    if facts.setting("message.timestamp.type") == "LogAppendTime":
        text = (
            "records have the time of their arrival: a backfill looks like now, and lag in time says little"
        )
        yield _found(facts, "times", "warning", text, _set(facts, "message.timestamp.type=CreateTime"))
        return
    before = facts.number("message.timestamp.before.max.ms")
    if before is not None and before < lifetime(world.made):
        text = f"records older than {lapse(before)} are refused: nothing can be filled in afterwards"
        remedy = _set(facts, "message.timestamp.before.max.ms=9223372036854775807")
        yield _found(facts, "times", "warning", text, remedy)
    else:
        yield _found(facts, "times", "ok", "set by the producer")


def _block_size(world: World, facts: TopicFacts) -> Iterator[Finding]:
    most = facts.number("max.message.bytes")
    if most is not None and most < PART_BYTES + _AROUND:
        text = f"max.message.bytes is {most:,}, but parts of blocks have up to {PART_BYTES:,}"
        yield _found(facts, "sizes", "wrong", text, _set(facts, "max.message.bytes=1048588"))
    else:
        yield _found(facts, "sizes", "ok", f"parts of {PART_BYTES:,} bytes fit")


def _letter_size(world: World, facts: TopicFacts) -> Iterator[Finding]:
    inputs = [one.number("max.message.bytes") or 0 for one in world.topics if one.planned.role == "input"]
    needed, most = int(_LETTER * max(inputs, default=0)) + _AROUND, facts.number("max.message.bytes")
    if most is not None and most < needed:
        text = f"max.message.bytes is {most:,}: the letter of the largest record takes {needed:,}, and would be cut"
        yield _found(
            facts, "sizes", "warning", text, _set(facts, f"max.message.bytes={max(needed, 8 << 20)}")
        )
    else:
        yield _found(facts, "sizes", "ok", "the letter of the largest record fits")


def _records(world: World, facts: TopicFacts) -> Iterator[Finding]:
    samples = facts.samples
    bad = [one for one in samples if one.fault is not None]
    if not samples:
        yield _found(facts, "records", "warning", "none is there: formats and keys could not be looked at")
    elif len(bad) == len(samples):
        text = f"none of {len(samples)} that were looked at is an event: {bad[0].fault}"
        yield _found(facts, "records", "wrong", text, "correct format, schema, time or fields of its kinds")
    elif bad:
        text = f"{len(bad)} of {len(samples)} that were looked at are no events: {bad[0].fault}"
        yield _found(facts, "records", "warning", text, "stream-mtl topics peek shows them")
    else:
        yield _found(
            facts, "records", "ok", f"{facts.records:,}; all {len(samples)} that were looked at are events"
        )


def _keys(world: World, facts: TopicFacts) -> Iterator[Finding]:
    count = facts.partitions or 1
    known = [one for one in facts.samples if one.chain is not None]
    if count == 1 or not known:
        return
    elsewhere = [one for one in known if partition_of(one.chain or b"", count) != one.partition]
    if not elsewhere:
        text = f"all {len(known)} that were looked at lie where their chain's key belongs"
        yield _found(facts, "keys", "ok", text)
        return
    key = "|".join(world.made.chain.key)
    text = f"{len(elsewhere)} of {len(known)} that were looked at do not lie where {key} belongs: {_why(elsewhere)}"
    remedy = f"key records by the text of {key}, by Java's default partitioner (librdkafka: partitioner=murmur2_random)"
    yield _found(facts, "keys", "wrong" if world.joiners > 1 else "warning", text, remedy)


def _why(elsewhere: Sequence[Sampled]) -> str:
    if all(one.key is None for one in elsewhere):
        return "they have no key"
    if all(one.key == one.chain for one in elsewhere):
        return "their key is right, but another partitioner put them there"
    return "they are keyed by something else"


def _together(world: World) -> Iterator[Finding]:
    """Look for a chain whose records lie in different partitions."""
    inputs = [one for one in world.topics if one.planned.role == "input" and one.partitions]
    counts = {one.partitions for one in inputs}
    if world.joiners == 1 and len(counts) > 1:
        text = "inputs have different numbers of partitions, so that several joiners could not share them"
        yield Finding("", "together", "ok", f"{text}; the one joiner reads them all")
    places: dict[bytes, dict[int, str]] = {}
    for facts in inputs:
        for one in facts.samples:
            if one.chain is not None:
                places.setdefault(one.chain, {}).setdefault(one.partition, facts.planned.name)
    apart = next((found for found in places.items() if len(found[1]) > 1), None)
    if apart is not None and world.joiners > 1:
        key, where = apart
        at = ", ".join(f"{topic}/{number}" for number, topic in sorted(where.items()))
        text = f"chain {key.decode()} lies in {at}: no joiner sees all of it"
        yield Finding("", "together", "wrong", text, "key and partition all inputs in the same way")


_WITHOUT_SETTINGS: Final[tuple[Rule, ...]] = (_partitions, _single, _records, _keys)
_OF_INPUT: Final[tuple[Rule, ...]] = (
    _partitions,
    _copies,
    _retention,
    _not_compacted,
    _stamps,
    _records,
    _keys,
)
_OF_LOG: Final[tuple[Rule, ...]] = (_partitions, _copies, _retention, _not_compacted, _block_size)
_OF_LETTERS: Final[tuple[Rule, ...]] = (_copies, _letters_kept, _letter_size)
_BY_ROLE: Final[dict[str, tuple[Rule, ...]]] = {
    "input": _OF_INPUT,
    "scores": (_copies, _not_compacted),
    "transitions": _OF_LOG,
    "dead letters": _OF_LETTERS,
    "announcements": (_single, _copies, _not_compacted),
    "readings": (_copies,),
}
"""What is asked of topics, by what they are for."""
