"""A site: a folder with a configuration over events that lie elsewhere, the processes over it, and what they have made."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_mtl.config.load import load
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.letters import read_letters
from stream_mtl.processes.digest import digest
from stream_mtl.publish.store import SnapshotFolder
from tests.crash.child import Child, Nursery
from tests.processes.small import market
from tests.topics import answer

SCORED = """
[events.scored]
source = "{source}"
time = "ts"
before = "impression"
within = "10m"
fields = {{ exposure_id = "string", snapshot = "long", ctr = "double" }}

[watch]
windows = ["3h"]
min_examples = 20
"""
KINDS = ("impression", "click", "conversion", "scored")

OFTEN = (  # many blocks, checkpoints, steps and snapshots of few records
    "join.poll_rows=150",
    "join.tell_rows=300",
    "join.block_rows=100",
    "join.block_every=1h",
    "join.checkpoint_every=1ms",
    "join.idle_after=10h",
    "join.label_stall=10h",
    "learn.batch_size=32",
    "learn.snapshot_every=90m",
    "learn.checkpoint_every=1ms",
    "publish.keep=1000",
    "watch.checkpoint_every=1ms",
    "model.bottom=[16]",
    "model.towers=[8]",
)


def write_market(folder: Path, impressions: int = 2_000) -> None:
    """Generate events of two partitions, bad records among them, and scores for the impressions."""
    knobs = ("partitions=2", "malformed=0.004", "conflicts=0.004", "duplicates=0.02")
    market(folder, impressions, "jsonl", knobs)
    for number in ("0", "1"):
        lines = (folder / "impressions" / number / "000.jsonl").read_bytes().splitlines()
        (folder / "scoreds" / number).mkdir(parents=True)
        (folder / "scoreds" / number / "000.jsonl").write_text("".join(map(_score, lines)))


def _score(line: bytes) -> str:
    """Return what a scorer might have said of an impression; nothing of a line that is none."""
    try:
        shown = json.loads(line)
        chance = (shown["user_id"] + shown["item_id"]) % 17 / 20 + 0.05
        said = {
            "exposure_id": shown["exposure_id"],
            "ts": int(shown["ts"]) - 1_000,
            "snapshot": 0,
            "ctr": chance,
        }
        return json.dumps(said) + "\n"
    except (ValueError, TypeError, KeyError):
        return ""


def configuration(market: Path, source: Callable[[str], str]) -> str:
    """Return a configuration that reads kinds of event from `source(kind)`."""
    text = (market / "config.toml").read_text() + SCORED.format(source=source("scored"))
    for kind in KINDS[:3]:
        text = text.replace(f'"files:./{kind}s"', f'"{source(kind)}"')
    return text


@dataclass
class Site:
    """Where processes work. `failing` are orders to failpoints, as the environment takes them."""

    nursery: Nursery
    folder: Path
    text: str  # the configuration
    overrides: tuple[str, ...] = OFTEN
    part_bytes: int | None = None  # of a record of the log
    letters_of: "Callable[[Site], list[DeadLetter]]" = field(
        default=lambda site: list(read_letters(site.folder / "dead-letters"))
    )

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.config.write_text(self.text)

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def hits(self) -> list[str]:
        """The failpoints that acted, in order."""
        path = self.folder / "hits"
        return path.read_text().splitlines() if path.is_file() else []

    @property
    def snapshots(self) -> SnapshotFolder:
        return SnapshotFolder(self.folder / "snapshots")

    def start(
        self,
        role: str,
        *options: str,
        failing: str = "",
        wrong: str | None = None,
        file_bytes: int | None = None,
        overrides: Sequence[str] = (),
    ) -> Child:
        words = [word for one in (*self.overrides, *overrides) for word in ("-X", one)]
        environ = {
            "STREAM_MTL_FAILPOINT": failing,
            "STREAM_MTL_ENABLE_FAILPOINTS": "1" if failing else "",
            "STREAM_MTL_FAILPOINT_HITS": str(self.folder / "hits"),
        }
        return self.nursery.start(
            ["run", role, str(self.config), *options, *words],
            self.folder / "said",
            environ,
            self.part_bytes,
            wrong,
            file_bytes,
        )

    def run(self, role: str, *options: str, code: int = 0, **how: Any) -> str:
        """Run a process to its end, which must have this exit code; return what it said."""
        child = self.start(role, *options, **how)
        assert child.wait() == code, child.said
        return child.said

    def die(self, role: str, failing: str, *options: str, **how: Any) -> None:
        """Run a process until a failpoint kills it, which must be reached."""
        before = self.hits
        child = self.start(role, *options, failing=failing, **how)
        assert child.wait() == -9, f"{failing} did not kill: {child.code} {child.said}"
        assert len(self.hits) == len(before) + 1 and self.hits[-1] == failing.split(",")[-1]

    def joined(self) -> dict[str, Any]:
        """Return what the joiners have made: digest, accounts and dead letters."""
        made = self._digest()
        letters = [(x.source, x.partition, x.position, x.reason, x.value) for x in self.letters_of(self)]
        wanted = ("transitions", "rows", "accounts")
        return {name: made[name] for name in wanted} | {"letters": sorted(letters)}

    def learned(self) -> dict[str, Any]:
        """Return what the trainer has made: digests and the snapshots, each of which verifies."""
        made = self._digest()
        wanted = ("learned_rows", "weights", "optimiser", "measures")
        return {name: made[name] for name in wanted} | {"snapshots": self.published()}

    def _digest(self) -> Mapping[str, Any]:
        return answer(lambda: digest(load(self.config, {}, self.overrides)))

    def published(self) -> dict[int, str]:
        """Return the checksum of each snapshot; all, and the one that is called the latest, verify."""
        store = self.snapshots
        latest = store.latest()
        if latest is not None:
            store.open(latest)
        return {version: store.open(version).manifest.weights.sha256 for version in store.versions()}

    def watched(self) -> tuple[Any, list[Any]]:
        """Return the latest readings, and the lines of the history."""
        folder = self.folder / "readings"
        lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
        return json.loads((folder / "latest.json").read_text()), [json.loads(line) for line in lines]
