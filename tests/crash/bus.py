"""A site on a bus: its events, its log and its dead letters are topics."""

import re
import uuid
from bisect import bisect_left
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from stream_mtl.clock import HOUR
from stream_mtl.config.load import load
from stream_mtl.config.sections import Config
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.letters import decode_letter, distinct
from stream_mtl.connectors.partition import Entry
from stream_mtl.processes.bus import log_of
from stream_mtl.publish.announce import announcement_of
from tests.crash.child import Child, Nursery
from tests.crash.site import KINDS, OFTEN, Site, configuration
from tests.topics import Topics, answer

START, HOURS = 1_704_067_200_000, 10  # of the market
FOREVER = {"retention_ms": "-1"}

ON_BUS = """
[join]
partitions = 2
path = "kafka:{log}"

[dead_letters]
path = "kafka:{letters}"

[publish]
announce = "kafka:{announcements}"

[kafka]
bootstrap_servers = "{bootstrap}"
group = "{group}"
session_timeout = "6s"
request_timeout = "10s"
connect_timeout = "5s"
"""


def filled(topics: Topics, events: Path) -> dict[str, str]:
    """Write a market to topics; return their names by kind of event."""
    names = empty(topics)
    fill(topics, names, events)
    return names


def empty(topics: Topics) -> dict[str, str]:
    """Return the names of topics for a market, by kind of event."""
    return {kind: topics.new(2, **FOREVER) for kind in KINDS}


def fill(topics: Topics, names: dict[str, str], events: Path, begin: float = 0, end: float = 1) -> None:
    """Write a part of a market: from one share of its time to another one, and at the end all that is left."""
    for kind in KINDS:
        for number in (0, 1):
            lines = (events / f"{kind}s" / str(number) / "000.jsonl").read_bytes().splitlines()
            times = _times(lines)
            low, high = (bisect_left(times, START + share * HOURS * HOUR) for share in (begin, end))
            topics.write(names[kind], lines[low : high if end < 1 else None], number)


def _times(lines: list[bytes]) -> list[int]:
    """Return the time until which events had come with each line."""
    found, latest = [], 0
    for line in lines:
        match = re.search(rb'"ts": ?(\d{13})[,}]', line)
        latest = max(latest, int(match[1]) if match else 0)
        found.append(latest)
    return found


class BusSite(Site):
    """A site whose log of 3,000 bytes a record is on a bus: each block has several parts."""

    def __init__(
        self,
        topics: Topics,
        names: dict[str, str],
        children: Nursery,
        folder: Path,
        events: Path,
        log: str = "",
    ) -> None:
        self.topics = topics
        self.log = log or topics.new(2, **FOREVER)
        self.letters, self.announcements = topics.new(2, **FOREVER), topics.new(1, **FOREVER)
        self.group = f"crash-{uuid.uuid4().hex}"
        self.names = names
        text = configuration(events, lambda kind: f"kafka:{names[kind]}") + ON_BUS.format(
            log=self.log,
            letters=self.letters,
            announcements=self.announcements,
            bootstrap=topics.options.bootstrap_servers,
            group=self.group,
        )
        super().__init__(children, folder, text, OFTEN, 3_000, letters_on_bus)

    def joiner(self, name: str, failing: str = "") -> Child:
        """Start a live joiner of the group, with folders of its own."""
        own = [f"join.state=state-{name}", f"run.status=status-{name}", "join.block_every=200ms"]
        return self.start("join", "--follow", failing=failing, overrides=own)

    def drained(self) -> bool:
        """Return whether the log says that all events were read."""
        config = load(self.config, {}, self.overrides).config
        return all(answer(partial(self._drained, config, number)) for number in range(2))

    def _drained(self, config: Config, number: int) -> bool:
        with closing(log_of(config, number)) as log:
            header = log.last()
        return header is not None and all(
            p.next >= self.topics.admin.end(p.source.partition(":")[2])[p.partition] for p in header.progress
        )

    def records(self) -> int:
        """Return how many records the log holds."""
        return sum(answer(lambda: self.topics.admin.end(self.log)).values())


def letters_on_bus(site: Site) -> list[DeadLetter]:
    assert isinstance(site, BusSite)
    kinds = {f"kafka:{name}": kind for kind, name in site.names.items()}
    letters = distinct(decode_letter(entry.value) for entry in entries_of(site.topics, site.letters))
    return [replace(letter, source=kinds[letter.source]) for letter in letters]


def entries_of(topics: Topics, topic: str) -> list[Entry]:
    """Return all records of a topic."""
    count = answer(lambda: topics.admin.partitions([topic])[topic])
    return [entry for number in range(count) for entry in answer(partial(_entries, topics, topic, number))]


def _entries(topics: Topics, topic: str, partition: int) -> list[Entry]:
    found: list[Entry] = []
    with closing(topics.kafka.partition(topic, partition)) as log:
        at = log.begin()
        while entries := log.read(at):
            found += entries
            at = entries[-1].offset + 1
    return found


def announced(site: BusSite) -> dict[int, str]:
    """Return the announced versions with their checksums, each of which says the same whenever it is announced."""
    said = [announcement_of(entry) for entry in entries_of(site.topics, site.announcements)]
    pairs = {(one.version, one.weights) for one in said if one is not None}
    assert len({version for version, _ in pairs}) == len(pairs)
    return dict(pairs)
