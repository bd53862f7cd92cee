"""A site on a bus: its events, its log and its dead letters are topics."""

import uuid
from pathlib import Path

from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.letters import decode_letter, distinct
from stream_mtl.connectors.partition import Entry
from stream_mtl.publish.announce import announcement_of
from tests.crash.child import Nursery
from tests.crash.site import KINDS, OFTEN, Site, configuration
from tests.topics import Topics

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
    names = {kind: topics.new(2, **FOREVER) for kind in KINDS}
    for kind in KINDS:
        for number in (0, 1):
            lines = (events / f"{kind}s" / str(number) / "000.jsonl").read_bytes().splitlines()
            topics.write(names[kind], lines, number)
    return names


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

    def records(self) -> int:
        """Return how many records the log holds."""
        return sum(self.topics.admin.end(self.log).values())


def letters_on_bus(site: Site) -> list[DeadLetter]:
    assert isinstance(site, BusSite)
    return list(distinct(decode_letter(entry.value) for entry in entries_of(site.topics, site.letters)))


def entries_of(topics: Topics, topic: str) -> list[Entry]:
    """Return all records of a topic."""
    found: list[Entry] = []
    for partition in range(topics.admin.partitions([topic])[topic]):
        log = topics.kafka.partition(topic, partition)
        at = log.begin()
        while entries := log.read(at):
            found += entries
            at = entries[-1].offset + 1
        log.close()
    return found


def announced(site: BusSite) -> dict[int, str]:
    """Return the announced versions with their checksums, each of which says the same whenever it is announced."""
    said = [announcement_of(entry) for entry in entries_of(site.topics, site.announcements)]
    pairs = {(one.version, one.weights) for one in said if one is not None}
    assert len({version for version, _ in pairs}) == len(pairs)
    return dict(pairs)
