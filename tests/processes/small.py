"""A small market, and the processes over it: in this process, or as the real ones."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stream_mtl.config.load import Loaded, load
from stream_mtl.generate.command import generate_files

KNOBS = (
    "seed=11",
    "ctr=0.3",
    "cvr=0.4",
    'conversion_within="3h"',
    'duration="10h"',
    "users=300",
    "items=100",
)
SMALL = (
    "join.tell_rows=500",
    "join.block_rows=200",
    "learn.batch_size=32",
    "learn.snapshot_every=30m",
    "learn.checkpoint_every=1ms",
    "publish.keep=1000",
)


def market(folder: Path, impressions: int = 3_000, format: str = "avro", knobs: Sequence[str] = ()) -> Path:
    """Generate a market; return its configuration."""
    generate_files(folder, None, [*KNOBS, f"impressions={impressions}", *knobs], format, 1)
    return folder / "config.toml"


def truth(config: Path) -> dict[str, dict[str, int]]:
    """Return the accounts that the generator says there must be."""
    accounts: dict[str, dict[str, int]] = json.loads((config.parent / "truth" / "accounts.json").read_text())
    return {
        kind: {fate: n for fate, n in counts.items() if fate != "read"} for kind, counts in accounts.items()
    }


def loaded(config: Path, overrides: Sequence[str] = SMALL) -> Loaded:
    """Load a configuration with overrides."""
    return load(config, {}, overrides)


def command(*words: str | Path, overrides: Sequence[str] = ()) -> list[str]:
    """Return the words of a call of the real program."""
    options = [word for override in overrides for word in ("-X", override)]
    return [sys.executable, "-m", "stream_mtl", *map(str, words), *options]


def call(*words: str | Path, overrides: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run the real program to its end."""
    return subprocess.run(
        command(*words, overrides=overrides), capture_output=True, text=True, timeout=300, check=False
    )


def done(*words: str | Path, overrides: Sequence[str] = ()) -> str:
    """Run the real program to its end, which must be a good one; return what it printed."""
    ended = call(*words, overrides=overrides)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
