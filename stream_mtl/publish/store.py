"""Where snapshots lie, for those who publish them and those who serve them."""

import shutil
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Protocol

from stream_mtl.durable import BESIDE, replace_file, sync_folder, write_synced
from stream_mtl.errors import StateCorrupt, StateError, Unavailable
from stream_mtl.failpoints import reach
from stream_mtl.publish.snapshot import (
    File,
    Manifest,
    Snapshot,
    Version,
    decode_manifest,
    encode_manifest,
    file_of,
    not_finite,
    pack,
    unpack,
)


class SnapshotStore(Protocol):
    """Snapshots by version. One writes, any number read at the same time."""

    def put(self, snapshot: Snapshot) -> None:
        """Make a snapshot durable, and then the latest. The same one again changes nothing.

        `manifest.weights` is filled in by `sealed`. Raises StateError for weights that are not finite, and for a
        version that is there with other weights; Unavailable if the store does not take it.
        """
        ...

    def latest(self) -> Version | None:
        """Return the version that should serve; None where nothing was published."""
        ...

    def versions(self) -> list[Version]:
        """Return what is there, ascending."""
        ...

    def manifest(self, version: Version) -> Manifest:
        """Return a manifest that verifies. Raises StateCorrupt; StateError if there is no such version."""
        ...

    def open(self, version: Version) -> Snapshot:
        """Return a snapshot that verifies and whose weights are finite. Raises as `manifest` does."""
        ...

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep`, the latest, and the three newest of those that were cut in passing."""
        ...


def sealed(snapshot: Snapshot) -> tuple[Manifest, bytes]:
    """Return the manifest with the checksum of its weights, and the weights as bytes. Raises StateError."""
    if wrong := not_finite(snapshot.weights):
        raise StateError(
            f"snapshot {snapshot.manifest.version} is not published: {', '.join(wrong[:5])} hold numbers that are "
            "not finite; what serves now goes on"
        )
    data = pack(snapshot.weights)
    manifest = snapshot.manifest
    fields = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
    return Manifest(**{**fields, "weights": file_of(data)}), data


def unsealed() -> File:
    """Return what stands in a manifest before its weights are packed."""
    return File(0, "")


class MemorySnapshots:
    """Snapshots in this process: for tests and replays."""

    def __init__(self) -> None:
        self._held: dict[Version, tuple[Manifest, bytes]] = {}
        self._latest: Version | None = None

    def put(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        manifest, data = sealed(snapshot)
        if manifest.version in self._held:
            _refuse_other(self._held[manifest.version][0], manifest)
        else:
            self._held[manifest.version] = manifest, data
        self._latest = manifest.version

    def latest(self) -> Version | None:
        """Return the last one put."""
        return self._latest

    def versions(self) -> list[Version]:
        """Return what is held."""
        return sorted(self._held)

    def manifest(self, version: Version) -> Manifest:
        """Return a manifest."""
        if version not in self._held:
            raise _missing(version, self.versions(), "memory")
        return self._held[version][0]

    def open(self, version: Version) -> Snapshot:
        """Return a snapshot."""
        manifest = self.manifest(version)
        return Snapshot(manifest, unpack(self._held[version][1], manifest.weights, f"snapshot {version}"))

    def prune(self, keep: int) -> None:
        """Remove the oldest."""
        passing = {version for version, (manifest, _) in self._held.items() if manifest.passing}
        for version in _too_many(self.versions(), passing, keep, self._latest):
            del self._held[version]


class SnapshotFolder:
    """Snapshots as folders 000000, 000001, ... of one folder, and beside them LATEST, which names one of them.

    Writing, in this order: 1 weights into a folder beside, synced; 2 manifest, synced; 3 that folder, synced; 4 its
    renaming; 5 the folder above, synced; 6 LATEST replaced. What can be seen is whole.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._passing: dict[Version, bool] = {}

    def put(self, snapshot: Snapshot) -> None:
        """Write a snapshot, and point LATEST to it."""
        manifest, data = sealed(snapshot)
        final = self._path(manifest.version)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if final.exists():
                _refuse_other(self.manifest(manifest.version), manifest)
            else:
                self._write(final, manifest, data)
            reach("snapshot.renamed")
            replace_file(self._folder / _LATEST, f"{manifest.version:06d}\n".encode())
        except OSError as error:
            raise Unavailable(
                f"snapshot {manifest.version} could not be written to {self._folder}: {error}; "
                "what is there goes on serving"
            ) from error

    def latest(self) -> Version | None:
        """Return what LATEST names, or, without it, the newest."""
        try:
            return int((self._folder / _LATEST).read_text())
        except FileNotFoundError:
            return next(iter(reversed(self.versions())), None)
        except ValueError as error:
            raise StateCorrupt(
                f"{self._folder / _LATEST} names no version; write the number of a snapshot into it"
            ) from error

    def versions(self) -> list[Version]:
        """Return the numbers of the folders."""
        return sorted(self._numbers()) if self._folder.is_dir() else []

    def manifest(self, version: Version) -> Manifest:
        """Read a manifest."""
        path = self._path(version)
        try:
            return decode_manifest((path / _MANIFEST).read_bytes(), str(path))
        except FileNotFoundError as error:
            raise _missing(version, self.versions(), str(self._folder)) from error

    def open(self, version: Version) -> Snapshot:
        """Read a snapshot."""
        manifest, path = self.manifest(version), self._path(version)
        try:
            data = (path / _WEIGHTS).read_bytes()
        except FileNotFoundError as error:
            raise _missing(version, self.versions(), str(self._folder)) from error
        weights = unpack(data, manifest.weights, str(path))
        if wrong := not_finite(weights):
            raise StateCorrupt(f"{path}: {wrong[0]} is not finite; delete this snapshot")
        return Snapshot(manifest, weights)

    def prune(self, keep: int) -> None:
        """Remove the oldest folders."""
        versions = self.versions()
        self._passing = {version: self._is_passing(version) for version in versions}
        passing = {version for version, is_passing in self._passing.items() if is_passing}
        for version in _too_many(versions, passing, keep, self.latest()):
            shutil.rmtree(self._path(version), ignore_errors=True)

    def _is_passing(self, version: Version) -> bool:
        if version not in self._passing:
            try:
                return self.manifest(version).passing
            except StateError:
                return False
        return self._passing[version]

    def _write(self, final: Path, manifest: Manifest, data: bytes) -> None:
        beside = final.with_name(final.name + BESIDE)
        if beside.exists():
            shutil.rmtree(beside)
        beside.mkdir()
        write_synced(beside / _WEIGHTS, [data])
        reach("snapshot.weights")
        write_synced(beside / _MANIFEST, [encode_manifest(manifest)])
        sync_folder(beside)
        reach("snapshot.manifest")
        beside.rename(final)
        sync_folder(self._folder)

    def _path(self, version: Version) -> Path:
        return self._folder / f"{version:06d}"

    def _numbers(self) -> Iterator[Version]:
        for path in self._folder.iterdir():
            if path.name.isdecimal() and path.is_dir():
                yield int(path.name)


_PASSING = 3
"""Snapshots cut in passing that are kept: a scorer may be loading the one before the latest."""

_WEIGHTS, _MANIFEST, _LATEST = "weights.safetensors", "manifest.json", "LATEST"


def _refuse_other(held: Manifest, wanted: Manifest) -> None:
    """Raise StateError unless both speak of the same weights."""
    if held.weights != wanted.weights:
        raise StateError(
            f"snapshot {wanted.version} is there already, with other weights: another trainer publishes to the same "
            "place, or this one began anew beside its old snapshots; give it another [publish] path"
        )


def _missing(version: Version, versions: list[Version], where: str) -> StateError:
    held = f"it holds {versions[0]} to {versions[-1]}" if versions else "it holds none"
    return StateError(f"there is no snapshot {version} in {where}; {held}")


def _too_many(
    versions: list[Version], passing: Set[Version], keep: int, latest: Version | None
) -> list[Version]:
    lasting = [version for version in versions if version not in passing]
    short = [version for version in versions if version in passing]
    gone = lasting[: max(len(lasting) - keep, 0)] + short[: max(len(short) - _PASSING, 0)]
    return [version for version in gone if version != latest]
