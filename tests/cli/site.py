"""The example configuration on topics of its own, and its commands."""

import json
import uuid
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from stream_mtl import cli
from stream_mtl.generate.command import generate_files
from tests.test_cli_config import ROOT
from tests.topics import Topics

KNOBS = (
    "seed=5",
    "ctr=0.3",
    "cvr=0.4",
    "impressions=600",
    "malformed=0.02",
    'duration="10h"',
    "users=300",
    "items=100",
)
TOPICS = ("impressions", "clicks", "conversions", "transitions", "dead-letters", "scores")


def market_in(folder: Path, format: str = "avro") -> Path:
    """Generate it."""
    generate_files(folder, None, KNOBS, format, 1)
    return folder


def truth(market: Path) -> dict[str, dict[str, int]]:
    """Return what every account must be."""
    accounts: dict[str, dict[str, int]] = json.loads((market / "truth" / "accounts.json").read_text())
    return {kind: {f: n for f, n in counts.items() if f != "read"} for kind, counts in accounts.items()}


class Site:
    """`name("clicks")` is what the topic is really called; `path` is the configuration."""

    def __init__(
        self, topics: Topics, folder: Path, partitions: int = 1, more: str = "", **replaced: str
    ) -> None:
        self.topics, self.folder = topics, folder
        self._mark = uuid.uuid4().hex[:12]
        text = (ROOT / "examples/kafka.toml").read_text()
        for name in TOPICS:
            text = text.replace(f'"kafka:{name}"', f'"kafka:{self.name(name)}"')
        text = text.replace("localhost:9092", topics.options.bootstrap_servers)
        text = text.replace("partitions = 1 ", f"partitions = {partitions} ").replace("../runs/kafka/", "")
        for old, new in replaced.items():
            assert old in text, old
            text = text.replace(old, new)
        self.path = folder / "site.toml"
        self.path.write_text(text + more)

    def name(self, topic: str) -> str:
        """Return the name of a topic of the example."""
        return f"{topic}-{self._mark}"

    def run(self, *words: object, code: int = 0) -> str:
        """Run a command on the configuration, which must end with this code; return what it printed."""
        ended = self.ended(*words)
        assert ended[0] == code, ended
        return ended[1]

    def ended(self, *words: object) -> tuple[int, str, str]:
        """Run a command, CONFIG standing for the configuration: exit code, stdout, stderr."""
        named = [str(self.path if word == "CONFIG" else word) for word in words]
        result = CliRunner().invoke(cli.app, named)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def plain(self, *words: object, code: int = 0) -> Any:
        """Run a command with --json; return what it printed."""
        return json.loads(self.run(*words, "--json", code=code))

    def lines(self, *words: object) -> list[dict[str, Any]]:
        """Run a command that prints lines of JSON."""
        return [json.loads(line) for line in self.run(*words).splitlines()]

    def filled(self, market: Path) -> "Site":
        """Make the topics, and fill them with a market."""
        self.run("topics", "create", "CONFIG", "--replay")
        self.run("topics", "fill", "CONFIG", "--events", market)
        return self

    def joined(self) -> dict[str, dict[str, int]]:
        """Join what is there; return the accounts."""
        accounts: dict[str, dict[str, int]] = self.plain("run", "join", "CONFIG")
        return accounts
