"""Where a joiner's checkpoints lie: a cache of what the log and the input say, kept so that a restart is quick."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from stream_mtl.durable import replace_file, write_synced
from stream_mtl.errors import NotWritten
from stream_mtl.failpoints import reach
from stream_mtl.join.parts import stream_parts


@dataclass(frozen=True, slots=True)
class State:
    """A checkpoint: small facts, and tables by name. A `sealed` table never changes under its name again."""

    meta: Mapping[str, Any]  # fit for JSON
    tables: Mapping[str, pa.Table]
    sealed: frozenset[str] = field(default=frozenset())


class StateStore(Protocol):
    """Keeps the newest checkpoints of one joiner partition."""

    def save(self, state: State) -> None:
        """Keep a checkpoint: whole or not at all. Raises NotWritten: those before stand."""
        ...

    def load(self) -> list[State]:
        """Return the checkpoints that verify, newest first (at the most two)."""
        ...


class MemoryStore:
    """Checkpoints in memory: for tests and for joiners that are thrown away."""

    def __init__(self) -> None:
        self._states: list[State] = []

    def save(self, state: State) -> None:
        """Keep the checkpoint and the one before."""
        meta = msgspec.json.decode(msgspec.json.encode(state.meta))
        self._states = [State(meta, dict(state.tables), state.sealed), *self._states][:2]

    def load(self) -> list[State]:
        """Return the last two."""
        return list(self._states)


class SparedStore:
    """A store that may fail: a joiner needs it to come back quickly, not to go on. `problem` says why it failed last."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.problem: str | None = None

    def save(self, state: State) -> None:
        """Keep a checkpoint, if that can be done."""
        try:
            self._store.save(state)
        except NotWritten as error:
            self.problem = str(error)
        else:
            self.problem = None

    def load(self) -> list[State]:
        """Return what was kept."""
        return self._store.load()


class _Entry(msgspec.Struct, frozen=True):
    file: str
    size: int
    sha256: str
    sealed: bool


class _Manifest(msgspec.Struct, frozen=True):
    format: int
    number: int
    meta: dict[str, Any]
    tables: dict[str, _Entry]


class SegmentStore:
    """Checkpoints as Arrow files in a folder. Sealed tables are written once and shared by later checkpoints.

    1 write new files and sync them, 2 write the manifest beside and sync it, 3 rename it, 4 sync the folder,
    5 delete what neither this nor the previous manifest names.
    """

    def __init__(self, folder: Path, sync: bool = True) -> None:
        self._folder = folder
        self._sync = sync
        folder.mkdir(parents=True, exist_ok=True)
        self._manifests = [m for m in (self._manifest(path) for path in self._paths()) if m is not None][:2]
        self._number = max((int(path.stem.split("-")[1]) for path in self._paths()), default=-1) + 1

    def save(self, state: State) -> None:
        """Write a checkpoint. Raises NotWritten, and leaves nothing of it."""
        try:
            manifest = self._write(state)
        except OSError as error:
            with suppress(OSError):
                self._sweep()
            raise NotWritten(
                f"{self._folder}: the state could not be kept: {error}; the checkpoint before stands"
            ) from error
        self._manifests = [manifest, *self._manifests][:2]
        self._number += 1
        with suppress(OSError):  # the next one sweeps again
            self._sweep()

    def _write(self, state: State) -> _Manifest:
        previous = self._manifests[0].tables if self._manifests else {}
        entries = {}
        for name, table in state.tables.items():
            held = previous.get(name)
            if held is not None and held.sealed and name in state.sealed:
                entries[name] = held
            else:
                entries[name] = self._write_table(name, table, name in state.sealed)
                reach("state.after_table")
        manifest = _Manifest(1, self._number, dict(state.meta), entries)
        path = self._folder / f"checkpoint-{self._number:012d}.json"
        text = msgspec.json.encode(manifest)
        digest = hashlib.sha256(text).hexdigest().encode()
        reach("state.before_manifest")
        replace_file(path, digest + b"\n" + text, self._sync)
        reach("state.after_manifest")
        return manifest

    def load(self) -> list[State]:
        """Return the checkpoints whose files all verify, newest first."""
        states = (self._read(manifest) for manifest in self._manifests)
        return [state for state in states if state is not None]

    def _read(self, manifest: _Manifest) -> State | None:
        tables = {}
        for name, entry in manifest.tables.items():
            path = self._folder / entry.file
            data = path.read_bytes() if path.is_file() else b""
            if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
                return None
            tables[name] = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        return State(manifest.meta, tables, frozenset(n for n, e in manifest.tables.items() if e.sealed))

    def _write_table(self, name: str, table: pa.Table, sealed: bool) -> _Entry:
        parts = stream_parts(table)
        file = f"{name}.{self._number:012d}.arrow"
        write_synced(self._folder / file, parts, self._sync)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        return _Entry(file, sum(map(len, parts)), digest.hexdigest(), sealed)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("checkpoint-*.json"), reverse=True)

    def _manifest(self, path: Path) -> _Manifest | None:
        digest, _, text = path.read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return None
        return msgspec.json.decode(text, type=_Manifest)

    def _sweep(self) -> None:
        kept = {entry.file for manifest in self._manifests for entry in manifest.tables.values()}
        kept |= {f"checkpoint-{manifest.number:012d}.json" for manifest in self._manifests}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()
