"""The command line: each command parses its arguments and calls one function."""

from stream_mtl.cli import (
    bench,
    challengers,
    configuration,
    health,
    journey,
    letters,
    model,
    offsets,
    people,
    public,
    running,
    snapshots,
    topics,
)
from stream_mtl.cli.app import app, main

__all__ = [
    "app",
    "bench",
    "challengers",
    "configuration",
    "health",
    "journey",
    "letters",
    "main",
    "model",
    "offsets",
    "people",
    "public",
    "running",
    "snapshots",
    "topics",
]
